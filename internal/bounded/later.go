package bounded

import (
	"context"
	"sync"
	"time"
)

// OrLater is Do for a call that gives something to be freed. When ctx ends while the call goes on alone, late is told what it gave, once it
// has: by the call, or by the caller if that comes too late to say that it leaves.
func OrLater[T any](ctx context.Context, c *Calls, grace time.Duration, f func() (T, error), late func(T, error)) (T, Outcome, error) {
	type given struct {
		v   T
		err error
	}
	var mu sync.Mutex
	var got *given
	left := false
	v, out, err := Do(ctx, c, grace, func() (T, error) {
		v, err := f()
		mu.Lock()
		got = &given{v, err}
		alone := left
		mu.Unlock()
		if alone {
			late(v, err)
		}
		return v, err
	})
	if out != Alone {
		return v, out, err
	}
	mu.Lock()
	left = true
	mine := got
	mu.Unlock()
	if mine != nil {
		late(mine.v, mine.err)
	}
	return v, out, err
}
