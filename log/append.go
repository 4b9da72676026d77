package log

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/segment"
)

// AppendOptions tune one append.
type AppendOptions struct {
	// Durability asks for more than the log's level; a weaker one is ignored.
	// The zero value is [Sync], so set Relaxed to mean "the log's level".
	Durability Durability
	// Relaxed says that the log's own level is enough, whatever Durability says.
	Relaxed bool
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
// in place: the header bytes of b change, b stays the caller's.
//
// When it returns nil the batch is, at level [Sync], on disk and visible. An
// error that matches [ErrUncertain] leaves the outcome open: the fsync failed or
// ctx ended while waiting for it. After any other error the batch is not in the
// log: [ErrClosed], [ErrFenced], [ErrNoSpace], [ErrTooLarge], [ErrCorrupt],
// [ErrInvalidRecord], [ErrInvalidTimestamp], [ErrOutOfOrderSequence],
// [ErrProducerFenced], [ErrInvalidTxnState], or the context's cause.
func (l *Log) Append(ctx context.Context, b record.Batch, o AppendOptions) (Appended, error) {
	if err := ctx.Err(); err != nil {
		return Appended{}, context.Cause(ctx)
	}
	cfg := l.cfg.Load()
	checked, err := validate(cfg, b, o)
	if err != nil {
		return Appended{}, err
	}
	a, err := l.appendChecked(cfg, checked, o)
	if err != nil {
		return Appended{}, err
	}
	return a, l.settle(ctx, cfg, a.Last+1, o)
}

// settle waits for what the append's level promises.
func (l *Log) settle(ctx context.Context, cfg *Config, end int64, o AppendOptions) error {
	l.tend(cfg)
	if o.NoWait {
		return nil
	}
	level := cfg.Durability
	if !o.Relaxed && o.Durability.stronger(level) {
		level = o.Durability
	}
	if level == Interval && cfg.SyncBytes > 0 && l.unsyncedBytes() > cfg.SyncBytes {
		level = Sync
	}
	return l.commit(ctx, end, level)
}

// appendChecked writes a validated batch.
func (l *Log) appendChecked(cfg *Config, c checked, o AppendOptions) (Appended, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.appendable(); err != nil {
		return Appended{}, err
	}
	if c.batch.ProducerID() >= 0 {
		dup, found, err := l.writer.producers.check(c.batch, l.origin(o))
		if err != nil {
			return Appended{}, err
		}
		if found {
			return Appended{Base: dup.base, Last: dup.last, Timestamp: l.stampOf(cfg, dup.timestamp),
				Epoch: l.writer.epoch, LogStart: l.start.Load(), Duplicate: true}, nil
		}
	}
	base := l.end.Load()
	c.batch.SetBaseOffset(base)
	c.batch.SetLeaderEpoch(l.writer.epoch)
	if err := l.writeLocked(cfg, c.batch, c.maxTimestamp, o.Now); err != nil {
		return Appended{}, err
	}
	l.noteBatchLocked(c.batch, o.Now)
	l.advanceEndLocked(cfg, c.batch.NextOffset())
	return Appended{Base: base, Last: c.batch.LastOffset(), Timestamp: c.stamp,
		Epoch: l.writer.epoch, LogStart: l.start.Load()}, nil
}

func (l *Log) origin(o AppendOptions) origin {
	if o.Coordinator {
		return fromCoordinator
	}
	return fromClient
}

func (l *Log) stampOf(cfg *Config, timestamp int64) int64 {
	if cfg.Timestamps == record.LogAppendTime {
		return timestamp
	}
	return record.NoTimestamp
}

// AppendAt adds a leader's batches as they are: offsets and epochs are kept,
// nothing but their checksums and order is validated. run holds one or more
// whole batches, the first at or above the end; offsets may have gaps. It waits
// for the log's level like Append.
func (l *Log) AppendAt(ctx context.Context, run []byte) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if err := checkRun(run); err != nil {
		return err
	}
	cfg := l.cfg.Load()
	end, err := l.appendRun(cfg, run)
	if err != nil {
		return err
	}
	return l.settle(ctx, cfg, end, AppendOptions{Relaxed: true})
}

func (l *Log) appendRun(cfg *Config, run []byte) (end int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.appendable(); err != nil {
		return 0, err
	}
	for b, err := range record.Batches(run) {
		if err != nil {
			return 0, err
		}
		if b.BaseOffset() < l.end.Load() {
			return 0, &InvalidRecordError{Reason: fmt.Sprintf("batch at offset %d below the end %d", b.BaseOffset(), l.end.Load())}
		}
		if _, _, err := l.writer.producers.check(b, fromLeader); err != nil {
			return 0, err
		}
		if b.BaseOffset() > l.end.Load() {
			l.writer.sparse = true
		}
		if err := l.writeLocked(cfg, b, b.MaxTimestamp(), 0); err != nil {
			return 0, err
		}
		l.noteBatchLocked(b, 0)
		l.writer.epoch = max(l.writer.epoch, b.LeaderEpoch())
		l.advanceEndLocked(cfg, b.NextOffset())
	}
	return l.end.Load(), nil
}

// writeLocked rolls if it is time and writes one batch with its final offsets.
func (l *Log) writeLocked(cfg *Config, b record.Batch, maxTimestamp, now int64) error {
	if err := l.beginWritingLocked(); err != nil {
		return diskError(err)
	}
	active := l.view.Load().active()
	if active.NeedsRoll(len(b), b.LastOffset(), maxTimestamp, l.rollRules(cfg, now)) {
		fresh, err := l.rollLocked(cfg, b.BaseOffset())
		if err != nil {
			return err
		}
		active = fresh
	}
	if l.writer.sparse {
		active.MarkSparse()
	}
	if err := active.Append(b); err != nil {
		if errors.Is(err, segment.ErrTorn) {
			l.fail(err)
			return uncertain(err)
		}
		return diskError(err)
	}
	l.publishTip(active, int64(len(b)))
	l.writer.snapshotBytes += int64(len(b))
	l.flushIndexLocked(active, len(b))
	return nil
}

func (l *Log) rollRules(cfg *Config, now int64) segment.RollRules {
	return segment.RollRules{Bytes: cfg.segmentBytes(), Age: cfg.segmentAge() - l.writer.jitter, Now: now}
}

// indexFlushBytes is how much data may be appended between two writes of the
// active indexes to their files: what a recovery has to read again for them.
const indexFlushBytes = 1 << 20

// flushIndexLocked writes the active indexes out from time to time. They are
// derived data: a failure costs a rebuild, not the append.
func (l *Log) flushIndexLocked(active *segment.Segment, n int) {
	l.writer.unindexed += int64(n)
	if l.writer.unindexed >= indexFlushBytes {
		l.writer.unindexed = 0
		_ = active.FlushIndex()
	}
}

// noteBatchLocked feeds producer state and leader epochs with a written batch.
func (l *Log) noteBatchLocked(b record.Batch, now int64) {
	if b.ProducerID() >= 0 {
		l.noteProducerLocked(b, now)
	}
	if epoch := b.LeaderEpoch(); epoch > l.lastEpoch() {
		l.assignEpochLocked(epoch, b.BaseOffset())
	}
}

// advanceEndLocked moves the end, and what follows it at once.
func (l *Log) advanceEndLocked(cfg *Config, end int64) {
	l.end.Advance(end)
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
