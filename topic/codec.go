package topic

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
)

// A Codec turns values of one type into bytes and back, for [OpenTyped]. Both methods must be safe for
// concurrent use.
type Codec[T any] interface {
	// Append appends v's encoding to dst and returns the longer slice, so that an encoding can be made
	// without allocating. On an error the result is not used.
	Append(dst []byte, v T) ([]byte, error)
	// Decode reads what Append wrote. src belongs to the record it came with; the value may share its bytes.
	Decode(src []byte) (T, error)
}

// The codecs that need no more than the bytes. String and Bytes are the bytes as they are (Bytes shares
// them with the record); Int64 is 8 bytes, most significant first, as Apache Kafka's LongSerializer writes.
var (
	String Codec[string] = stringCodec{}
	Bytes  Codec[[]byte] = bytesCodec{}
	Int64  Codec[int64]  = int64Codec{}
)

type stringCodec struct{}

func (stringCodec) Append(dst []byte, v string) ([]byte, error) { return append(dst, v...), nil }
func (stringCodec) Decode(src []byte) (string, error)           { return string(src), nil }

type bytesCodec struct{}

func (bytesCodec) Append(dst []byte, v []byte) ([]byte, error) { return append(dst, v...), nil }
func (bytesCodec) Decode(src []byte) ([]byte, error)           { return src, nil }

type int64Codec struct{}

func (int64Codec) Append(dst []byte, v int64) ([]byte, error) {
	return binary.BigEndian.AppendUint64(dst, uint64(v)), nil
}

func (int64Codec) Decode(src []byte) (int64, error) {
	if len(src) != 8 {
		return 0, fmt.Errorf("topic: an int64 has 8 bytes, not %d", len(src))
	}
	return int64(binary.BigEndian.Uint64(src)), nil
}

// JSON is the codec of encoding/json.
func JSON[T any]() Codec[T] { return jsonCodec[T]{} }

type jsonCodec[T any] struct{}

func (jsonCodec[T]) Append(dst []byte, v T) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return dst, err
	}
	return append(dst, text...), nil
}

func (jsonCodec[T]) Decode(src []byte) (T, error) {
	var v T
	err := json.Unmarshal(src, &v)
	return v, err
}
