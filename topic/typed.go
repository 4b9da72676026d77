package topic

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"
)

// Typed is a topic whose keys and values have types. It adds nothing to what is stored: the bytes are the
// codecs'. All methods may be called from any goroutine.
type Typed[K, V any] struct {
	t       *Topic
	keys    Codec[K]
	values  Codec[V]
	buffers sync.Pool // of *[]byte, for encoding
}

// TypedRecord is a record with its key and value decoded.
type TypedRecord[K, V any] struct {
	Topic     string
	Partition int32
	Offset    int64
	Time      time.Time
	Key       K    // the zero value if there is no key
	Value     V    // the zero value if it is a tombstone
	NoKey     bool // the record has no key (null, not empty)
	Tombstone bool // the record has no value (null, not empty)
	Headers   []Header
}

// OpenTyped opens a topic, or creates it, as [Engine.Topic] does, and reads and writes it by these codecs.
func OpenTyped[K, V any](ctx context.Context, eng *Engine, name string, keys Codec[K], values Codec[V], opts ...TopicOption) (*Typed[K, V], error) {
	if keys == nil || values == nil {
		return nil, fmt.Errorf("%w: typed topic %q without codecs", ErrInvalid, clip(name))
	}
	t, err := eng.Topic(ctx, name, opts...)
	if err != nil {
		return nil, err
	}
	return &Typed[K, V]{t: t, keys: keys, values: values}, nil
}

// Topic is the topic beneath.
func (t *Typed[K, V]) Topic() *Topic { return t.t }

// Append stores one record as [Topic.Append] does: with the default settings it is on disk when it returns.
// A codec's error comes as it is; nothing was appended.
func (t *Typed[K, V]) Append(ctx context.Context, key K, value V, opts ...AppendOption) (Position, error) {
	var pos Position
	err := t.encoded(key, &value, func(rec Record) (err error) {
		pos, err = t.t.Append(ctx, rec, opts...)
		return err
	})
	return pos, err
}

// Delete stores a tombstone: a record of the key without a value, by which a compacted topic forgets it.
func (t *Typed[K, V]) Delete(ctx context.Context, key K, opts ...AppendOption) (Position, error) {
	var pos Position
	err := t.encoded(key, nil, func(rec Record) (err error) {
		pos, err = t.t.Append(ctx, rec, opts...)
		return err
	})
	return pos, err
}

// Send sends one record by a producer; see [Producer.Send]. A codec's error comes at once, as it is.
func (t *Typed[K, V]) Send(ctx context.Context, p *Producer, key K, value V, cb func(Position, error)) error {
	return t.encoded(key, &value, func(rec Record) error { return p.Send(ctx, t.t.name, rec, cb) })
}

// encoded calls use with the encoded record, whose bytes are valid during the call. No value is a tombstone.
func (t *Typed[K, V]) encoded(key K, value *V, use func(Record) error) error {
	if t.keys == nil || t.values == nil {
		return fmt.Errorf("%w: a Typed without codecs", ErrInvalid)
	}
	buf, _ := t.buffers.Get().(*[]byte)
	if buf == nil {
		buf = new([]byte)
	}
	defer t.buffers.Put(buf)
	b, err := t.keys.Append((*buf)[:0], key)
	if err != nil {
		return err
	}
	n := len(b)
	if value != nil {
		if b, err = t.values.Append(b, *value); err != nil {
			return err
		}
	}
	*buf = b
	rec := Record{Key: present(b[:n:n])}
	if value != nil {
		rec.Value = present(b[n:])
	}
	return use(rec)
}

// present makes an empty encoding differ from null.
func present(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// Read is [Topic.Read] with keys and values decoded. A record that a codec cannot read comes as a nil record
// with a *[DecodeError] that holds the raw one, and the loop goes on.
func (t *Typed[K, V]) Read(ctx context.Context, opts ...ReadOption) iter.Seq2[*TypedRecord[K, V], error] {
	return func(yield func(*TypedRecord[K, V], error) bool) {
		if t.t == nil {
			yield(nil, unmade("Typed"))
			return
		}
		for rec, err := range t.t.Read(ctx, opts...) {
			if err != nil {
				yield(nil, err)
				return
			}
			out, err := t.Decode(rec)
			if !yield(out, err) {
				return
			}
		}
	}
}

// Decode reads one record of the topic, for instance one that a [Consumer] returned. The error is a
// *[DecodeError]; the result is then nil.
func (t *Typed[K, V]) Decode(rec *Record) (*TypedRecord[K, V], error) {
	if t.keys == nil || t.values == nil {
		return nil, fmt.Errorf("%w: a Typed without codecs", ErrInvalid)
	}
	out := &TypedRecord[K, V]{
		Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Time: rec.Time,
		NoKey: rec.Key == nil, Tombstone: rec.Value == nil, Headers: rec.Headers,
	}
	var err error
	if !out.NoKey {
		if out.Key, err = t.keys.Decode(rec.Key); err != nil {
			return nil, &DecodeError{Record: rec, Err: err}
		}
	}
	if !out.Tombstone {
		if out.Value, err = t.values.Decode(rec.Value); err != nil {
			return nil, &DecodeError{Record: rec, Err: err}
		}
	}
	return out, nil
}
