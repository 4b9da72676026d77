package topic

import (
	"context"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// Handles that no call of this package gave give errors, and neither panic nor hang.
func TestZeroHandlesGiveErrors(t *testing.T) {
	for _, zero := range []any{
		&Engine{}, &Topic{}, &Partition{}, &Producer{}, &Consumer{}, &Typed[string, string]{}, &RetryLadder{},
	} {
		callAll(t, zero)
	}
}

// callAll calls every method of a handle whose last result is an error.
func callAll(t *testing.T, handle any) {
	v := reflect.ValueOf(handle)
	for i := range v.NumMethod() {
		m, name := v.Method(i), fmt.Sprintf("%T.%s", handle, v.Type().Method(i).Name)
		n := m.Type().NumOut()
		if n == 0 || m.Type().Out(n-1) != reflect.TypeFor[error]() {
			continue
		}
		var args []reflect.Value
		for j := range m.Type().NumIn() {
			switch in := m.Type().In(j); {
			case m.Type().IsVariadic() && j == m.Type().NumIn()-1:
			case in == reflect.TypeFor[context.Context]():
				args = append(args, reflect.ValueOf(t.Context()))
			default:
				args = append(args, reflect.Zero(in))
			}
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer func() {
				if p := recover(); p != nil {
					assert.Fail(t, "panics", "%s: %v", name, p)
				}
			}()
			out := m.Call(args)
			err, _ := out[n-1].Interface().(error)
			assert.Error(t, err, name)
		}()
		select {
		case <-done:
		case <-time.After(3 * time.Second):
			assert.Fail(t, "hangs", name)
		}
	}
}

// The loops of a zero Topic give an error too, as their only pair.
func TestZeroTopicsLoopsGiveAnError(t *testing.T) {
	var top Topic
	pairs := 0
	for _, err := range top.Read(t.Context(), UntilEnd()) {
		assert.ErrorIs(t, err, ErrInvalid)
		pairs++
	}
	for _, err := range top.Batches(t.Context(), 0) {
		assert.ErrorIs(t, err, ErrInvalid)
		pairs++
	}
	for _, err := range top.Scheduled(t.Context()) {
		assert.ErrorIs(t, err, ErrInvalid)
		pairs++
	}
	for _, err := range top.Recurring(t.Context()) {
		assert.ErrorIs(t, err, ErrInvalid)
		pairs++
	}
	assert.Equal(t, 4, pairs)
}
