package log

import (
	"github.com/quirelog/quire/internal/watermark"
)

// Start is the first offset that may be read.
func (l *Log) Start() int64 { return l.start.Load() }

// Stable is the last stable offset: below it every transaction has ended. Readers
// at isolation read-committed see records below it.
func (l *Log) Stable() int64 { return l.stable.Load() }

// High is the high watermark: below it every record is visible to readers, and
// at level [Sync] on disk.
func (l *Log) High() int64 { return l.high.Load() }

// End is the next offset to be written.
func (l *Log) End() int64 { return l.end.Load() }

// Durable is the durable watermark: below it every record is known to be on disk.
func (l *Log) Durable() int64 { return l.durable.Load() }

// Bound says up to where a read may go.
type Bound int8

const (
	// High bounds a read by the high watermark (read uncommitted). The default.
	High Bound = iota
	// Stable bounds a read by the last stable offset (read committed).
	Stable
	// End does not bound a read: replicas and tools.
	End
)

func (l *Log) mark(b Bound) *watermark.Mark {
	switch b {
	case Stable:
		return &l.stable
	case End:
		return &l.end
	}
	return &l.high
}

// Limit is the offset below which reads with this bound see records.
func (l *Log) Limit(b Bound) int64 { return l.mark(b).Load() }

// AdvanceHigh raises the high watermark of a replicated log to offset, at most
// to what is written, and at level [Sync] at most to what is on disk. It reports
// the high watermark.
func (l *Log) AdvanceHigh(offset int64) int64 {
	if offset <= l.high.Load() {
		return l.high.Load()
	}
	if l.cfg.Load().Durability == Sync {
		l.moveHigh(offset, &l.durable)
	} else {
		l.moveHigh(offset, &l.end)
	}
	l.tell()
	return l.high.Load()
}

// raiseHigh makes the records below offset visible, where that is the log's own
// decision.
func (l *Log) raiseHigh(offset int64) {
	if !l.cfg.Load().Replicated {
		l.moveHigh(offset, &l.end)
	}
}

// raiseHighLocked is raiseHigh for the holder of mu. What has been raised already is told once more: a sync round that did so may not have come
// to that yet, and those who appended return when the caller has settled their records.
func (l *Log) raiseHighLocked(offset int64) {
	if l.cfg.Load().Replicated {
		return
	}
	l.high.Advance(offset)
	if l.transactions.Load() {
		l.raiseStableLocked()
	} else {
		l.stable.Advance(offset)
	}
	l.news.Or(newsChanged)
	l.watchers.notify()
}

// moveHigh raises the high watermark to offset, at most to limit, and tells it, as raiseHighLocked does. It holds tip.mu, under which a
// truncation lowers the limit.
func (l *Log) moveHigh(offset int64, limit *watermark.Mark) {
	t := &l.syncer.tip
	t.mu.Lock()
	offset = min(offset, limit.Load())
	l.high.Advance(offset)
	transactions := l.transactions.Load()
	if !transactions {
		// A transaction begun meanwhile starts at or above the offset: it cannot be passed.
		l.stable.Advance(offset)
	}
	t.mu.Unlock()
	if transactions {
		l.mu.Lock()
		l.raiseStableLocked()
		l.mu.Unlock()
	}
	l.news.Or(newsChanged)
	l.watchers.notify()
}

// raiseStableLocked moves the last stable offset to the first unfinished
// transaction or the high watermark, whichever comes first. It never falls and
// never lies below the start.
func (l *Log) raiseStableLocked() {
	high := l.high.Load()
	first, open := l.writer.producers.firstUnstable(high)
	l.transactions.Store(open)
	if !open {
		first = high
	}
	l.stable.Advance(min(max(first, l.start.Load()), high))
}
