package group

import (
	"context"
	"time"
)

// A disk may hang in any call. What a caller with a context that can end asks of it runs apart (package bounded): the caller's wait ends with
// its context, the call goes on to its end, and leaves groups and queues as if the caller had waited.

// endGrace is how long what belongs to an orderly end may take when a context has ended, before its caller gives up waiting.
const endGrace = 250 * time.Millisecond

// withGrace is a context that ends a while after ctx has, for the same cause.
func withGrace(ctx context.Context, grace time.Duration) (within context.Context, stop func()) {
	if ctx.Done() == nil {
		return ctx, func() {}
	}
	within, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	unhook := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel(context.Cause(ctx))
		case <-within.Done():
		}
	})
	return within, func() {
		unhook()
		cancel(nil)
	}
}
