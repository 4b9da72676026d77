package bounded

import (
	"context"
	"errors"
)

// ended is why a context has ended that was given a cause of its own.
type ended struct{ err, cause error }

func (e *ended) Error() string   { return e.err.Error() + ": " + e.cause.Error() }
func (e *ended) Unwrap() []error { return []error{e.err, e.cause} }

// Cause is why ctx has ended: an error that matches both its cause and ctx.Err(), so that callers who look for
// context.Canceled find it whatever cause was given. nil while ctx goes on.
func Cause(ctx context.Context) error {
	err := ctx.Err()
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); !errors.Is(cause, err) {
		return &ended{err, cause}
	}
	return context.Cause(ctx)
}

// IsCause tells an error that is nothing but the end of ctx.
func IsCause(ctx context.Context, err error) bool {
	var e *ended
	whole := errors.As(err, &e) && err == error(e)
	return ctx.Err() != nil && (err == context.Cause(ctx) || whole && e.cause == context.Cause(ctx))
}
