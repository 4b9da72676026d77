package log

import (
	"errors"
	"sync/atomic"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/segment"
)

// slotWriter is the slot file with what guards it. mu comes after Log.mu and is
// held for one small write, or its fsync.
type slotWriter struct {
	mu     bounded.Mutex
	slot   slot
	dirty  atomic.Bool // written since its last fsync; changed under mu
	closed bool
}

// slotOptions say how the durable watermark is written down.
type slotOptions struct {
	clean    bool  // a clean stop: the next open reads no data
	sync     bool  // fsync the slot before returning
	truncate bool  // a truncation is under way: the next open redoes it
	full     bool  // with truncate: nothing is kept, and the start becomes to
	to       int64 // with truncate: the offset that becomes the end
}

// writeSlot writes the durable watermark, the start and the high watermark into the
// slot file with one write. Without o.sync it is on disk after the next Tick at
// the latest; a kill of the process does not take it back.
func (l *Log) writeSlot(o slotOptions) error {
	l.slotFile.mu.Lock()
	defer l.slotFile.mu.Unlock()
	if l.slotFile.closed {
		return ErrClosed
	}
	if err := l.slotFile.slot.write(l.slotState(o)); err != nil {
		return err
	}
	l.slotFile.dirty.Store(true)
	if o.sync {
		return l.slotFile.syncLocked()
	}
	return nil
}

// flushSlot makes the slot durable if it was written since, and gives its file
// back: a log that nobody writes to holds neither a descriptor nor memory for it.
func (l *Log) flushSlot() error {
	l.slotFile.mu.Lock()
	defer l.slotFile.mu.Unlock()
	if err := l.slotFile.syncLocked(); err != nil {
		return err
	}
	if l.slotFile.closed {
		return nil
	}
	return l.slotFile.slot.close()
}

// named notes that the directory, with the slot's name in it, was synced.
func (n *slotWriter) named() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.slot.unnamed = false
}

func (n *slotWriter) syncLocked() error {
	if !n.dirty.Load() || n.closed {
		return nil
	}
	if err := n.slot.sync(); err != nil {
		return err
	}
	n.dirty.Store(false)
	return nil
}

func (n *slotWriter) close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	return n.slot.close()
}

// writeSyncedSlot writes down a sync that just succeeded. That it cannot does not make the
// data less durable: a full disk is left to the next note, anything else fences the log.
func (l *Log) writeSyncedSlot() {
	if err := l.writeSlot(slotOptions{}); err != nil && !vfs.IsNoSpace(err) && !errors.Is(err, ErrClosed) {
		l.fail(err)
	}
}

// slotState composes what the slot says.
func (l *Log) slotState(o slotOptions) slotState {
	t := l.durableTip()
	st := slotState{
		durable: t.offset, segmentBase: t.segment.Base(), position: t.pos,
		start: l.start.Load(), high: l.high.Load(),
		leaderEpoch: l.lastEpoch(), epochSum: l.epochSum.Load(), topicID: l.cfg.Load().TopicID, partition: segment.PartitionOf(l.dir),
		clean: o.clean, sparse: t.segment.Sparse(), anonymous: !l.identified.Load(), plain: !l.transacted.Load(),
	}
	st.indexes = t.segment.IndexSums()
	if o.truncate {
		// Only the offset counts: the cut decides where it lies.
		st.truncating, st.durable, st.segmentBase, st.position = true, o.to, 0, 0
	}
	if o.full {
		st.start, st.high, st.leaderEpoch, st.epochSum = o.to, o.to, noEpoch, 0
	}
	return st
}

// lastEpoch is the latest leader epoch in the log, -1 if there is none.
func (l *Log) lastEpoch() int32 {
	entries := l.history.Load()
	if entries == nil || len(*entries) == 0 {
		return -1
	}
	return (*entries)[len(*entries)-1].epoch
}
