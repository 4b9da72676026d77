package topic

import (
	"fmt"
	"sync/atomic"
)

// doubt is that of somebody who may have appended to a partition before a crash, and cannot look yet: whether it did, its
// numbers in the log tell. As long as anybody is in doubt about a partition, neither retention nor compaction, nor a disk
// budget, removes anything from it: what tells might go, and what was appended be appended again. DeleteRecords does, being
// the user's own wish.
//
// The zero doubt is none. It belongs to one goroutine at a time.
type doubt struct{ part *Partition }

// raise puts a partition in doubt, if it still exists.
func (d *doubt) raise(e *Engine, target delayTarget) {
	if d.part != nil {
		return
	}
	part, err := target.find(e)
	if err != nil {
		return
	}
	part.doubts.Add(1)
	d.part = part
}

// clear ends the doubt, if there is one.
func (d *doubt) clear() {
	if d.part != nil {
		d.part.doubts.Add(-1)
		d.part = nil
	}
}

// doubts counts those in doubt about a partition.
type doubts struct{ atomic.Int32 }

// keep is an error matching ErrBusy while something may have to be looked for in the partition.
func (d *doubts) keep() error {
	if d.Load() == 0 {
		return nil
	}
	return fmt.Errorf("%w: deliveries before the last stop are still to be looked for", ErrBusy)
}
