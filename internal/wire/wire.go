package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrCorrupt: the bytes are not what they claim to be. The text that wraps it says where.
var ErrCorrupt = errors.New("malformed bytes")

// A Decoder reads Apache Kafka's message encoding from front to back. The first fault sticks: later reads give zero values, and the fault
// is asked for once at the end. Flexible versions (KIP-482) have lengths as unsigned varints of length+1, and tagged fields.
//
// Nothing that a decoder returns shares memory with its input.
type Decoder struct {
	Rest     []byte
	Flexible bool
	Err      error
}

// Fail keeps the first fault: what is wrong, for the error that wraps ErrCorrupt.
func (d *Decoder) Fail(what string) {
	if d.Err == nil {
		d.Err = fmt.Errorf("%w: %s, %d bytes before the end", ErrCorrupt, what, len(d.Rest))
	}
	d.Rest = nil
}

// take cuts n bytes off the front; nil after a fault.
func (d *Decoder) take(n int) []byte {
	if n < 0 || n > len(d.Rest) {
		d.Fail("cut short")
		return nil
	}
	p := d.Rest[:n]
	d.Rest = d.Rest[n:]
	return p
}

// Int8 reads a byte.
func (d *Decoder) Int8() int8 {
	if p := d.take(1); p != nil {
		return int8(p[0])
	}
	return 0
}

// Int16 reads two bytes, the high one first.
func (d *Decoder) Int16() int16 {
	if p := d.take(2); p != nil {
		return int16(binary.BigEndian.Uint16(p))
	}
	return 0
}

// Int32 reads four bytes, the high one first.
func (d *Decoder) Int32() int32 {
	if p := d.take(4); p != nil {
		return int32(binary.BigEndian.Uint32(p))
	}
	return 0
}

// Int64 reads eight bytes, the high one first.
func (d *Decoder) Int64() int64 {
	if p := d.take(8); p != nil {
		return int64(binary.BigEndian.Uint64(p))
	}
	return 0
}

// UUID reads sixteen bytes.
func (d *Decoder) UUID() (id [16]byte) {
	copy(id[:], d.take(len(id)))
	return id
}

// Uvarint reads an unsigned varint, the length of something: at most 2^31.
func (d *Decoder) Uvarint() int {
	v, n := binary.Uvarint(d.Rest)
	if n <= 0 || n > 5 || v > 1<<31 {
		d.Fail("bad length")
		return 0
	}
	d.Rest = d.Rest[n:]
	return int(v)
}

// Length reads the length of a string (two bytes) or of bytes and arrays (four); -1 is null.
func (d *Decoder) Length(wide bool) int {
	switch {
	case d.Flexible:
		return d.Uvarint() - 1
	case wide:
		return int(d.Int32())
	default:
		return int(d.Int16())
	}
}

// String reads a string that may not be null.
func (d *Decoder) String() string {
	n := d.Length(false)
	if n < 0 {
		d.Fail("null string")
	}
	return string(d.take(n))
}

// Nullable reads a string; null is "".
func (d *Decoder) Nullable() string {
	n := d.Length(false)
	if n == -1 {
		return ""
	}
	return string(d.take(n))
}

// Bytes reads bytes; null is nil and empty is not.
func (d *Decoder) Bytes() []byte {
	n := d.Length(true)
	if n == -1 {
		return nil
	}
	return append([]byte{}, d.take(n)...)
}

// Count reads an array's length. least is the fewest bytes an element takes, so that a false length cannot ask for more memory than a
// small multiple of what came.
func (d *Decoder) Count(least int) int {
	n := d.Length(true)
	if n < 0 || n > len(d.Rest)/least {
		if d.Err == nil {
			d.Fail(fmt.Sprintf("array of %d", n))
		}
		return 0
	}
	return n
}

// Int32s reads an array of int32.
func (d *Decoder) Int32s() []int32 {
	n := d.Count(4)
	if n == 0 {
		return nil
	}
	list := make([]int32, n)
	for i := range list {
		list[i] = d.Int32()
	}
	return list
}

// Strings reads an array of strings.
func (d *Decoder) Strings() []string {
	n := d.Count(1)
	if n == 0 {
		return nil
	}
	list := make([]string, n)
	for i := range list {
		list[i] = d.String()
	}
	return list
}

// Tags reads the tagged fields that end a structure of a flexible version. Those that known does not take are passed over: newer writers
// may add some.
func (d *Decoder) Tags(known func(tag int, field *Decoder)) {
	if !d.Flexible {
		return
	}
	for n := d.Uvarint(); n > 0 && d.Err == nil; n-- {
		tag, size := d.Uvarint(), d.Uvarint()
		field := Decoder{Rest: d.take(size), Flexible: true}
		if d.Err == nil && known != nil {
			known(tag, &field)
			if field.Err != nil {
				d.Err = field.Err
			}
		}
	}
}

// An Encoder appends Kafka's message encoding, the inverse of Decoder.
type Encoder struct {
	Buf      []byte
	Flexible bool
}

// Int8 appends a byte.
func (e *Encoder) Int8(v int8) { e.Buf = append(e.Buf, byte(v)) }

// Int16 appends two bytes, the high one first.
func (e *Encoder) Int16(v int16) { e.Buf = binary.BigEndian.AppendUint16(e.Buf, uint16(v)) }

// Int32 appends four bytes, the high one first.
func (e *Encoder) Int32(v int32) { e.Buf = binary.BigEndian.AppendUint32(e.Buf, uint32(v)) }

// Int64 appends eight bytes, the high one first.
func (e *Encoder) Int64(v int64) { e.Buf = binary.BigEndian.AppendUint64(e.Buf, uint64(v)) }

// UUID appends sixteen bytes.
func (e *Encoder) UUID(id [16]byte) { e.Buf = append(e.Buf, id[:]...) }

// Uvarint appends an unsigned varint.
func (e *Encoder) Uvarint(v int) { e.Buf = binary.AppendUvarint(e.Buf, uint64(v)) }

// Raw appends bytes as they are.
func (e *Encoder) Raw(p []byte) { e.Buf = append(e.Buf, p...) }

// Strings appends an array of strings.
func (e *Encoder) Strings(l []string) {
	e.Length(len(l), true)
	for _, s := range l {
		e.String(s)
	}
}

// Length appends the length of a string (two bytes) or, wide, of bytes and arrays (four); flexible versions have one form for both.
func (e *Encoder) Length(n int, wide bool) {
	switch {
	case e.Flexible:
		e.Uvarint(n + 1)
	case wide:
		e.Int32(int32(n))
	default:
		e.Int16(int16(n))
	}
}

func (e *Encoder) String(s string) {
	e.Length(len(s), false)
	e.Buf = append(e.Buf, s...)
}

// Nullable writes "" as null.
func (e *Encoder) Nullable(s string) {
	if s == "" {
		e.Length(-1, false)
		return
	}
	e.String(s)
}

// Bytes writes nil as null.
func (e *Encoder) Bytes(p []byte) {
	if p == nil {
		e.Length(-1, true)
		return
	}
	e.Length(len(p), true)
	e.Buf = append(e.Buf, p...)
}

// Int32s appends an array of int32.
func (e *Encoder) Int32s(l []int32) {
	e.Length(len(l), true)
	for _, v := range l {
		e.Int32(v)
	}
}

// NoTags ends a structure of a flexible version that has no tagged fields.
func (e *Encoder) NoTags() {
	if e.Flexible {
		e.Uvarint(0)
	}
}
