package group_test

import (
	"context"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
)

// Handles that no call of this package gave give errors that match topic.ErrInvalid where they give any, and neither panic nor hang.
func TestZeroHandlesGiveErrors(t *testing.T) {
	for _, zero := range []any{
		&group.Consumer{}, &group.Coordinator{}, &group.Queue{}, &group.Delivery{}, &group.Router{}, &group.Batch{},
	} {
		v := reflect.ValueOf(zero)
		for i := range v.NumMethod() {
			callZero(t, fmt.Sprintf("%T.%s", zero, v.Type().Method(i).Name), v.Method(i))
		}
	}
}

// callZero calls a method with zero values and an unended context.
func callZero(t *testing.T, name string, m reflect.Value) {
	var args []reflect.Value
	for j := range m.Type().NumIn() {
		switch in := m.Type().In(j); {
		case m.Type().IsVariadic() && j == m.Type().NumIn()-1:
		case in == reflect.TypeFor[context.Context]():
			args = append(args, reflect.ValueOf(t.Context()))
		case in.Kind() == reflect.Int:
			args = append(args, reflect.ValueOf(1))
		case in.Kind() == reflect.Func:
			args = append(args, reflect.MakeFunc(in, func([]reflect.Value) (out []reflect.Value) {
				for k := range in.NumOut() {
					out = append(out, reflect.Zero(in.Out(k)))
				}
				return out
			}))
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
		if len(out) == 0 {
			return
		}
		if err, gives := errorIn(out[len(out)-1]); gives {
			assert.ErrorIs(t, err, topic.ErrInvalid, name)
		}
	}()
	select {
	case <-done:
	case <-time.After(3 * time.Second):
		assert.Fail(t, "hangs", name)
	}
}

// errorIn is the error that a result is, has in a field Err, or, of a loop, gives in its first pair; gives is false for one that has no place
// for an error.
func errorIn(v reflect.Value) (err error, gives bool) {
	const field = "Err"
	switch {
	case v.Type() == reflect.TypeFor[error]():
		err, _ = v.Interface().(error)
		return err, true
	case v.Kind() == reflect.Struct && v.FieldByName(field).IsValid():
		err, _ = v.FieldByName(field).Interface().(error)
		return err, true
	case v.Kind() == reflect.Func && v.Type().CanSeq2():
		for _, second := range v.Seq2() {
			err, _ = second.Interface().(error)
			return err, true
		}
		return nil, true
	}
	return nil, false
}

// Calls that are given no engine at all say so.
func TestNilEngineIsRefused(t *testing.T) {
	ctx := t.Context()
	for name, call := range map[string]func() error{
		"coordinator":  func() error { return failOf(group.NewCoordinator(nil, group.Config{})) },
		"on":           func() error { return failOf(group.On(nil)) },
		"join":         func() error { return failOf(group.Join(ctx, nil, "g", group.Topics("t"))) },
		"queue":        func() error { return failOf(group.OpenQueue(ctx, nil, "t")) },
		"queues":       func() error { return failOf(group.Queues(ctx, nil, "t")) },
		"delete queue": func() error { return group.DeleteQueue(ctx, nil, "t", "q") },
		"router":       func() error { return failOf(group.OpenRouter(ctx, nil, "r", group.From("t"))) },
	} {
		assert.NotPanics(t, func() { assert.ErrorIs(t, call(), topic.ErrInvalid, name) }, name)
	}
}
