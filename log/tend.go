package log

import (
	"context"
	"time"
)

// slotInterval is how long a written slot may stay unsynced: the most by which
// the durable watermark lags after a power cut.
const slotInterval = time.Second

// snapshotBytes is how much may be appended between two producer snapshots of a
// log that is being written: what a recovery has to replay at most.
const snapshotInterval = 64 << 20

// tend tells the owner, once, that the log wants Tick to be called.
func (l *Log) tend(cfg *Config) {
	l.tellRoll()
	if l.hooks.Dirty == nil || l.tended.Load() || !l.wantsCare(cfg) {
		return
	}
	if l.tended.CompareAndSwap(false, true) {
		l.hooks.Dirty(l, careDelay(cfg))
	}
}

// careDelay is how soon a dirty log wants to be ticked.
func careDelay(cfg *Config) time.Duration {
	if cfg.Durability == Interval {
		return cfg.syncInterval()
	}
	return slotInterval
}

// wantsCare reports whether time alone must still do something to this log.
func (l *Log) wantsCare(cfg *Config) bool {
	if l.closed.Load() {
		return false
	}
	if f := l.fence.Load(); f != nil && f.sticky {
		return false
	}
	if cfg.Durability != OS && l.durable.Load() < l.end.Load() {
		return true
	}
	return l.notes.isDirty()
}

// Tick does what is due by time alone: the fsync of level [Interval], the fsync
// for appends whose callers gave up waiting, the slot's fsync, and producer
// snapshots. It returns how long until it wants to be called again, 0 when
// nothing is left to do until the next append calls Hooks.Dirty.
func (l *Log) Tick(ctx context.Context) (again time.Duration, err error) {
	cfg := l.cfg.Load()
	if cfg.Durability != OS {
		if err := l.Flush(ctx); err != nil {
			l.tended.Store(false)
			return 0, err
		}
	}
	if err := l.snapshotIfDue(); err != nil {
		return careDelay(cfg), err
	}
	if err := l.flushNote(); err != nil {
		l.fail(err)
		l.tended.Store(false)
		return 0, err
	}
	l.tended.Store(false)
	if l.wantsCare(cfg) && l.tended.CompareAndSwap(false, true) {
		return careDelay(cfg), nil
	}
	return 0, nil
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

// tellRoll calls the hook for rolls that happened under mu.
func (l *Log) tellRoll() {
	if l.hooks.Rolled == nil || !l.rolled.Load() || !l.rolled.CompareAndSwap(true, false) {
		return
	}
	if s := l.activeSegment(); s != nil {
		l.hooks.Rolled(s.Base())
	}
}

// ExpireProducers forgets producers that have been idle for longer than the
// configured time and hold no open transaction. It returns how many.
func (l *Log) ExpireProducers(now time.Time) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.writer.producers.expire(now.UnixMilli(), l.cfg.Load().producerExpiry().Milliseconds())
}

// Producers describes what the log knows of each producer, ascending by id.
func (l *Log) Producers() []ProducerState {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.writer.producers.list()
}
