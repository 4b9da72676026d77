package log

import (
	"context"
	"time"

	"github.com/quirelog/quire/internal/bounded"
)

// slotInterval is how long a written slot may stay unsynced: the most by which
// the durable watermark lags after a power cut.
const slotInterval = time.Second

// snapshotInterval is how much may be appended between two producer snapshots of a
// log that is being written: what a recovery has to replay at most.
const snapshotInterval = 64 << 20

// askForTick tells the owner, once, that the log wants Tick to be called.
func (l *Log) askForTick(cfg *Config) {
	if l.hooks.Dirty == nil || l.tickAsked.Load() || !l.needsTick(cfg) {
		return
	}
	if l.tickAsked.CompareAndSwap(false, true) {
		l.hooks.Dirty(l, tickDelay(cfg))
	}
}

// tickDelay is how soon a dirty log wants to be ticked.
func tickDelay(cfg *Config) time.Duration {
	if cfg.Durability == Interval {
		return cfg.syncInterval()
	}
	return slotInterval
}

// needsTick reports whether time alone must still do something to this log.
func (l *Log) needsTick(cfg *Config) bool {
	if l.closed.Load() {
		return false
	}
	if s := l.activeSegment(); s != nil && s.Followed() {
		return true
	}
	if f := l.fence.Load(); f != nil && f.sticky {
		return false
	}
	if cfg.Durability != OS && l.durable.Load() < l.end.Load() {
		return true
	}
	return l.slotFile.dirty.Load()
}

// Tick does what is due by time alone: the fsync of level [Interval], the fsync
// for appends whose callers gave up waiting, the slot's fsync, and producer
// snapshots; and it gives back the memory of what was written last if nobody reads it any more. It returns how long until it wants to be called again, 0 when
// nothing is left to do until the next append calls Hooks.Dirty.
func (l *Log) Tick(ctx context.Context) (again time.Duration, err error) {
	again, _, err = bounded.Do(ctx, &l.calls().others, grace, func() (time.Duration, error) { return l.tickNow(ctx) })
	return again, err
}

func (l *Log) tickNow(ctx context.Context) (again time.Duration, err error) {
	cfg := l.cfg.Load()
	err = l.tick(ctx, cfg)
	l.tell()
	// An append that comes between these two lines calls the hook, any later one finds
	// that it need not.
	l.tickAsked.Store(false)
	if l.needsTick(cfg) && l.tickAsked.CompareAndSwap(false, true) {
		return tickDelay(cfg), err
	}
	return 0, err
}

func (l *Log) tick(ctx context.Context, cfg *Config) error {
	if l.closed.Load() {
		return nil
	}
	if s := l.activeSegment(); s != nil {
		s.Unfollow()
	}
	if cfg.Durability != OS {
		if err := l.Flush(ctx); err != nil {
			return err
		}
	}
	err := l.snapshotIfDue()
	if l.indexDirty.Load() && err == nil {
		err = l.syncIndex()
	}
	if failed := l.flushSlot(); failed != nil {
		l.fail(failed)
		return failed
	}
	return err
}

// syncIndex makes the active index files durable that the slot is about to vouch for.
func (l *Log) syncIndex() error {
	l.indexDirty.Store(false)
	s := l.activeSegment()
	if s == nil || !s.Pin() {
		return nil
	}
	defer s.Unpin()
	return s.SyncIndex()
}

// snapshotIfDue bounds what a recovery replays for producer state.
func (l *Log) snapshotIfDue() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.writer.snapshotBytes < snapshotInterval || l.closed.Load() {
		return nil
	}
	return l.takeSnapshotLocked()
}

// ExpireProducers forgets producers that have been idle for longer than the
// configured time and hold no open transaction. It returns how many, and how many are left.
func (l *Log) ExpireProducers(now time.Time) (expired, left int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &l.writer.producers
	expired = p.expire(now.UnixMilli(), l.cfg.Load().producerExpiry().Milliseconds())
	return expired, len(p.known)
}

// Identified reports whether a batch of the log has, or may have, a producer id.
func (l *Log) Identified() bool { return l.identified.Load() }

// Producers describes what the log knows of each producer, ascending by id.
func (l *Log) Producers() []ProducerState {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.writer.producers.list()
}
