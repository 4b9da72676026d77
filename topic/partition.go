package topic

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
)

// Partition is one log of a topic. Its files are opened when it is first used; until then, and while nobody
// uses it, it costs little memory and nothing else. All methods may be called at once from any goroutine.
type Partition struct {
	topic *Topic
	id    int32
	// log is the open log; nil before the first use and after the end.
	log    atomic.Pointer[log.Log]
	aside  atomic.Int64 // bytes that compaction has written and that are in no log yet
	doubts doubts
	// committing says that a goroutine syncs what was appended without waiting.
	committing atomic.Bool

	mu      sync.Mutex
	opening chan struct{}  // not nil while somebody opens the log; closed when that is done
	end     error          // why the partition can be used no more
	saved   checkpoint     // what the checkpoint files said when the engine was opened
	opened  *OpenedFacts   // what opening found, when there is something to tell
	size    *log.Footprint // of an unused partition, for budgets; nil while not known
	expiry  int64          // of an unused partition: when the oldest records' time is up, ms; 0 not known, -1 never
	cleanAt int64          // the same of compaction: when to look
	unused  bool           // never used: there is no directory, and nothing to recover
	met     bool           // Open met a directory all the same: of a first use that failed, or the manifest has lost that there was one
	waiting []log.Watcher  // of one that is not open: its log has them when it is
	watched *log.Log       // that has the watchers, also when it has ended
}

// checkpoint is what Kafka's checkpoint files hold of a partition; -1 where they say nothing.
type checkpoint struct{ start, recovery, high, cleaned int64 }

// ID is the partition's number within its topic.
func (p *Partition) ID() int32 { return p.id }

// Topic is the topic that the partition belongs to.
func (p *Partition) Topic() *Topic { return p.topic }

// String is "topic-partition", as the partition's directory is called.
func (p *Partition) String() string {
	if p.topic == nil {
		return ""
	}
	return dirName(p.topic.name, p.id)
}

// Dir is the partition's directory.
func (p *Partition) Dir() string {
	if p.topic == nil {
		return ""
	}
	return filepath.Join(p.topic.eng.dir, p.String())
}

func (p *Partition) at(offset int64, epoch int32) Position {
	return Position{Topic: p.topic.name, Partition: p.id, Offset: offset, Epoch: epoch}
}

// open gives the partition's log, opening (and after an unclean stop recovering) it at the first call.
// Errors: ErrNotFound after the topic's deletion, ErrClosed after the engine's Close, and what opening found.
func (p *Partition) open() (*log.Log, error) {
	if l := p.log.Load(); l != nil {
		return l, nil
	}
	return p.openSlowly(context.Background())
}

// openWith is open for callers that may stop waiting while somebody else opens the log.
func (p *Partition) openWith(ctx context.Context) (*log.Log, error) {
	if l := p.log.Load(); l != nil {
		return l, nil
	}
	return p.openSlowly(ctx)
}

// openSlowly opens the log, or waits for whoever does. A failed opening is tried again by the next caller.
func (p *Partition) openSlowly(ctx context.Context) (*log.Log, error) {
	if p.topic == nil {
		return nil, unmade("Partition")
	}
	for {
		if err := bounded.Cause(ctx); err != nil {
			return nil, err
		}
		l, wait, err := p.claim()
		if l != nil || err != nil {
			return l, p.fault(err)
		}
		if wait == nil {
			l, err := p.openApart(ctx)
			return l, p.waitFault(ctx, err)
		}
		select {
		case <-wait:
		case <-ctx.Done():
		}
	}
}

// claim gives the log, or why there is none, or the channel of whoever is opening it; with none of them the
// caller has claimed the opening and must call openClaimed.
func (p *Partition) claim() (*log.Log, <-chan struct{}, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.end != nil {
		return nil, nil, p.end
	}
	if l := p.log.Load(); l != nil {
		return l, nil, nil
	}
	if p.opening != nil {
		return nil, p.opening, nil
	}
	p.opening = make(chan struct{})
	return nil, nil, nil
}

// openClaimed opens the log for the goroutine that claimed it, and tells the others.
func (p *Partition) openClaimed() (*log.Log, error) {
	began := time.Now()
	l, facts, err := p.openLog(p.hooks())
	p.mu.Lock()
	end := p.end
	if err == nil && end == nil {
		p.passWatchersLocked(l)
		p.log.Store(l)
		if facts.notable() {
			p.opened = &facts
		}
		p.tellWaitingLocked()
	}
	waiters := p.opening
	p.opening = nil
	p.mu.Unlock()
	if err == nil && end != nil { // before those go on who take the directory away
		p.leave(l)
	}
	close(waiters)

	switch {
	case err != nil:
		p.topic.eng.tellOpenFailed(p, err)
		return nil, err
	case end != nil:
		return nil, end
	}
	p.chargeOpened()
	p.topic.eng.scheduler.logHasProducers(p.topic, l)
	if err := p.followSettings(l); err != nil {
		return nil, err
	}
	facts.Took = time.Since(began)
	p.topic.eng.tellOpened(p.topic, facts)
	return l, nil
}

// neverUsed tells that there is nothing in the partition, without a look at the disk.
func (p *Partition) neverUsed() bool {
	if p.topic == nil || p.log.Load() != nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.unused && !p.met && !p.topic.eng.readOnly && p.end == nil
}

// addWatcher has w told of changes of the log, and when the partition is opened, or ends, until removeWatcher. It opens nothing. An error is why
// the partition has ended.
func (p *Partition) addWatcher(w log.Watcher) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.end != nil:
		return p.end
	case p.watched != nil:
		p.watched.AddWatcher(w)
	default:
		p.waiting = append(p.waiting, w)
	}
	return nil
}

// removeWatcher ends that: when it returns, w is not called any more.
func (p *Partition) removeWatcher(w log.Watcher) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.waiting, w); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
	}
	if p.watched != nil {
		p.watched.RemoveWatcher(w)
	}
}

// passWatchersLocked gives those who wait to the log that has been opened.
func (p *Partition) passWatchersLocked(l *log.Log) {
	p.watched = l
	for _, w := range p.waiting {
		l.AddWatcher(w)
	}
}

// tellWaitingLocked tells those who waited that the partition is open, or has ended.
func (p *Partition) tellWaitingLocked() {
	for _, w := range p.waiting {
		w.Changed()
	}
	p.waiting = nil
}

// followSettings puts the topic's present settings in force, should they have changed during the opening.
func (p *Partition) followSettings(l *log.Log) error {
	if cfg := p.topic.state.Load().config; cfg != l.Config() {
		return l.Configure(cfg)
	}
	return nil
}

// ended is why the partition can be used no more, nil while it can.
func (p *Partition) ended() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.end
}

// shut ends the partition: calls from now on return why. An open log is closed, after a running opening.
// The result tells whether the log is known to have stopped in good order.
func (p *Partition) shut(why error) (clean bool, err error) {
	l, opened, ended := p.finish(why)
	switch {
	case ended:
		return true, nil
	case opened:
		return false, nil // the opener saw the end and closed its log; how that went is not known here
	case l == nil:
		return p.unused || p.topic.eng.startedOK, nil
	}
	err = l.Close()
	p.noteOffsets(l)
	if err != nil {
		return false, p.fault(err)
	}
	return true, nil
}

// abandon ends a partition of a deleted topic: what its log says at the end is of no more interest.
func (p *Partition) abandon(why error) {
	if l, _, _ := p.finish(why); l != nil {
		l.Abandon()
	}
}

// finish lets no call use the partition any more, and waits for an opening under way. An open log is the caller's to close.
func (p *Partition) finish(why error) (l *log.Log, opened, ended bool) {
	p.mu.Lock()
	if p.end != nil {
		p.mu.Unlock()
		return nil, false, true
	}
	p.end = why
	p.topic.eng.cleaner.markCleanable(p) // it need not be known any more
	l = p.log.Swap(nil)
	opening := p.opening
	p.tellWaitingLocked()
	p.mu.Unlock()
	if opening != nil {
		<-opening
	}
	return l, opening != nil, false
}

// leave closes a log that was opened for a partition that has ended meanwhile.
func (p *Partition) leave(l *log.Log) {
	if p.topic.deleted.Load() {
		l.Abandon()
		return
	}
	_ = l.Close()
}

// noteOffsets remembers a log's offsets for the checkpoint files.
func (p *Partition) noteOffsets(l *log.Log) {
	c := checkpoint{start: l.Start(), recovery: l.Durable(), high: l.High(), cleaned: l.FirstDirty()}
	p.mu.Lock()
	p.saved = c
	p.mu.Unlock()
}

// offsets is what the checkpoint files should say of the partition.
func (p *Partition) offsets() checkpoint {
	if l := p.log.Load(); l != nil {
		p.noteOffsets(l)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.saved
}

// Offsets are the marks of a partition's log: Start <= Stable <= High <= End, and Durable <= End.
type Offsets struct {
	Start   int64 // first offset that can be read
	Stable  int64 // below it every transaction has ended: what ReadCommitted sees
	High    int64 // below it records are visible: what ReadUncommitted sees
	End     int64 // the next record's offset
	Durable int64 // below it everything is known to be on disk
}

// Offsets gives the marks of the partition, opening it if needed; those of one that was never used are 0, and it stays so.
func (p *Partition) Offsets() (Offsets, error) {
	if p.neverUsed() {
		return Offsets{}, nil
	}
	l, err := p.open()
	if err != nil {
		return Offsets{}, err
	}
	// Read from below: each mark only rises, so the order between them holds.
	o := Offsets{Start: l.Start(), Durable: l.Durable()}
	o.Stable = max(l.Stable(), o.Start)
	o.High = max(l.High(), o.Stable)
	o.End = max(l.End(), o.High, o.Durable)
	return o, nil
}

// Start is the first offset that can be read.
func (p *Partition) Start() (int64, error) { return p.mark((*log.Log).Start) }

// Stable is the offset below which ReadCommitted sees records.
func (p *Partition) Stable() (int64, error) { return p.mark((*log.Log).Stable) }

// High is the offset below which ReadUncommitted sees records.
func (p *Partition) High() (int64, error) { return p.mark((*log.Log).High) }

// End is the offset of the next record to be appended.
func (p *Partition) End() (int64, error) { return p.mark((*log.Log).End) }

func (p *Partition) mark(f func(*log.Log) int64) (int64, error) {
	if p.neverUsed() {
		return 0, nil
	}
	l, err := p.open()
	if err != nil {
		return -1, err
	}
	return f(l), nil
}

// Size is the bytes of the partition's data, without indexes.
func (p *Partition) Size() (int64, error) { return p.mark((*log.Log).Size) }

// Flush fsyncs what was appended so far; on disk at return.
func (p *Partition) Flush(ctx context.Context) error {
	l, err := p.openWith(ctx)
	if err != nil {
		return err
	}
	return p.waitFault(ctx, l.Flush(ctx))
}

// DeleteRecords makes the records below before unreadable and lets their files be removed; -1 means all that
// are visible. It returns the new start. The start never falls, and asking beyond the high watermark is an
// OffsetRangeError. A topic that is only compacted refuses with ErrPolicyViolation.
func (p *Partition) DeleteRecords(ctx context.Context, before int64) (start int64, err error) {
	if p.topic == nil {
		return -1, unmade("Partition")
	}
	if p.topic.eng.readOnly {
		return -1, p.fault(ErrReadOnly)
	}
	if t := p.topic; !t.Internal() && t.state.Load().settings.Cleanup&CleanupDelete == 0 {
		return -1, p.fault(fmt.Errorf("%w: cleanup.policy is %v", ErrPolicyViolation, t.state.Load().settings.Cleanup))
	}
	l, err := p.openWith(ctx)
	if err != nil {
		return -1, err
	}
	start, err = change(ctx, p.topic.eng, func() (int64, error) {
		start, err := l.DeleteRecords(before)
		if err == nil {
			p.topic.eng.scheduler.armCheckpoint()
			p.topic.spaceFreed()
		}
		return start, err
	})
	if err != nil {
		return -1, p.waitFault(ctx, err)
	}
	return start, nil
}

// OffsetForTime finds the first record at or after t in offset order, below the high watermark. ok is false
// when there is none.
func (p *Partition) OffsetForTime(ctx context.Context, t time.Time) (pos Position, at time.Time, ok bool, err error) {
	l, err := p.openWith(ctx)
	if err != nil {
		return Position{}, time.Time{}, false, err
	}
	found, ok, err := p.offsetFor(ctx, l, record.Millis(t), log.High)
	if err != nil || !ok {
		return Position{}, time.Time{}, false, p.waitFault(ctx, err)
	}
	return p.at(found.Offset, found.Epoch), timeOf(found.Timestamp), true, nil
}

// Wait waits until the record at offset, or a later one, is visible at the level. It returns the context's
// cause when ctx ends first, ErrClosed or ErrNotFound when the partition ends.
func (p *Partition) Wait(ctx context.Context, offset int64, level IsolationLevel) error {
	l, err := p.openWith(ctx)
	if err != nil {
		return err
	}
	return p.waitFault(ctx, l.Wait(ctx, offset, level.bound()))
}

// waitFault leaves the context's own error as it is.
func (p *Partition) waitFault(ctx context.Context, err error) error {
	if bounded.IsCause(ctx, err) {
		return err
	}
	return p.fault(err)
}

// Watch has f called whenever one of the marks has changed, when the partition is used for the first time since the engine was opened, and when
// it ends; now and then also for nothing. It does not open the partition, and says nothing of what is there already: look after Watch has
// returned. f is called in the goroutine that makes the change, with locks held, by one at a time: it must neither wait nor use the engine, as
// one that sends on a channel with room for one, or gives up. When stop returns, f is not called any more; stop may be called again.
// Errors: ErrNotFound and ErrClosed when the partition has ended.
func (p *Partition) Watch(f func()) (stop func(), err error) {
	if p.topic == nil {
		return nil, unmade("Partition")
	}
	w := &watcher{f}
	if err := p.addWatcher(w); err != nil {
		return nil, p.fault(err)
	}
	return func() { p.removeWatcher(w) }, nil
}

// watcher is a function that is told of changes.
type watcher struct{ f func() }

func (w *watcher) Changed() { w.f() }

// Fence makes appends fail with an error that matches ErrFenced and reason until Unfence; reads go on.
func (p *Partition) Fence(reason error) error {
	if reason == nil {
		return fmt.Errorf("%w: a fence needs a reason", ErrInvalid)
	}
	l, err := p.open()
	if err == nil {
		l.Fence(reason)
	}
	return err
}

// Unfence lifts a fence. It reports false when the fence stays: after a failed fsync only an engine that is
// opened anew knows what is on disk.
func (p *Partition) Unfence() (bool, error) {
	l, err := p.open()
	if err != nil {
		return false, err
	}
	return l.Unfence(), nil
}

// Fenced is why appends are refused at present, nil when they are not or the partition was not used yet.
func (p *Partition) Fenced() error {
	if p.topic == nil {
		return unmade("Partition")
	}
	if l := p.log.Load(); l != nil {
		return l.Fenced()
	}
	return nil
}
