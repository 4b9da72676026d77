package log

import (
	"errors"
	"io/fs"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/segment"
)

// Every segment that leaves the log goes the same way: it is taken out of the view, its
// files are renamed to *.deleted, readers that hold it finish, and after
// [Config.FileDeleteDelay] the files are unlinked (Kafka's file.delete.delay.ms). Close
// does not wait for the delay; what a reader holds even then, or a crash leaves, the next
// Open removes. None of it needs free space on the disk.

// DefaultFileDeleteDelay is how long the files of a removed segment stay on disk.
const DefaultFileDeleteDelay = time.Minute

// deleteAgain is how long a removal that failed waits until it is tried again.
const deleteAgain = time.Minute

// removedSegments is the segments that are in no view any more and whose files are still on disk.
type removedSegments struct {
	bytes atomic.Int64 // of data files

	mu      sync.Mutex                // held for moments, never during I/O
	waiting map[int64]*removedSegment // by base offset
}

// removedSegment is one of them. Its fields are guarded by removedSegments.mu; those that never change are not.
type removedSegment struct {
	segment  *segment.Segment
	bytes    int64
	snapshot bool      // a producer snapshot goes with it
	unmarked bool      // some files may have kept their names
	due      time.Time // when the delay is over
	ripe     bool      // it is
	idle     bool      // no reader holds the segment, and its files are closed
	replaced bool      // another segment's files have taken its names
}

// markLocked gives the files of segments their names of deleted ones, in the given order, which is durable
// once the caller has synced the directory. It stops at the first that cannot be renamed
// and returns those that were: take them out of the view, if they are still in it, and
// hand them to retire.
func (l *Log) markLocked(segments []*segment.Segment) ([]*removedSegment, error) {
	marked := make([]*removedSegment, 0, len(segments))
	for _, s := range segments {
		c := l.removeLocked(s)
		if err := s.MarkDeleted(); err != nil {
			return marked, err
		}
		marked = append(marked, c)
	}
	return marked, nil
}

// markFrontLocked is markLocked for segments that lie below the start, oldest first, and
// for the producer snapshots at their begin. Since nobody looks below the start, a disk
// too full for longer names may lose such files under the names that they have.
func (l *Log) markFrontLocked(segments []*segment.Segment) ([]*removedSegment, error) {
	marked := make([]*removedSegment, 0, len(segments))
	for _, s := range segments {
		c := l.removeLocked(s)
		err := s.MarkDeleted()
		if c.unmarked = vfs.IsNoSpace(err); err != nil && !c.unmarked {
			return marked, err
		}
		marked = append(marked, c)
		if c.snapshot, err = l.markSnapshotLocked(s.Base()); err != nil {
			return marked, err
		}
	}
	return marked, nil
}

// removeLocked makes way for the marked names of a segment, should an older one with the same
// base still have them.
func (l *Log) removeLocked(s *segment.Segment) *removedSegment {
	if old, idle := l.removed.Load().displace(s.Base()); old != nil {
		if idle {
			_ = l.unlink(old) // if it fails, its files are replaced instead
			l.removed.Load().bytes.Add(-old.bytes)
		} else {
			_ = old.segment.KeepOpen() // its readers go on with the open file
		}
	}
	return &removedSegment{segment: s, bytes: s.Size()}
}

// displace takes the entry at base off the list for good, and tells whether no reader held it.
func (d *removedSegments) displace(base int64) (c *removedSegment, idle bool) {
	if d == nil {
		return nil, false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if c = d.waiting[base]; c == nil {
		return nil, false
	}
	c.replaced = true
	delete(d.waiting, base)
	return c, c.idle
}

// retireAll puts marked segments, which no view shows any more, on the list and lets
// their readers finish. Without an owner that calls DeleteFiles there is no delay.
func (l *Log) retireAll(list []*removedSegment, delay time.Duration) {
	if len(list) == 0 {
		return
	}
	if l.hooks.Removed == nil {
		delay = 0
	}
	due := time.Now().Add(max(delay, 0))
	d := l.removed.Load()
	if d == nil {
		d = &removedSegments{waiting: map[int64]*removedSegment{}}
		l.removed.Store(d)
	}
	for _, c := range list {
		d.add(c, due, delay <= 0 || c.unmarked)
		c.segment.Retire(func() { l.released(c) })
	}
	if delay > 0 {
		l.news.Or(newsRemoved)
	}
}

func (d *removedSegments) add(c *removedSegment, due time.Time, ripe bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c.due, c.ripe = due, ripe
	d.waiting[c.segment.Base()] = c
	d.bytes.Add(c.bytes)
}

// released is called when the last reader of a segment has gone, maybe by that reader.
func (l *Log) released(c *removedSegment) {
	_ = c.segment.Close()
	d := l.removed.Load()
	d.mu.Lock()
	c.idle = true
	if c.replaced {
		d.bytes.Add(-c.bytes)
	}
	gone := c.ripe && !c.replaced
	if gone {
		delete(d.waiting, c.segment.Base())
	}
	d.mu.Unlock()
	if gone {
		_ = l.deleteFiles(c)
	}
}

// deleteFiles unlinks what may go. What the disk refuses is tried again by a later DeleteFiles, or by
// the next Open.
func (l *Log) deleteFiles(c *removedSegment) error {
	err, d := l.unlink(c), l.removed.Load()
	if err == nil {
		d.bytes.Add(-c.bytes)
		if l.hooks.Freed != nil {
			l.hooks.Freed()
		}
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting[c.segment.Base()] == nil {
		c.due = time.Now().Add(deleteAgain)
		d.waiting[c.segment.Base()] = c
	}
	return err
}

func (l *Log) unlink(c *removedSegment) error {
	faults := []error{c.segment.Unlink()}
	base := c.segment.Base()
	if c.unmarked {
		for _, kind := range [...]segment.Kind{segment.KindLog, segment.KindIndex, segment.KindTimeIndex, segment.KindTxnIndex, segment.KindSums} {
			faults = append(faults, l.removeFile(base, kind|segment.Deleted))
		}
	}
	if c.snapshot {
		faults = append(faults, l.removeFile(base, segment.KindSnapshot|segment.Deleted))
	}
	return errors.Join(faults...)
}

// removeFile removes a file of the log's directory; one that is not there is no error.
func (l *Log) removeFile(base int64, kind segment.Kind) error {
	err := l.fs.Remove(filepath.Join(l.dir, segment.FileName(base, kind.Suffix())))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// markSnapshotLocked renames the producer snapshot at a segment's begin as its files are,
// unless it is the newest one, and tells whether there was one to rename.
func (l *Log) markSnapshotLocked(base int64) (bool, error) {
	if p := &l.writer.producers; !p.snapped || p.saved == base {
		return false, nil
	}
	path := filepath.Join(l.dir, snapshotName(base))
	err := l.fs.Rename(path, filepath.Join(l.dir, segment.FileName(base, (segment.KindSnapshot|segment.Deleted).Suffix())))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case vfs.IsNoSpace(err):
		return false, l.removeFile(base, segment.KindSnapshot)
	}
	return err == nil, err
}

// DeleteFiles unlinks the files of removed segments whose delay is over at now. It returns how long until it wants to be
// called again, 0 when nothing waits but what a reader still holds: that goes with the reader.
func (l *Log) DeleteFiles(now time.Time) (again time.Duration, err error) {
	d := l.removed.Load()
	if d == nil || l.closed.Load() {
		return 0, nil
	}
	var faults []error
	for _, c := range d.takeRipe(now) {
		faults = append(faults, l.deleteFiles(c))
	}
	return d.next(now), errors.Join(faults...)
}

// deleteAll unlinks whatever the delay what no reader holds; what one holds goes with it.
func (l *Log) deleteAll() error {
	_, err := l.DeleteFiles(time.Unix(1<<40, 0))
	return err
}

// deleteIdle is the last thing a log does. What a reader still holds is left to the next
// Open: by the time that reader lets go, another log may have taken over the names.
func (l *Log) deleteIdle() {
	d := l.removed.Load()
	if d == nil {
		return
	}
	for _, c := range d.takeIdle() {
		_ = l.deleteFiles(c)
	}
}

// forget leaves all files to those who remove the directory.
func (d *removedSegments) forget() {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.waiting {
		if c.replaced = true; c.idle {
			d.bytes.Add(-c.bytes)
		}
	}
	clear(d.waiting)
}

func (d *removedSegments) takeIdle() []*removedSegment {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []*removedSegment
	for base, c := range d.waiting {
		if c.idle {
			delete(d.waiting, base)
			list = append(list, c)
		}
	}
	return list
}

// takeRipe takes those whose time has come off the list, but for those that a reader
// holds: they go when it lets go.
func (d *removedSegments) takeRipe(now time.Time) []*removedSegment {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []*removedSegment
	for _, c := range d.waiting {
		if c.due.After(now) {
			continue
		}
		c.ripe = true
		if c.idle {
			delete(d.waiting, c.segment.Base())
			list = append(list, c)
		}
	}
	return list
}

// next is how long after now the first delay is over, 0 if none is running.
func (d *removedSegments) next(now time.Time) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	first := time.Duration(0)
	for _, c := range d.waiting {
		if wait := c.due.Sub(now); (!c.ripe || c.idle) && (first == 0 || wait < first) {
			first = max(wait, 1)
		}
	}
	return first
}

// RemovedBytes is the size of the data files of removed segments that are still on disk.
func (l *Log) RemovedBytes() int64 {
	if d := l.removed.Load(); d != nil {
		return d.bytes.Load()
	}
	return 0
}
