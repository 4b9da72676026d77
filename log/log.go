package log

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/internal/invariant"
	"github.com/quirelog/quire/internal/watermark"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/segment"
)

// Log is one partition's log. All methods may be called at once from any
// goroutine. Open makes one.
type Log struct {
	fs    vfs.FS
	dir   string
	hooks *Hooks // never changed
	cfg   atomic.Pointer[Config]

	// The offsets (I1). start, stable, high and durable only rise between truncations,
	// which come under mu, tip.mu and the lead of the group commit.
	start, stable, high, end, durable watermark.Mark

	// view is what readers read; nil after Close.
	view  atomic.Pointer[view]
	fence atomic.Pointer[fenceError]
	// history is an immutable copy of the leader epochs for readers.
	history  atomic.Pointer[[]epochEntry]
	epochSum atomic.Uint32 // checksum of the history's file as last saved; 0: not known
	closed   atomic.Bool

	watchers watchers
	syncer   syncer
	slotFile slotWriter
	// transactions says that some transaction is open, or ended above the high watermark.
	transactions atomic.Bool
	identified   atomic.Bool                     // some batch has, or may have, a producer id
	transacted   atomic.Bool                     // some batch is, or may be, part of a transaction
	fresh        bool                            // under mu: nothing was ever written, and no name of the log's files is durable
	previewed    bool                            // set by Open: fs shows a swap as finished that is not, names may lead elsewhere than on disk
	cleaner      atomic.Pointer[cleaner]         // nil until something asks for it
	removed      atomic.Pointer[removedSegments] // nil until the first segment is removed; set under mu
	news         atomic.Uint32                   // what hooks have not been told of yet
	indexDirty   atomic.Bool                     // the active index files were written since their last fsync
	tickAsked    atomic.Bool                     // Hooks.Dirty was called and Tick has not yet found the log clean
	closing      sync.Once
	closeErr     error // set within closing

	// mu guards the writer below. It is held during the write of a batch and during
	// a roll, never while waiting for anything but the disk.
	mu     bounded.Mutex
	writer writer

	detached atomic.Pointer[detached] // nil until a caller has a context that can end
}

// writer is what only the holder of Log.mu touches.
type writer struct {
	producers producers
	epochs    epochs
	epoch     int32 // leader epoch stamped on appended batches
	opened    bool  // the slot says "not clean": data may be written
	readOnly  bool
	sparse    bool             // offsets of the active segment may have gaps
	timed     *segment.Segment // the active segment if its first batch is known to have a time
	jitter    time.Duration
	// unindexed counts the bytes appended since the active indexes were last written out.
	unindexed int64
	// snapshotBytes counts the bytes appended since the last producer snapshot.
	snapshotBytes int64
}

// Bits of Log.news.
const (
	newsChanged = 1 << iota // the end or the high watermark has risen
	newsRolled              // there is a new active segment
	newsRemoved             // files wait for their removal
	newsFenced              // a sticky fence stands
)

// Hooks are told what happens in a log. Each may be nil. They are called
// outside locks, must be quick, and must not call Close.
type Hooks struct {
	// Dirty is called when a log that needed no care begins to: [Log.Tick] wants to be
	// called from now on, first at the latest after d.
	Dirty func(l *Log, d time.Duration)
	// Changed is called after records were appended, and after they became visible: what their size, number or time
	// makes due may be due now.
	Changed func(l *Log)
	// Removed is called when files of removed segments wait for their removal: [Log.DeleteFiles] wants
	// to be called after d. If nil, such files go as soon as no reader holds them.
	Removed func(l *Log, d time.Duration)
	// Uncleaned is called when the log was cut below what was compacted, before the cut
	// returns: the first dirty offset is lower now, and whoever keeps it must write it down.
	Uncleaned func(l *Log)
	// Freed is called after files of removed segments were unlinked. Unlike most others it may be called
	// under the log's locks: it must not call the log.
	Freed func()
	// Aside is told of the bytes of data files that compaction and redaction build beside the log: of n before they
	// are written, of minus n once they have taken their place or are gone. Called as Freed is.
	Aside func(n int64)
	// Rolled is called after a new active segment with this base offset exists.
	Rolled func(base int64)
	// Fenced is called once when a log refuses appends for good.
	Fenced func(reason error)
}

// Dir is the log's directory.
func (l *Log) Dir() string { return l.dir }

// Config is the settings in force.
func (l *Log) Config() *Config { return l.cfg.Load() }

// Configure puts new settings in force for appends that begin after it returns.
// Settings of the active segment's files (index sizes, pre-writing) follow at the next roll.
func (l *Log) Configure(cfg *Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cfg.Store(cfg)
	if cfg.Durability != Sync { // nothing else would make visible what no fsync is asked for any more
		l.raiseHighLocked(l.end.Load())
	}
	return nil
}

// Fence makes appends fail with an error that matches both [ErrFenced] and
// reason, until Unfence. Reads go on.
func (l *Log) Fence(reason error) {
	l.setFence(&fenceError{reason: reason})
}

// Unfence lifts a fence set by Fence. It reports false when the fence stays:
// after a failed fsync only a reopened log knows again what is on disk.
func (l *Log) Unfence() bool {
	for {
		f := l.fence.Load()
		if f == nil {
			return true
		}
		if f.sticky {
			return false
		}
		if l.fence.CompareAndSwap(f, nil) {
			return true
		}
	}
}

// Fenced returns why appends are refused, nil if they are not.
func (l *Log) Fenced() error {
	if f := l.fence.Load(); f != nil {
		return f
	}
	return nil
}

// setFence installs f unless a sticky fence stands already.
func (l *Log) setFence(f *fenceError) {
	for {
		old := l.fence.Load()
		if old != nil && old.sticky {
			return
		}
		if l.fence.CompareAndSwap(old, f) {
			break
		}
	}
	if f.sticky {
		l.news.Or(newsFenced)
	}
}

// tell calls the hooks for what happened under locks. The caller holds none.
func (l *Log) tell() {
	if l.news.Load() == 0 {
		return
	}
	news := l.news.Swap(0)
	if news&newsChanged != 0 && l.hooks.Changed != nil {
		l.hooks.Changed(l)
	}
	if s := l.activeSegment(); news&newsRolled != 0 && l.hooks.Rolled != nil && s != nil {
		l.hooks.Rolled(s.Base())
	}
	if news&newsRemoved != 0 && l.hooks.Removed != nil {
		if d := l.removed.Load().next(time.Now()); d > 0 {
			l.hooks.Removed(l, d)
		}
	}
	if news&newsFenced != 0 && l.hooks.Fenced != nil {
		l.hooks.Fenced(l.fence.Load().reason)
	}
}

// fail fences the log for good: the disk no longer does what it says.
func (l *Log) fail(reason error) {
	l.setFence(&fenceError{reason: reason, sticky: true})
}

// appendable returns the error that stands in the way of a change.
func (l *Log) appendable() error {
	if l.closed.Load() {
		return ErrClosed
	}
	if l.writer.readOnly {
		return ErrReadOnly
	}
	if f := l.fence.Load(); f != nil {
		return f
	}
	return nil
}

// SetLeaderEpoch makes this log the leader's from its end on: the epoch is stamped on batches appended from now on,
// and stands in the history, on disk, when it returns, also before the first batch of its own. A follower that has
// batches of an epoch in between learns from it where to cut (Kafka assigns the epoch's start offset when a partition
// becomes leader). An open of the log forgets an epoch without a batch, as Kafka's does: whoever leads then is told
// to by an epoch of its own.
//
// It may be called while a fence of the leader's role stands. A smaller epoch than the current is refused with an
// error; [ErrNoSpace] and too many open files change nothing; [ErrClosed]; [ErrReadOnly].
func (l *Log) SetLeaderEpoch(epoch int32) error {
	err := l.setLeaderEpoch(epoch)
	l.tell()
	return err
}

func (l *Log) setLeaderEpoch(epoch int32) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := &l.writer
	if err := l.changeable(); err != nil {
		return err
	}
	if epoch < w.epoch {
		return fmt.Errorf("log: leader epoch %d is below the current %d", epoch, w.epoch)
	}
	if epoch > w.epochs.latest() {
		if err := l.beginEpochLocked(epoch); err != nil {
			return diskError(err)
		}
	}
	w.epoch = epoch
	return nil
}

// beginEpochLocked enters an epoch at the end of the log, durably or not at all.
func (l *Log) beginEpochLocked(epoch int32) error {
	return l.changeEpochsLocked(func(e *epochs) bool { return e.assign(epoch, l.end.Load()) })
}

// forgetEpochsLocked removes the epochs that begin at the end of the log or behind it, durably: a leader entered
// them that appended nothing.
func (l *Log) forgetEpochsLocked() error {
	end, e := l.end.Load(), &l.writer.epochs
	if e.startingBelow(end) == len(e.entries) {
		return nil
	}
	return l.changeEpochsLocked(func(e *epochs) bool { return e.truncateEnd(end) })
}

// changeEpochsLocked changes the history of leader epochs, on disk, or leaves it as it was.
func (l *Log) changeEpochsLocked(change func(e *epochs) (changed bool)) error {
	if err := l.beginWritingLocked(); err != nil {
		return err
	}
	w := &l.writer
	before := w.epochs
	if !change(&w.epochs) {
		return nil
	}
	if err := l.saveEpochs(); err != nil {
		if !retriable(err) {
			l.fail(err) // the file may say one thing or the other
		}
		w.epochs = before
		l.publishEpochs()
		return err
	}
	return l.writeSlot(slotOptions{})
}

// LeaderEpoch is the epoch stamped on appended batches.
func (l *Log) LeaderEpoch() int32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.writer.epoch
}

// EpochEnd answers where a leader epoch ended: the largest epoch at most the
// asked one that the log knows, and the first offset after it (the end of the
// log for the latest). -1 and -1 when it knows none (KIP-101, KIP-279).
func (l *Log) EpochEnd(epoch int32) (found int32, end int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.writer.epochs.endOffsetFor(epoch, l.end.Load())
}

// Size is the bytes of all segments' data.
func (l *Log) Size() int64 {
	v := l.view.Load()
	if v == nil {
		return 0
	}
	var n int64
	for _, s := range v.segments {
		n += s.Size()
	}
	return n
}

// Facts describes one segment.
type Facts struct {
	Base, Next   int64 // offsets [Base, Next)
	Bytes        int64
	MaxTimestamp int64 // largest record time, ms since the epoch; -1 if none
	Active       bool
}

// Segments describes every segment, oldest first. It may read sealed segments' side files.
func (l *Log) Segments() []Facts {
	v := l.view.Load()
	if v == nil {
		return nil
	}
	facts := make([]Facts, 0, len(v.segments))
	for _, s := range v.segments {
		ts, _ := s.MaxTimestamp()
		facts = append(facts, Facts{s.Base(), s.Next(), s.Size(), ts, s == v.active()})
	}
	return facts
}

// newJitter draws how much earlier than the segment age the next segment rolls.
func newJitter(cfg *Config) time.Duration {
	span := min(cfg.SegmentJitter, cfg.segmentAge())
	if span <= 0 {
		return 0
	}
	return rand.N(span)
}

// Close syncs and closes the log. When it returns nil everything appended is on
// disk and the next Open reads no data, unless the power is cut before the system has written the
// side file, which is derived and not synced here. After a failure the log stays as after a
// kill: the next Open recovers it. Waiting calls return [ErrClosed]. Close is
// idempotent and does not wait for pinned [Slice] values, which stay readable.
func (l *Log) Close() error {
	l.closing.Do(func() {
		l.refuse()
		l.syncer.becomeLeader()
		l.closeErr = l.closeWriter()
		l.syncer.passLeadership()
		l.deleteIdle()
		l.wakeAll()
		l.tell()
	})
	return l.closeErr
}

// Abandon is Close of a log whose files are about to go: nothing is written or synced any more, and it waits for no
// fsync of appended data, only for the call that a pass, a change of the log or a write of the slot has under way. The
// next Open would find the log as after a kill.
func (l *Log) Abandon() {
	l.closing.Do(func() {
		l.refuse()
		l.mu.Lock()
		l.closeErr = l.retireLocked()
		l.mu.Unlock()
		l.removed.Load().forget()
		l.wakeAll()
		l.tell()
	})
}

// refuse lets no pass and no change begin any more, and waits for those under way.
func (l *Log) refuse() {
	l.halt(ErrClosed)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed.Store(true) // a holder of mu after this sees it: nothing is written any more
}

// closeWriter makes the clean stop: data, then derived files, then the slot that says so.
func (l *Log) closeWriter() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var err error
	if !l.writer.readOnly && l.writer.opened {
		err = l.stopCleanLocked(l.view.Load())
	}
	return errors.Join(err, l.retireLocked())
}

// retireLocked gives back what the log holds open, each segment once no reader has it pinned.
func (l *Log) retireLocked() error {
	v := l.view.Swap(nil)
	for _, s := range v.segments {
		s.Retire(func() { _ = s.Close() })
	}
	return l.slotFile.close()
}

func (l *Log) stopCleanLocked(v *view) error {
	if f := l.fence.Load(); f != nil && f.sticky {
		return f
	}
	l.settleAbortedLocked(v.active())
	if err := v.active().Freeze(l.sideFacts(l.end.Load())); err != nil {
		l.fail(err)
		return err
	}
	l.tipSyncedLocked()
	if err := l.takeSnapshotLocked(); err != nil {
		return err
	}
	if l.writer.epochs.truncateEnd(l.end.Load()) || l.epochSum.Load() == 0 { // an epoch without a batch; an earlier attempt failed
		if err := l.saveEpochs(); err != nil {
			return err
		}
	}
	if !l.writer.producers.snapped && len(l.writer.producers.known) == 0 {
		l.identified.Store(false) // all have expired: there is nothing to replay
	}
	return l.writeSlot(slotOptions{clean: true, sync: true})
}

// sideFacts is what the active segment's side file says beyond what the segment knows; reach is where the log goes on.
func (l *Log) sideFacts(reach int64) segment.SideFacts {
	return segment.SideFacts{TopicID: l.cfg.Load().TopicID, Sparse: l.writer.sparse, Reach: reach}
}

// wakeAll wakes every waiter, so that they see that the log was closed.
func (l *Log) wakeAll() {
	for _, m := range []*watermark.Mark{&l.start, &l.stable, &l.high, &l.end, &l.durable} {
		m.Wake()
	}
	l.watchers.notify()
	l.wakePasses()
}

// checkOrder asserts I1.
func (l *Log) checkOrder() {
	if !invariant.Enabled {
		return
	}
	start, stable, high, end := l.start.Load(), l.stable.Load(), l.high.Load(), l.end.Load()
	invariant.Check(start <= stable && stable <= high && high <= end,
		"log: offsets out of order: start %d, stable %d, high %d, end %d", start, stable, high, end)
}
