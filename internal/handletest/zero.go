package handletest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"
)

// Zero calls every method of the handles with zero values, numbers of one and a context that does not end. Each method gives an error that matches
// want where it gives any: as its last result, in a field Err of that, or in the first pair of a loop; none panics or hangs.
func Zero(t *testing.T, want error, handles ...any) {
	t.Helper()
	for _, h := range handles {
		v := reflect.ValueOf(h)
		for i := range v.NumMethod() {
			if err := call(t.Context(), v.Method(i), want); err != nil {
				t.Errorf("%T.%s: %v", h, v.Type().Method(i).Name, err)
			}
		}
	}
}

func call(ctx context.Context, m reflect.Value, want error) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("panics: %v", p)
			}
		}()
		done <- outcome(m.Call(arguments(ctx, m.Type())), want)
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(3 * time.Second):
		return errors.New("hangs")
	}
}

// arguments are those of a method; its variadic ones are left out.
func arguments(ctx context.Context, m reflect.Type) (args []reflect.Value) {
	for i := range m.NumIn() {
		switch in := m.In(i); {
		case m.IsVariadic() && i == m.NumIn()-1:
		case in == reflect.TypeFor[context.Context]():
			args = append(args, reflect.ValueOf(ctx))
		case in.Kind() == reflect.Int:
			args = append(args, reflect.ValueOf(1).Convert(in))
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
	return args
}

func outcome(out []reflect.Value, want error) error {
	if len(out) == 0 {
		return nil
	}
	if err, gives := errorIn(out[len(out)-1]); gives && !errors.Is(err, want) {
		return fmt.Errorf("gives the error %q, not one that matches %w", fmt.Sprint(err), want)
	}
	return nil
}

// errorIn is the error that a result is or has; gives is false for one that has no place for an error.
func errorIn(v reflect.Value) (err error, gives bool) { //nolint:revive // the error is the result looked at
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
