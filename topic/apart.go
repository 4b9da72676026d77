package topic

import (
	"context"
	"fmt"
	"time"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
)

// A disk may hang in any call. What a caller with a context that can end asks of it runs apart (package bounded): the
// caller's wait ends with its context, the call goes on to its end, and leaves the engine as if the caller had waited.

// workGrace is how long a piece of work that looks at its context may take to see its end, before its caller gives up
// waiting; shutdownGrace is the same of the engine's end.
const (
	workGrace     = 250 * time.Millisecond
	shutdownGrace = time.Second
)

// work does a piece of work that looks at ctx between its steps.
func work[T any](ctx context.Context, e *Engine, f func() (T, error)) (T, error) {
	v, _, err := bounded.Do(ctx, &e.calls, workGrace, f)
	return v, err
}

// awaited is work that the engine's Close waits for. It looks at e.closing too.
func awaited[T any](ctx context.Context, e *Engine, f func() (T, error)) (T, error) {
	return work(ctx, e, func() (v T, err error) {
		if !e.goroutines.lend(func() { v, err = f() }) {
			err = ErrClosed
		}
		return v, err
	})
}

// workOn is work where no engine is.
func workOn[T any](ctx context.Context, f func() (T, error)) (T, error) {
	var calls bounded.Calls
	v, _, err := bounded.Do(ctx, &calls, workGrace, f)
	return v, err
}

// worked is work that gives nothing but an error.
func worked(ctx context.Context, e *Engine, f func() error) error {
	_, err := work(ctx, e, func() (struct{}, error) { return struct{}{}, f() })
	return err
}

// change does what must be told as of unknown outcome when ctx ends before it.
func change[T any](ctx context.Context, e *Engine, f func() (T, error)) (T, error) {
	v, out, err := bounded.Do(ctx, &e.calls, workGrace, f)
	return v, unknown(out, err)
}

// holding runs f for a caller that holds something, which free gives back when f is done; also when f goes on alone, or never runs.
func holding[T any](ctx context.Context, e *Engine, free func(), f func() (T, error)) (T, bounded.Outcome, error) {
	v, out, err := bounded.Do(ctx, &e.calls, 0, func() (T, error) {
		defer free()
		return f()
	})
	if out == bounded.NotBegun {
		free()
	}
	return v, out, err
}

// changing changes the topics of these names. When that is done and has ended, told is called, by the caller if it is
// still there.
func changing[T any](ctx context.Context, e *Engine, names []string, f func() (T, error), told func(T, error)) (T, error) {
	var none T
	if err := e.beginChange(ctx, names...); err != nil {
		return none, err
	}
	v, out, err := bounded.OrLater(ctx, &e.calls, workGrace, func() (T, error) {
		defer e.endChange(names...)
		return f()
	}, told)
	err = fullDisk(err)
	switch out {
	case bounded.Ended:
		told(v, err)
	case bounded.NotBegun:
		e.endChange(names...)
	}
	return v, unknown(out, err)
}

// unknown tells that the outcome is not known of what goes on alone.
func unknown(out bounded.Outcome, err error) error {
	if out == bounded.Alone {
		return fmt.Errorf("%w: %w", ErrUncertain, err)
	}
	return err
}

// openApart opens a log that the caller has claimed. An event on the way must find itself on a producer's goroutine, if
// that is the caller's.
func (p *Partition) openApart(ctx context.Context) (*log.Log, error) {
	if ctx.Done() == nil || onProducerGoroutine() {
		return p.openClaimed()
	}
	l, out, err := bounded.Do(ctx, &p.topic.eng.calls, 0, p.openClaimed)
	if out == bounded.NotBegun {
		p.unclaim()
	}
	return l, err
}

// readApart is a read that gives one value.
func readApart[T any](ctx context.Context, p *Partition, f func() (T, error)) (T, error) {
	v, _, err := bounded.Do(ctx, &p.topic.eng.calls, 0, f)
	return v, err
}

// get finds one record. A read that goes on alone keeps the finder: then *f is nil.
func (p *Partition) get(ctx context.Context, l *log.Log, f **log.Finder, offset int64) (*record.Record, error) {
	if ctx.Done() == nil {
		return l.Get(*f, offset, log.High)
	}
	mine := *f
	r, out, err := bounded.Do(ctx, &p.topic.eng.calls, 0, func() (*record.Record, error) { return l.Get(mine, offset, log.High) })
	if out == bounded.Alone {
		*f = nil
	}
	return r, err
}

// offsetFor finds the first record at or after a time.
func (p *Partition) offsetFor(ctx context.Context, l *log.Log, at int64, b log.Bound) (log.TimeOffset, bool, error) {
	found, err := readApart(ctx, p, func() (*log.TimeOffset, error) {
		found, some, err := l.OffsetFor(at, b)
		if err != nil || !some {
			return nil, err
		}
		return &found, nil
	})
	if found == nil {
		return log.TimeOffset{}, false, err
	}
	return *found, true, nil
}

// pinned gives what pin gives, unless ctx ends first; then it is released when it comes.
func pinned(ctx context.Context, p *Partition, pin func() (*RawSlice, error)) (*RawSlice, error) {
	if ctx.Done() == nil {
		return pin()
	}
	s, _, err := bounded.OrLater(ctx, &p.topic.eng.calls, 0, pin, func(s *RawSlice, err error) {
		if err == nil {
			s.Release()
		}
	})
	return s, err
}
