package topic

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Every call that ends with a context that was given a cause of its own tells that cause, and matches context.Canceled too.
func TestEndedContextsMatchCanceledAndTheirCause(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	top := openTopic(t, e, "t")
	part, err := top.Partition(0)
	require.NoError(t, err)
	p := clientProducer(t, e)
	c, err := e.NewConsumer()
	require.NoError(t, err)
	require.NoError(t, c.AssignTopics("t"))
	reason := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(reason)
	told := 0
	for _, handle := range []any{e, top, part, c, p} {
		v := reflect.ValueOf(handle)
		for i := range v.NumMethod() {
			m, name := v.Method(i), fmt.Sprintf("%T.%s", handle, v.Type().Method(i).Name)
			if m.Type().NumIn() == 0 || m.Type().In(0) != reflect.TypeFor[context.Context]() || name == "*topic.Engine.Shutdown" {
				continue
			}
			args := []reflect.Value{reflect.ValueOf(ctx)}
			for j := 1; j < m.Type().NumIn() && !(m.Type().IsVariadic() && j == m.Type().NumIn()-1); j++ {
				if m.Type().In(j).Kind() == reflect.String {
					args = append(args, reflect.ValueOf("t"))
				} else {
					args = append(args, reflect.Zero(m.Type().In(j)))
				}
			}
			out := m.Call(args)
			if err, _ := out[len(out)-1].Interface().(error); errors.Is(err, reason) {
				assert.ErrorIs(t, err, context.Canceled, name)
				told++
			} else {
				assert.NotErrorIs(t, err, context.Canceled, name)
			}
		}
	}
	assert.GreaterOrEqual(t, told, 22)
}

// The same of calls that wait when their context ends.
func TestWaitsThatEndMatchTheirContextAndItsCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openOn(t, vfs.NewMem())
		top := openTopic(t, e, "t", Budget(1<<10, BlockAppends))
		full := func(ctx context.Context) error {
			_, err := top.Append(ctx, Record{Value: make([]byte, 600)})
			return err
		}
		require.NoError(t, full(t.Context()))
		part, err := top.Partition(0)
		require.NoError(t, err)
		c, err := e.NewConsumer(MaxWait(Forever))
		require.NoError(t, err)
		require.NoError(t, c.AssignTopics("t"))
		require.NoError(t, c.SeekToEnd())
		reason := errors.New("enough")
		for name, call := range map[string]func(context.Context) error{
			"wait": func(ctx context.Context) error { return part.Wait(ctx, 1, ReadUncommitted) },
			"poll": func(ctx context.Context) error { _, err := c.Poll(ctx); return err },
			"room": full,
		} {
			canceled, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(time.Second, func() { cancel(reason) })
			late, stop := context.WithTimeoutCause(t.Context(), time.Second, reason)
			for why, ctx := range map[error]context.Context{context.Canceled: canceled, context.DeadlineExceeded: late} {
				err := call(ctx)
				assert.ErrorIs(t, err, reason, name)
				assert.ErrorIs(t, err, why, name)
			}
			stop()
		}
	})
}
