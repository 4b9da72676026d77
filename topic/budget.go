package topic

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/log"
)

// A disk budget bounds the bytes of data files of one topic, or of all: batches, files of removed segments
// that are not unlinked yet, and what an open partition may write ahead. What a compaction or redaction builds, before it takes
// the place of what it was made of, is charged as well but never refused, since that is how room is made: by that much, at most
// a segment for each partition at which somebody is at it, a budget may be exceeded, and appends find no room meanwhile. Indexes and the engine's small files, together
// about a hundredth of the data, are not counted: a [DiskReserve] stands for them. An append is charged before it is written,
// with one atomic addition; only at the bound is everything counted anew, from what the open logs know and, for
// partitions that nobody uses, from the sizes of their files.

// WhenFull says what happens to an append for which a disk budget has no room. Files that only wait for their delay
// are unlinked first in any case.
type WhenFull int8

const (
	// RefuseAppends fails the append with a [QuotaError]; it was definitely not done.
	RefuseAppends WhenFull = iota
	// DropOldest removes the oldest segments of the topics concerned, though no rule of retention lets them go,
	// until there is room. Topics whose cleanup.policy lacks delete lose nothing. An archive that refuses keeps its
	// segment: then the append fails.
	DropOldest
	// BlockAppends waits until there is room or the append's context ends, which is its error then. A producer tries
	// again until its delivery timeout.
	BlockAppends
)

// String is refuse, drop or block.
func (f WhenFull) String() string {
	switch f {
	case RefuseAppends:
		return "refuse"
	case DropOldest:
		return "drop"
	case BlockAppends:
		return "block"
	}
	return fmt.Sprintf("whenfull(%d)", int8(f))
}

func parseWhenFull(v string) (WhenFull, error) {
	for f := RefuseAppends; f <= BlockAppends; f++ {
		if v == f.String() {
			return f, nil
		}
	}
	return 0, fmt.Errorf("%q is none of refuse, drop, block", clip(v))
}

// QuotaError tells which disk budget has no room for an append, which was definitely not done. It matches [ErrQuota].
type QuotaError struct {
	Topic  string // whose budget; empty for the engine's
	Limit  int64  // bytes
	Used   int64  // bytes, before the append
	Wanted int64  // bytes of the append
	Full   WhenFull
	Cause  error // why no room could be made; nil if nothing went wrong
}

func (e *QuotaError) Error() string {
	whose := "the engine"
	if e.Topic != "" {
		whose = "topic " + e.Topic
	}
	text := fmt.Sprintf("topic: disk budget of %s: %d of %d bytes used, no room for %d", whose, e.Used, e.Limit, e.Wanted)
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Is reports whether target is [ErrQuota].
func (e *QuotaError) Is(target error) bool { return target == ErrQuota }

// Unwrap gives the cause.
func (e *QuotaError) Unwrap() error { return e.Cause }

// Retriable tells producers whether to wait for room.
func (e *QuotaError) Retriable() bool { return e.Full == BlockAppends && e.Wanted <= e.Limit }

// diskBudget is what one topic, or all of an engine, may take of the disk.
type diskBudget struct {
	eng   *Engine
	topic *Topic // nil: the engine's
	limit atomic.Int64
	full  atomic.Int32

	// used is never less than what is on disk: an append is added before it is written. flight is those among
	// them that may not be in their log yet.
	used, flight atomic.Int64
	// counted is used as of the last count, -1 when something may have gone since. Without that, used can only
	// be too large where the log compresses batches anew.
	counted atomic.Int64
	turn    chan struct{} // room for one token: whoever put it there counts and makes room

	mu      sync.Mutex
	waiting int
	room    chan struct{} // closed when something has gone
}

func newDiskBudget(e *Engine, t *Topic, limit int64, full WhenFull) *diskBudget {
	b := &diskBudget{eng: e, topic: t, turn: make(chan struct{}, 1), room: make(chan struct{})}
	b.set(limit, full)
	return b
}

func (b *diskBudget) set(limit int64, full WhenFull) {
	b.limit.Store(limit)
	b.full.Store(int32(full))
	b.freed()
}

// take charges n bytes that are about to be appended; wait says that the caller may be kept waiting. landed must follow.
func (b *diskBudget) take(ctx context.Context, n int64, wait bool) error {
	b.flight.Add(n)
	if b.tryTake(n) {
		return nil
	}
	err := b.takeAtBound(ctx, n, wait)
	if err != nil {
		b.flight.Add(-n)
	}
	return err
}

func (b *diskBudget) tryTake(n int64) bool {
	if b.used.Add(n) <= b.limit.Load() {
		return true
	}
	b.used.Add(-n)
	return false
}

// landed says that an append that was charged has ended; done, that its bytes are, or may be, in the log.
func (b *diskBudget) landed(n int64, done bool) {
	if !done {
		b.used.Add(-n)
	}
	b.flight.Add(-n)
}

// freed says that something has gone from the disk, or may have.
func (b *diskBudget) freed() {
	b.counted.Store(-1)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting > 0 {
		close(b.room)
		b.room = make(chan struct{})
	}
}

// await registers a waiter; leave takes it back.
func (b *diskBudget) await() (room <-chan struct{}, leave func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting++
	return b.room, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.waiting--
	}
}

func (b *diskBudget) whenFull() WhenFull { return WhenFull(b.full.Load()) }

// takeAtBound is take when the budget looks used up.
func (b *diskBudget) takeAtBound(ctx context.Context, n int64, wait bool) error {
	for {
		room, leave := b.await()
		err := b.makeRoom(ctx, n)
		if err != nil && b.topic != nil && b.topic.deleted.Load() {
			err, wait = b.topic.gone(), false // its files may count until they are removed, and nothing tells of that
		}
		if err == nil || b.whenFull() != BlockAppends || !wait || n > b.limit.Load() {
			leave()
			return err
		}
		b.eng.scheduler.arm(&b.eng.scheduler.retention, b.eng.scheduler.retainEvery)
		select {
		case <-room:
		case <-ctx.Done():
			err = bounded.Cause(ctx)
		case <-b.eng.closing:
			err = ErrClosed
		}
		leave()
		if ctx.Err() != nil || b.eng.isClosed() {
			return err
		}
	}
}

// makeRoom takes n bytes after counting what is there and, if need be and allowed, removing some of it.
func (b *diskBudget) makeRoom(ctx context.Context, n int64) error {
	select {
	case b.turn <- struct{}{}:
	case <-ctx.Done():
		return bounded.Cause(ctx)
	case <-b.eng.closing:
		return ErrClosed
	}
	defer func() { <-b.turn }()
	b.count(n)
	if b.tryTake(n) {
		return nil
	}
	if b.deleteFilesEarly() {
		b.count(n)
	}
	tried := map[*Partition]bool{}
	for !b.tryTake(n) {
		var cause error
		dropped := false
		if b.whenFull() == DropOldest && n <= b.limit.Load() {
			dropped, cause = b.dropOldest(ctx, tried)
		}
		if !dropped {
			return &QuotaError{Topic: b.name(), Limit: b.limit.Load(), Used: b.used.Load(), Wanted: n, Full: b.whenFull(), Cause: cause}
		}
		b.count(n)
	}
	return nil
}

func (b *diskBudget) name() string {
	if b.topic == nil {
		return ""
	}
	return b.topic.name
}

// scope is the partitions that the budget is about.
func (b *diskBudget) scope() []*Partition {
	if b.topic == nil {
		return b.eng.allPartitions()
	}
	return b.topic.state.Load().partitions
}

// count brings used to what is there, unless it was counted not long ago and nothing has gone since. mine is the caller's own bytes in
// flight, which are not in used. What is read first makes what others do meanwhile count twice rather than not at all.
func (b *diskBudget) count(mine int64) {
	before, counted := b.used.Load(), b.counted.Load()
	if counted >= 0 && before-counted < b.limit.Load()/64 {
		return
	}
	flight := b.flight.Load() - mine
	var bytes int64
	for _, p := range b.scope() {
		bytes += p.diskBytes()
	}
	if b.topic == nil { // after the partitions: a topic deleted meanwhile counts twice rather than not at all
		bytes += b.eng.removals.bytes.Load()
	}
	b.counted.Store(b.used.Add(bytes + flight - before))
}

// charge is the budgets that an append was charged to; either may be nil.
type charge struct{ own, all *diskBudget }

// take charges the budgets of the partition with an append of n bytes, or none of them.
func (p *Partition) take(ctx context.Context, n int64, wait bool) (charge, error) {
	c := charge{p.topic.budget.Load(), p.topic.eng.budget}
	if c.own != nil {
		if err := c.own.take(ctx, n, wait); err != nil {
			return charge{}, err
		}
	}
	if c.all != nil {
		if err := c.all.take(ctx, n, wait); err != nil {
			charge{own: c.own}.landed(n, false)
			return charge{}, err
		}
	}
	return c, nil
}

// landed says that the append has ended; done, that its bytes are, or may be, in the log.
func (c charge) landed(n int64, done bool) {
	if c.own != nil {
		c.own.landed(n, done)
	}
	if c.all != nil {
		c.all.landed(n, done)
	}
}

// budgeted tells whether appends to the partition are charged to anything.
func (p *Partition) budgeted() bool { return p.topic.eng.budget != nil || p.topic.budget.Load() != nil }

// spaceFreed tells the budgets that something of the topic has gone from the disk.
func (t *Topic) spaceFreed() {
	if b := t.budget.Load(); b != nil {
		b.freed()
	}
	t.eng.spaceFreed()
}

// spaceFreed tells the budget of all topics that something has gone from the disk.
func (e *Engine) spaceFreed() {
	if e.budget != nil {
		e.budget.freed()
	}
}

// applyBudget follows the topic's settings. A budget once made stays, without a limit if need be, so that what is in flight
// is charged and discharged at one place.
func (t *Topic) applyBudget(s *Settings) {
	b := t.budget.Load()
	limit := s.Budget
	switch {
	case b == nil && limit < 0:
		return
	case b == nil:
		b = newDiskBudget(t.eng, t, limit, s.BudgetFull)
		t.budget.Store(b)
	case limit < 0:
		limit = noLimit
	}
	b.set(limit, s.BudgetFull)
}

const noLimit = 1<<63 - 1

// limitAhead keeps what partitions under a budget write ahead small against it: not at all, or so that it may be charged
// in full to each that is open. allowance is what that is.
func (t *Topic) limitAhead(cfg *log.Config, s *Settings, partitions int) (allowance int64) {
	limit := int64(noLimit)
	if s.Budget >= 0 {
		limit = s.Budget
	}
	if b := t.eng.budget; b != nil {
		limit = min(limit, b.limit.Load())
	}
	if limit == noLimit {
		return 0
	}
	// A segment writes zeros ahead by at most PreWrite, or four times the append, rounded up to a page.
	most := max(cfg.PreWrite, 1<<20, 4*int64(cfg.MaxBatchBytes)) + 4096
	if most > limit/8/int64(max(partitions, 1)) {
		cfg.PreWrite = -1
		return 0
	}
	if cfg.Durability != log.Sync {
		return 0
	}
	return most
}
