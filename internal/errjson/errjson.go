package errjson

import (
	"encoding/json"
	"errors"
	"reflect"
	"sync"
)

// Marshal encodes a struct.
func Marshal(v any) ([]byte, error) {
	from := reflect.ValueOf(v)
	s := shapeOf(from.Type())
	to := reflect.New(s.typ).Elem()
	s.fill(to, from)
	return json.Marshal(to.Interface())
}

// Unmarshal decodes what Marshal gave into the struct that v points to. As with package json, fields that data does not name stay as they are.
func Unmarshal(data []byte, v any) error {
	to := reflect.ValueOf(v).Elem()
	s := shapeOf(to.Type())
	from := reflect.New(s.typ)
	s.fill(from.Elem(), to)
	err := json.Unmarshal(data, from.Interface())
	for i, index := range s.fields {
		set(to.FieldByIndex(index), from.Elem().Field(i))
	}
	return err
}

// text is an error in JSON.
type text struct{ Err error }

func (t text) MarshalJSON() ([]byte, error) {
	if t.Err == nil {
		return []byte("null"), nil
	}
	return json.Marshal(t.Err.Error())
}

func (t *text) UnmarshalJSON(data []byte) error {
	var s *string
	err := json.Unmarshal(data, &s)
	if t.Err = nil; s != nil {
		t.Err = errors.New(*s)
	}
	return err
}

var (
	errorType  = reflect.TypeFor[error]()
	errorsType = reflect.TypeFor[[]error]()
	textType   = reflect.TypeFor[text]()
	textsType  = reflect.TypeFor[[]text]()
)

// shape is a struct type without methods for another one: a field for each exported field, with texts for errors.
type shape struct {
	typ    reflect.Type
	fields [][]int // where the i-th field stands in the other type
}

var shapes sync.Map // of *shape by reflect.Type

func shapeOf(t reflect.Type) *shape {
	if s, known := shapes.Load(t); known {
		return s.(*shape)
	}
	s := &shape{}
	var fields []reflect.StructField
	for _, f := range reflect.VisibleFields(t) {
		if !f.IsExported() || f.Anonymous && f.Type.Kind() == reflect.Struct {
			continue
		}
		typ := f.Type
		switch typ {
		case errorType:
			typ = textType
		case errorsType:
			typ = textsType
		}
		fields = append(fields, reflect.StructField{Name: f.Name, Type: typ, Tag: f.Tag})
		s.fields = append(s.fields, f.Index)
	}
	s.typ = reflect.StructOf(fields)
	shapes.Store(t, s)
	return s
}

// fill takes the fields over into the shape.
func (s *shape) fill(to, from reflect.Value) {
	for i, index := range s.fields {
		set(to.Field(i), from.FieldByIndex(index))
	}
}

// set takes a value over, as text or from it.
func set(to, from reflect.Value) {
	switch {
	case from.Type() == to.Type():
		to.Set(from)
	case to.Type() == textType:
		err, _ := from.Interface().(error)
		to.Set(reflect.ValueOf(text{err}))
	case from.Type() == textType:
		to.Set(from.Field(0))
	default: // lists of them; none is empty in JSON, and nil again
		list := reflect.MakeSlice(to.Type(), from.Len(), from.Len())
		for i := range from.Len() {
			set(list.Index(i), from.Index(i))
		}
		if to.Type() == errorsType && list.Len() == 0 {
			list = reflect.Zero(errorsType)
		}
		to.Set(list)
	}
}
