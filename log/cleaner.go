package log

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/quirelog/quire/internal/bounded"
)

// cleaner sees that one pass at a time goes over a log, that whoever is about to cut the
// log can stop one that rewrites it, and where compaction got to.
type cleaner struct {
	// firstDirty is the first offset that no pass has covered: Kafka's cleaner checkpoint.
	firstDirty atomic.Int64

	mu      sync.Mutex    // held for moments
	passing bool          // a pass of retention, compaction or redaction is under way
	pass    *pass         // the rewriting under way
	paused  int           // how many want that there be none
	freed   chan struct{} // closed when it may be somebody else's turn; nil while nobody waits
}

// pass is one rewriting under way.
type pass struct {
	stop context.CancelCauseFunc
	done chan struct{}
}

// passKey marks the context of what a pass calls, so that it is not made to wait for itself.
type passKey struct{ c *cleaner }

// cleanerOf returns the log's cleaner, made when it is first asked for.
func (l *Log) cleanerOf() *cleaner {
	if c := l.cleaner.Load(); c != nil {
		return c
	}
	l.cleaner.CompareAndSwap(nil, new(cleaner))
	return l.cleaner.Load()
}

// beginPass claims the log for a pass of retention, or for one that rewrites it: they come
// one at a time. wait says to wait for the turn as long as ctx lasts, rather than fail with
// ErrBusy. The context returned is for what the pass calls; that of a rewriting ends when
// somebody halts it. end must be called.
func (l *Log) beginPass(ctx context.Context, wait, rewriting bool) (passing context.Context, end func(), err error) {
	c := l.cleanerOf()
	wait = wait && ctx.Value(passKey{c}) == nil
	p := &pass{stop: func(error) {}, done: make(chan struct{})}
	passing = context.WithValue(ctx, passKey{c}, true)
	if rewriting {
		passing, p.stop = context.WithCancelCause(passing)
	}
	for {
		turn := c.claim(p, rewriting)
		switch {
		case turn == nil:
			return passing, func() { c.release(p) }, nil
		case l.closed.Load():
			err = ErrClosed
		case !wait:
			err = ErrBusy
		}
		if err == nil {
			select {
			case <-turn:
				continue
			case <-ctx.Done():
				err = bounded.Cause(ctx)
			}
		}
		p.stop(nil)
		return nil, nil, err
	}
}

// claim takes the turn, or returns what closes when it may have become free.
func (c *cleaner) claim(p *pass, rewriting bool) (turn <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.passing && (!rewriting || c.paused == 0) {
		c.passing = true
		if rewriting {
			c.pass = p
		}
		return nil
	}
	if c.freed == nil {
		c.freed = make(chan struct{})
	}
	return c.freed
}

// release gives the turn back.
func (c *cleaner) release(p *pass) {
	c.mu.Lock()
	c.passing, c.pass = false, nil
	c.wakeLocked()
	c.mu.Unlock()
	close(p.done)
	p.stop(nil)
}

// wakeLocked lets those who wait for their turn look again.
func (c *cleaner) wakeLocked() {
	if c.freed != nil {
		close(c.freed)
		c.freed = nil
	}
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
		c.wakeLocked()
	}
}

// wakePasses lets whoever waits for a turn see that the log was closed.
func (l *Log) wakePasses() {
	if c := l.cleaner.Load(); c != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.wakeLocked()
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
