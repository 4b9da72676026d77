package log

import (
	"context"
	"sync"
	"sync/atomic"
)

// cleaner sees that one pass at a time rewrites segments of a log, that whoever is about
// to cut the log can stop it, and where it got to.
type cleaner struct {
	// firstDirty is the first offset that no pass has covered: Kafka's cleaner checkpoint.
	firstDirty atomic.Int64
	passing    atomic.Bool // a pass of retention, compaction or redaction is under way

	mu     sync.Mutex // held for moments
	pass   *pass      // the one under way
	paused int        // how many want that there be none
}

// pass is one rewriting under way.
type pass struct {
	stop context.CancelCauseFunc
	done chan struct{}
}

// cleanerOf returns the log's cleaner, made when it is first asked for.
func (l *Log) cleanerOf() *cleaner {
	if c := l.cleaner.Load(); c != nil {
		return c
	}
	l.cleaner.CompareAndSwap(nil, new(cleaner))
	return l.cleaner.Load()
}

// begin starts a pass. Its context ends with ctx or when somebody stops the pass; end
// must be called.
func (c *cleaner) begin(ctx context.Context) (passing context.Context, end func(), err error) {
	passing, stop := context.WithCancelCause(ctx)
	p := &pass{stop, make(chan struct{})}
	c.mu.Lock()
	busy := c.pass != nil || c.paused > 0
	if !busy {
		c.pass = p
	}
	c.mu.Unlock()
	if busy {
		stop(nil)
		return nil, nil, ErrBusy
	}
	return passing, func() {
		c.mu.Lock()
		c.pass = nil
		c.mu.Unlock()
		close(p.done)
		stop(nil)
	}, nil
}

// halt stops a pass that is under way, for the given reason, waits for its end and lets
// none begin until resume is called. The caller holds no lock.
func (l *Log) halt(reason error) (resume func()) {
	c := l.cleanerOf()
	c.mu.Lock()
	c.paused++
	p := c.pass
	c.mu.Unlock()
	if p != nil {
		p.stop(reason)
		<-p.done
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.paused--
	}
}

// FirstDirty is the first offset that no compaction has covered yet: what Kafka keeps in
// its cleaner-offset-checkpoint.
func (l *Log) FirstDirty() int64 {
	c := l.cleaner.Load()
	if c == nil {
		return l.start.Load()
	}
	return l.dirtyFrom(c.firstDirty.Load())
}

// dirtyFrom makes sense of a checkpoint: one that does not lie within the log says nothing.
func (l *Log) dirtyFrom(checkpoint int64) int64 {
	if start := l.start.Load(); checkpoint < start || checkpoint > l.end.Load() {
		return start
	}
	return checkpoint
}

// uncleaned lowers the checkpoint after the log was cut to its present end.
func (l *Log) uncleaned() {
	c := l.cleaner.Load()
	end := l.end.Load()
	if c == nil || c.firstDirty.Load() <= end {
		return
	}
	c.firstDirty.Store(end)
	if l.hooks.Uncleaned != nil {
		l.hooks.Uncleaned(l)
	}
}
