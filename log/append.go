package log

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/segment"
)

// AppendOptions tune one append.
type AppendOptions struct {
	// Synced waits for an fsync, whatever the log's level; without it the level counts.
	Synced bool
	// NoWait returns once the batch is written; [Log.Commit] waits for the rest.
	NoWait bool
	// Trusted says that the batch was sealed by a record.Builder of this process and
	// not touched since: its checksum, counts and timestamps are not checked again.
	Trusted bool
	// Coordinator says that the batch is written by a coordinator on a producer's
	// behalf: only the producer's epoch is checked, and control batches are allowed.
	Coordinator bool
	// Now is the time to use, in ms since the epoch; 0 reads the clock when it is needed.
	Now int64
}

// Appended tells what an append did.
type Appended struct {
	Base, Last int64 // offsets [Base, Last]
	Timestamp  int64 // the log's own time under record.LogAppendTime, else -1
	Epoch      int32 // leader epoch stamped on the batch
	LogStart   int64
	Duplicate  bool // the batch was in the log already, at these offsets (idempotent producer)
}

// Append adds one client batch at the end and waits until it is as durable as
// the log's level asks. It validates as a Kafka leader does and assigns offsets
// in place: the header bytes of b change, b stays the caller's. After an error b is
// what it was, so that the caller can try again.
//
// When it returns nil the batch is, at level [Sync], on disk and visible. An
// error that matches [ErrUncertain] leaves the outcome open: the fsync failed, or
// ctx ended while the disk was at it. b is the caller's all the same: with a context
// that can end, the log writes a copy. After any other error the batch is not in the
// log: [ErrClosed], [ErrFenced], [ErrNoSpace], [ErrTooLarge], [ErrCorrupt],
// [ErrInvalidRecord], [ErrInvalidTimestamp], [ErrOutOfOrderSequence],
// [ErrProducerFenced], [ErrInvalidTxnState], or the context's cause.
func (l *Log) Append(ctx context.Context, b record.Batch, o AppendOptions) (Appended, error) {
	if err := ctx.Err(); err != nil {
		return Appended{}, bounded.Cause(ctx)
	}
	if ctx.Done() != nil {
		return l.appendDetached(ctx, b, o)
	}
	var head [record.HeaderSize]byte
	copy(head[:], b)
	a, err := l.appendAndWait(ctx, b, &o)
	if err != nil {
		copy(b, head[:])
		return Appended{}, err
	}
	return a, nil
}

func (l *Log) appendAndWait(ctx context.Context, b record.Batch, o *AppendOptions) (Appended, error) {
	cfg := l.cfg.Load()
	c, err := validate(cfg, b, o)
	if err != nil {
		return Appended{}, err
	}
	a, cuts, err := l.appendChecked(cfg, &c, o)
	l.tell()
	if err != nil {
		return Appended{}, err
	}
	return a, l.settle(ctx, cfg, a.Last+1, cuts, o)
}

// settle waits for what the append's level promises.
func (l *Log) settle(ctx context.Context, cfg *Config, end, cuts int64, o *AppendOptions) error {
	l.askForTick(cfg)
	if o.NoWait {
		return nil
	}
	level := cfg.Durability
	if o.Synced {
		level = Sync
	}
	if level == Interval && cfg.SyncBytes > 0 && l.unsyncedBytes() > cfg.SyncBytes {
		level = Sync
	}
	return l.commit(ctx, end, level, cuts)
}

// appendChecked writes a validated batch. cuts is the number of truncations so far.
func (l *Log) appendChecked(cfg *Config, c *checked, o *AppendOptions) (a Appended, cuts int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.appendLocked(cfg, c, o)
}

func (l *Log) appendLocked(cfg *Config, c *checked, o *AppendOptions) (a Appended, cuts int64, err error) {
	cuts = l.syncer.cuts()
	if err := l.appendable(); err != nil {
		return Appended{}, cuts, err
	}
	a = Appended{Timestamp: c.stamp, Epoch: l.writer.epoch, LogStart: l.start.Load()}
	if c.batch.ProducerID() >= 0 {
		dup, found, err := l.writer.producers.check(c.batch, o.origin())
		if err != nil {
			return Appended{}, cuts, err
		}
		if found {
			a.Base, a.Last, a.Timestamp, a.Duplicate = dup.base, dup.last, stampOf(cfg, dup.timestamp), true
			return a, cuts, nil
		}
	}
	a.Base = l.end.Load()
	if a.Base > math.MaxInt64-math.MaxInt32-1 {
		return Appended{}, cuts, &InvalidRecordError{Reason: "the log has no offsets left"}
	}
	l.foretellEpochLocked()
	c.batch.SetBaseOffset(a.Base)
	c.batch.SetLeaderEpoch(l.writer.epoch)
	a.Last = c.batch.LastOffset()
	return a, cuts, l.writeLocked(cfg, c.batch, c.maxTimestamp, o.Now)
}

func (o *AppendOptions) origin() origin {
	if o.Coordinator {
		return fromCoordinator
	}
	return fromClient
}

func stampOf(cfg *Config, timestamp int64) int64 {
	if cfg.Timestamps == record.LogAppendTime {
		return timestamp
	}
	return record.NoTimestamp
}

// AppendAt adds a leader's batches as they are: offsets and epochs are kept,
// nothing but their checksums and order is validated. run holds one or more
// whole batches, the first at or above the end; offsets may have gaps, epochs do
// not go back. It waits for the log's level like Append. After an error [Log.End]
// tells how many of the batches are in the log: each is, or is not, whole and in order.
func (l *Log) AppendAt(ctx context.Context, run []byte) error {
	if err := ctx.Err(); err != nil {
		return bounded.Cause(ctx)
	}
	if err := checkRun(run); err != nil {
		return err
	}
	if ctx.Done() != nil {
		return l.appendRunDetached(ctx, run)
	}
	cfg := l.cfg.Load()
	end, cuts, err := l.appendRun(cfg, run)
	l.tell()
	if err != nil {
		l.askForTick(cfg)
		return err
	}
	return l.settle(ctx, cfg, end, cuts, &AppendOptions{})
}

func (l *Log) appendRun(cfg *Config, run []byte) (end, cuts int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.appendRunLocked(cfg, run)
}

func (l *Log) appendRunLocked(cfg *Config, run []byte) (end, cuts int64, err error) {
	cuts = l.syncer.cuts()
	if err := l.appendable(); err != nil {
		return 0, cuts, err
	}
	if err := l.admitRunLocked(run); err != nil {
		return 0, cuts, err
	}
	for b, err := range record.Batches(run) {
		if err != nil {
			return 0, cuts, err
		}
		if b.BaseOffset() > l.end.Load() {
			if err := l.markSparseLocked(); err != nil {
				return 0, cuts, err
			}
		}
		l.writer.epoch = max(l.writer.epoch, b.LeaderEpoch())
		if err := l.writeLocked(cfg, b, b.MaxTimestamp(), 0); err != nil {
			return 0, cuts, err
		}
	}
	return l.end.Load(), cuts, nil
}

// markSparseLocked says, in the slot too, that offsets of the active segment may have gaps, before the first batch that leaves one: else recovery
// takes its offset for damage.
func (l *Log) markSparseLocked() error {
	active := l.view.Load().active()
	if l.writer.sparse && active.Sparse() {
		return nil
	}
	if err := l.beginWritingLocked(); err != nil {
		return diskError(err)
	}
	l.writer.sparse = true
	active.MarkSparse()
	return diskError(l.writeSlot(slotOptions{sync: true}))
}

// admitRunLocked judges a leader's batches against the log, before the first is written.
func (l *Log) admitRunLocked(run []byte) error {
	end, epoch := l.end.Load(), l.lastEpoch()
	for b, err := range record.Batches(run) {
		if err != nil {
			return err
		}
		switch base := b.BaseOffset(); {
		case base < end:
			return &InvalidRecordError{Reason: fmt.Sprintf("batch at offset %d below the end %d", base, end)}
		case b.LeaderEpoch() < epoch:
			return &InvalidRecordError{Reason: fmt.Sprintf("batch at offset %d of epoch %d after epoch %d", base, b.LeaderEpoch(), epoch)}
		}
		if _, _, err := l.writer.producers.check(b, fromLeader); err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		end, epoch = b.NextOffset(), b.LeaderEpoch()
	}
	return nil
}

// writeLocked rolls if it is time, writes one batch with its final offsets, and takes
// note of it: first what is derived from it, then the end, then the tip, by which a sync
// round may make it visible.
func (l *Log) writeLocked(cfg *Config, b record.Batch, maxTimestamp, now int64) error {
	if err := l.beginWritingLocked(); err != nil {
		return diskError(err)
	}
	active := l.view.Load().active()
	if active.NeedsRoll(len(b), b.LastOffset(), maxTimestamp, l.rollRules(cfg, active, now)) {
		fresh, err := l.rollLocked(cfg, b.BaseOffset())
		if err != nil {
			return err
		}
		active = fresh
	}
	if epoch := b.LeaderEpoch(); epoch > l.lastEpoch() {
		l.assignEpochLocked(epoch, b.BaseOffset()) // first the history: recovery takes a batch that it does not know for a damaged one
	}
	if err := active.Append(b); err != nil {
		return l.appendFailed(err)
	}
	l.observeLocked(b, now)
	l.advanceEndLocked(cfg, b.NextOffset())
	l.publishTip(active, b.NextOffset(), int64(len(b)))
	l.writer.snapshotBytes += int64(len(b))
	l.flushIndexLocked(active, len(b))
	return nil
}

// appendFailed tells what a failed write means. One that could not be cut back may have
// left the batch: only the next recovery knows.
func (l *Log) appendFailed(err error) error {
	if errors.Is(err, segment.ErrTorn) {
		l.fail(err)
		return uncertain(err)
	}
	return diskError(err)
}

func (l *Log) rollRules(cfg *Config, active *segment.Segment, now int64) segment.RollRules {
	if w := &l.writer; w.timed != active {
		if active.FirstTimestamp() >= 0 {
			w.timed = active
		}
		now = nowMillis(now) // records without a time age by the clock
	}
	return segment.RollRules{Bytes: cfg.segmentBytes(), Age: cfg.segmentAge() - l.writer.jitter, Now: now}
}

// indexFlushBytes is how much data may be appended between two writes of the
// active indexes to their files: what a recovery has to read again for them.
const indexFlushBytes = 8 << 20

// flushIndexLocked writes the active indexes out from time to time. They are
// derived data: a failure costs a rebuild, not the append.
func (l *Log) flushIndexLocked(active *segment.Segment, n int) {
	l.writer.unindexed += int64(n)
	if l.writer.unindexed >= indexFlushBytes {
		l.writer.unindexed = 0
		l.indexDirty.Store(active.FlushIndex() == nil)
	}
}

// observeLocked feeds producer state with a written batch.
func (l *Log) observeLocked(b record.Batch, now int64) {
	if b.ProducerID() >= 0 {
		l.observeProducerLocked(b, now)
	}
}

// advanceEndLocked moves the end, and what follows it at once.
func (l *Log) advanceEndLocked(cfg *Config, end int64) {
	l.end.Advance(end)
	l.news.Or(newsChanged)
	if cfg.Durability != Sync {
		l.raiseHighLocked(end)
	}
	l.checkOrder()
}

// diskError makes exhausted space match [ErrNoSpace].
func diskError(err error) error {
	if err != nil && vfs.IsNoSpace(err) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}

// nowMillis is the wall clock in ms since the epoch, or the caller's idea of it.
func nowMillis(given int64) int64 {
	if given != 0 {
		return given
	}
	return time.Now().UnixMilli()
}
