package group

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/quirelog/quire/topic"
)

// ErrCorrupt: bytes that claim to be a group's record, a subscription or an assignment are not. The text that wraps it says where.
var ErrCorrupt = errors.New("group: malformed bytes")

// A decoder reads Apache Kafka's message encoding from front to back. The first fault sticks: later reads give zero values, and the fault
// is asked for once at the end. Flexible versions (KIP-482) have lengths as unsigned varints of length+1, and tagged fields.
//
// Nothing that a decoder returns shares memory with its input.
type decoder struct {
	rest     []byte
	flexible bool
	err      error
}

func (d *decoder) fail(what string) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s, %d bytes before the end", ErrCorrupt, what, len(d.rest))
	}
	d.rest = nil
}

// take cuts n bytes off the front; nil after a fault.
func (d *decoder) take(n int) []byte {
	if n < 0 || n > len(d.rest) {
		d.fail("cut short")
		return nil
	}
	p := d.rest[:n]
	d.rest = d.rest[n:]
	return p
}

func (d *decoder) int8() int8 {
	if p := d.take(1); p != nil {
		return int8(p[0])
	}
	return 0
}

func (d *decoder) int16() int16 {
	if p := d.take(2); p != nil {
		return int16(binary.BigEndian.Uint16(p))
	}
	return 0
}

func (d *decoder) int32() int32 {
	if p := d.take(4); p != nil {
		return int32(binary.BigEndian.Uint32(p))
	}
	return 0
}

func (d *decoder) int64() int64 {
	if p := d.take(8); p != nil {
		return int64(binary.BigEndian.Uint64(p))
	}
	return 0
}

func (d *decoder) uuid() (id topic.ID) {
	copy(id[:], d.take(len(id)))
	return id
}

func (d *decoder) uvarint() int {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 || n > 5 || v > 1<<31 {
		d.fail("bad length")
		return 0
	}
	d.rest = d.rest[n:]
	return int(v)
}

// length reads the length of a string (two bytes) or of bytes and arrays (four); -1 is null.
func (d *decoder) length(wide bool) int {
	switch {
	case d.flexible:
		return d.uvarint() - 1
	case wide:
		return int(d.int32())
	default:
		return int(d.int16())
	}
}

// string reads a string that may not be null.
func (d *decoder) string() string {
	n := d.length(false)
	if n < 0 {
		d.fail("null string")
	}
	return string(d.take(n))
}

// nullable reads a string; null is "".
func (d *decoder) nullable() string {
	n := d.length(false)
	if n == -1 {
		return ""
	}
	return string(d.take(n))
}

// bytes reads bytes; null is nil and empty is not.
func (d *decoder) bytes() []byte {
	n := d.length(true)
	if n == -1 {
		return nil
	}
	return append([]byte{}, d.take(n)...)
}

// count reads an array's length. least is the fewest bytes an element takes, so that a false length cannot ask for more memory than a
// small multiple of what came.
func (d *decoder) count(least int) int {
	n := d.length(true)
	if n < 0 || n > len(d.rest)/least {
		if d.err == nil {
			d.fail(fmt.Sprintf("array of %d", n))
		}
		return 0
	}
	return n
}

func (d *decoder) int32s() []int32 {
	n := d.count(4)
	if n == 0 {
		return nil
	}
	list := make([]int32, n)
	for i := range list {
		list[i] = d.int32()
	}
	return list
}

func (d *decoder) strings() []string {
	n := d.count(1)
	if n == 0 {
		return nil
	}
	list := make([]string, n)
	for i := range list {
		list[i] = d.string()
	}
	return list
}

// tags reads the tagged fields that end a structure of a flexible version. Those that known does not take are passed over: newer writers
// may add some.
func (d *decoder) tags(known func(tag int, field *decoder)) {
	if !d.flexible {
		return
	}
	for n := d.uvarint(); n > 0 && d.err == nil; n-- {
		tag, size := d.uvarint(), d.uvarint()
		field := decoder{rest: d.take(size), flexible: true}
		if d.err == nil && known != nil {
			known(tag, &field)
			if field.err != nil {
				d.err = field.err
			}
		}
	}
}

// An encoder appends Kafka's message encoding, the inverse of decoder.
type encoder struct {
	buf      []byte
	flexible bool
}

func (e *encoder) int8(v int8)      { e.buf = append(e.buf, byte(v)) }
func (e *encoder) int16(v int16)    { e.buf = binary.BigEndian.AppendUint16(e.buf, uint16(v)) }
func (e *encoder) int32(v int32)    { e.buf = binary.BigEndian.AppendUint32(e.buf, uint32(v)) }
func (e *encoder) int64(v int64)    { e.buf = binary.BigEndian.AppendUint64(e.buf, uint64(v)) }
func (e *encoder) uuid(id topic.ID) { e.buf = append(e.buf, id[:]...) }
func (e *encoder) uvarint(v int)    { e.buf = binary.AppendUvarint(e.buf, uint64(v)) }
func (e *encoder) raw(p []byte)     { e.buf = append(e.buf, p...) }
func (e *encoder) strings(l []string) {
	e.length(len(l), true)
	for _, s := range l {
		e.string(s)
	}
}

func (e *encoder) length(n int, wide bool) {
	switch {
	case e.flexible:
		e.uvarint(n + 1)
	case wide:
		e.int32(int32(n))
	default:
		e.int16(int16(n))
	}
}

func (e *encoder) string(s string) {
	e.length(len(s), false)
	e.buf = append(e.buf, s...)
}

// nullable writes "" as null.
func (e *encoder) nullable(s string) {
	if s == "" {
		e.length(-1, false)
		return
	}
	e.string(s)
}

// bytes writes nil as null.
func (e *encoder) bytes(p []byte) {
	if p == nil {
		e.length(-1, true)
		return
	}
	e.length(len(p), true)
	e.buf = append(e.buf, p...)
}

func (e *encoder) int32s(l []int32) {
	e.length(len(l), true)
	for _, v := range l {
		e.int32(v)
	}
}

// noTags ends a structure of a flexible version that has no tagged fields.
func (e *encoder) noTags() {
	if e.flexible {
		e.uvarint(0)
	}
}
