package record

import "encoding/binary"

// quickPrefix is what quick may look at before it knows a record's size: four
// numbers of at most three bytes, the attributes byte, and the reach of the last
// eight-byte load.
const quickPrefix = 3 + 1 + 3 + 3 + 8

// quick decodes the record at d.pos if it has the usual shape: numbers of at most
// three bytes and eight more bytes of data behind each. Otherwise, or if anything
// is wrong, it returns false and d is as before, so that careful decides. It takes
// about half the time of careful.
func (d *Decoder) quick(r *Record) bool {
	p, i := d.data, d.pos
	if len(p)-i < quickPrefix {
		return false
	}
	length, n := short(load64(p, i))
	end := i + n + int(length>>1)
	i += n + 1 // and the attributes byte, unused
	tsDelta, n1 := short(load64(p, i))
	i += n1
	offDelta, n2 := short(load64(p, i))
	i += n2
	keyLen, n3 := short(load64(p, i))
	i += n3
	if n == 0 || n1 == 0 || n2 == 0 || n3 == 0 || length&1 != 0 || end > len(p) {
		return false
	}
	var key []byte
	if keyLen != 1 {
		keyEnd := i + int(keyLen>>1)
		if keyLen&1 != 0 || keyEnd > end {
			return false
		}
		key = p[i:keyEnd:keyEnd]
		i = keyEnd
	}
	if len(p)-i < 8 {
		return false
	}
	valueLen, n4 := short(load64(p, i))
	i += n4
	var value []byte
	if valueLen != 1 {
		valueEnd := i + int(valueLen>>1)
		if valueLen&1 != 0 || valueEnd > end {
			return false
		}
		value = p[i:valueEnd:valueEnd]
		i = valueEnd
	}
	if n4 == 0 || i >= end || offDelta&1 != 0 || int64(offDelta>>1) > d.lastDelta {
		return false
	}
	r.Headers = r.Headers[:0]
	if headers := p[i]; headers == 0 {
		i++
	} else if i = d.headers(r, p[:end], i); i < 0 {
		return false
	}
	if i != end {
		return false
	}
	r.Key, r.Value = key, value
	d.setPlace(r, unzigzag(tsDelta), int64(offDelta>>1))
	d.pos = end
	return true
}

// careful decodes the record at d.pos whatever its shape, and says what is wrong
// with a malformed one.
func (d *Decoder) careful(r *Record) bool {
	p, start := d.data, d.pos
	length, i := varint(p, start)
	if i < 0 || uint64(length) > uint64(len(p)-i) {
		return d.fail(start, "record length beyond the batch")
	}
	end := i + int(length)
	p = p[:end:end]
	if i++; i > end { // the attributes byte, unused
		return d.fail(start, "record cut short")
	}
	tsDelta, i := varlong(p, i)
	offDelta, i := varint(p, i)
	key, i := field(p, i)
	value, i := field(p, i)
	if i < 0 {
		return d.fail(start, "malformed record")
	}
	r.Key, r.Value = key, value
	r.Headers = r.Headers[:0]
	if i = d.headers(r, p, i); i < 0 {
		return d.fail(start, "malformed header")
	}
	if i != end {
		return d.fail(start, "record longer than its content")
	}
	if uint64(offDelta) > uint64(max(d.lastDelta, 0)) {
		return d.fail(start, "offset outside the batch")
	}
	d.setPlace(r, tsDelta, offDelta)
	d.pos = end
	return true
}

// setPlace sets what a record says relative to its batch.
func (d *Decoder) setPlace(r *Record, tsDelta, offDelta int64) {
	r.Offset = d.baseOffset + offDelta
	r.Timestamp = d.baseTimestamp + tsDelta
	if d.fixed {
		r.Timestamp = d.appendTime
	}
}

// headers appends the record's headers, whose number lies at p[i], to r and
// returns the position after them, or -1.
func (d *Decoder) headers(r *Record, p []byte, i int) int {
	n, i := varint(p, i)
	if i < 0 || n < 0 || n > int64(len(p)-i)/2 { // a header takes two bytes at least
		return -1
	}
	for k := range int(n) {
		var key, value []byte
		key, i = field(p, i)
		value, i = field(p, i)
		if i < 0 || key == nil {
			return -1
		}
		r.Headers = append(r.Headers, Header{Key: d.names.intern(k, key), Value: value})
	}
	return i
}

// load64 reads eight bytes, the first lowest; the caller knows they are there.
func load64(p []byte, i int) uint64 { return binary.LittleEndian.Uint64(p[i:]) }

// short reads a number of one to three bytes, still in zig-zag form, from the low
// end of w, and returns how many bytes it took; 0 if it is longer.
func short(w uint64) (u uint64, n int) {
	if w&0x80 == 0 {
		return w & 0x7f, 1
	}
	if w&0x8000 == 0 {
		return w&0x7f | w>>1&0x3f80, 2
	}
	if w&0x800000 == 0 {
		return w&0x7f | w>>1&0x3f80 | w>>2&0x1fc000, 3
	}
	return 0, 0
}

// field reads a length and that many bytes: nil for length -1. It returns the
// position after them, or -1 if i already was or the field is malformed.
func field(p []byte, i int) ([]byte, int) {
	if uint(i) < uint(len(p)) && p[i]&0x81 == 0 { // one byte, not negative
		start := i + 1
		end := start + int(p[i]>>1)
		if end > len(p) {
			return nil, -1
		}
		return p[start:end:end], end
	}
	n, i := varint(p, i)
	if i < 0 || n < -1 || n > int64(len(p)-i) {
		return nil, -1
	}
	if n == -1 {
		return nil, i
	}
	end := i + int(n)
	return p[i:end:end], end
}

// varint reads a 32-bit number at p[i] and returns the position after it, or -1
// if i is negative already or the number is malformed: callers may chain calls and
// look at the last position only.
func varint(p []byte, i int) (int64, int) {
	if uint(i) > uint(len(p)) {
		return 0, -1
	}
	v, n := Varint(p[i:])
	if n <= 0 {
		return 0, -1
	}
	return int64(v), i + n
}

// varlong is varint for 64 bits.
func varlong(p []byte, i int) (int64, int) {
	if uint(i) > uint(len(p)) {
		return 0, -1
	}
	v, n := Varlong(p[i:])
	if n <= 0 {
		return 0, -1
	}
	return v, i + n
}
