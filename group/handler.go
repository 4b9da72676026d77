package group

import (
	"context"
	"errors"
	"fmt"
	"path"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/quirelog/quire/topic"
)

// PanicError is what a handler failed with that panicked, or that ended its goroutine (runtime.Goexit), as every method of testing.T does
// that fails a test at once.
type PanicError struct {
	Value any // what it panicked with; nil when it ended its goroutine
	Stack []byte

	where string
}

// Error says where it happened too, the innermost calls first, so that a log or a dead letter that keeps the text alone tells it.
func (e *PanicError) Error() string {
	if e.Value == nil {
		return "group: handler ended its goroutine" + e.where
	}
	return fmt.Sprintf("group: handler panicked: %v", e.Value) + e.where
}

// guard calls f and gives what came of it to then: its error, or a *PanicError. It does so also when f ends its goroutine, which nothing
// can hold up: then the caller of guard does not go on either, and its deferred calls run after then.
func guard(f func() error, then func(error)) {
	var err error
	returned := false
	defer func() {
		if v := recover(); v != nil || !returned {
			err = &PanicError{Value: v, Stack: debug.Stack(), where: whereFrom(2)}
		}
		then(err)
	}()
	err = f()
	returned = true
}

// framesTold is how many calls of a panic's stack its text tells.
const framesTold = 6

// whereFrom tells the calls between guard and the panic that is on, the innermost first.
func whereFrom(skip int) string {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(skip, pcs)])
	var list []string
	for more := true; more && len(list) < framesTold; {
		var f runtime.Frame
		f, more = frames.Next()
		name := path.Base(f.Function)
		switch {
		case name == "group.guard":
			more = false
		case strings.HasPrefix(f.Function, "runtime."), strings.HasPrefix(name, "group.guard."):
		default:
			list = append(list, name+" ("+path.Base(f.File)+":"+strconv.Itoa(f.Line)+")")
		}
	}
	if len(list) == 0 {
		return ""
	}
	return ", at " + strings.Join(list, " < ")
}

// userError is an error that comes from a callback. It ends a loop whatever it is.
type userError struct{ error }

func (e userError) Unwrap() error { return e.error }

// gaveUp tells that a handler returned err because it was told to stop.
func gaveUp(ctx context.Context, err error) bool {
	return ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx)))
}

// loopName says whose loop it is, for those who are told of it.
type loopName struct{ kind, name string }

// tellPanic tells the engine when a handler has panicked.
func (l loopName) tellPanic(eng *topic.Engine, at topic.Position, err error) {
	var p *PanicError
	if errors.As(err, &p) {
		eng.TellLoop(topic.LoopFacts{
			What: topic.HandlerPanicked, Loop: l.kind, Name: l.name, Position: at, Err: err, Stack: p.Stack,
		})
	}
}
