package record

import (
	"errors"
	"fmt"

	"github.com/quirelog/quire/compress"
)

// DefaultDecodeLimit is how many bytes of records a Decoder accepts from one
// compressed batch when the caller names no limit.
const DefaultDecodeLimit = 64 << 20

// MaxDecodeLimit is the largest limit that a log or a topic can be given.
const MaxDecodeLimit = 256 << 20

// Decoder reads the records of one batch after another. The zero value is ready
// for Reset. It owns the memory that compressed batches are decoded into and the
// strings of header names, and keeps both for the next batch, so that in a steady
// state nothing is allocated per record or batch. One goroutine at a time.
//
//	for d.Next(&r) { ... }
//	if err := d.Err(); err != nil { ... }
type Decoder struct {
	data []byte // the records, decompressed
	pos  int    // next unread byte of data
	left int    // records still to come by the header
	all  int    // how many there are by the header
	err  error

	baseOffset    int64
	baseTimestamp int64
	lastDelta     int64
	appendTime    int64 // every record's timestamp when fixed
	fixed         bool  // LogAppendTime

	// Kept from batch to batch.
	buf       []byte // decompressed records
	names     interner
	headerBuf []Header // for CheckRecords
	keyless   []int    // for CheckRecords
}

// Reset makes the decoder read the records of b, which must stay unchanged until
// the last use of what Next returns. limit is the most bytes that a compressed
// batch may expand to; zero means DefaultDecodeLimit. Header and checksum are the
// caller's business (Batch.Check). An error (*CorruptError, or one matching
// ErrTooLarge) is also what Err returns; Next then gives nothing.
func (d *Decoder) Reset(b Batch, limit int) error {
	d.data, d.pos, d.left, d.all, d.err = nil, 0, 0, 0, nil
	if len(b) < HeaderSize {
		d.err = b.CheckHeader()
		return d.err
	}
	d.baseOffset = b.BaseOffset()
	d.baseTimestamp = b.BaseTimestamp()
	d.lastDelta = int64(b.LastOffsetDelta())
	d.appendTime = b.MaxTimestamp()
	d.fixed = b.TimestampType() == LogAppendTime
	if b.Count() < 0 {
		d.err = b.corrupt(posCount, fmt.Sprintf("negative record count %d", b.Count()))
		return d.err
	}
	if d.data, d.err = d.plain(b, limit); d.err != nil {
		return d.err
	}
	d.left, d.all = b.Count(), b.Count()
	return nil
}

// Rewind goes back to the first record of the batch without decompressing it anew.
func (d *Decoder) Rewind() {
	if d.data != nil {
		d.pos, d.left, d.err = 0, d.all, nil
	}
}

// plain returns the records of b uncompressed.
func (d *Decoder) plain(b Batch, limit int) ([]byte, error) {
	if b.Codec() == compress.None || len(b) == HeaderSize {
		return b.Records(), nil
	}
	if limit <= 0 {
		limit = DefaultDecodeLimit
	}
	out, err := compress.Decode(d.buf[:0], b.Records(), b.Codec(), limit)
	if err == nil {
		d.buf = out
		return out, nil
	}
	if errors.Is(err, compress.ErrTooLarge) {
		return nil, &DecompressedError{BaseOffset: b.BaseOffset(), NextOffset: b.NextOffset(), Limit: limit, Err: err}
	}
	return nil, &CorruptError{BaseOffset: b.BaseOffset(), Pos: HeaderSize, Reason: "records do not decompress", Err: err}
}

// Err returns why the last Next returned false: nil if the batch held exactly
// as many records as its header says and nothing after them, otherwise a
// *CorruptError. Before that it is nil.
func (d *Decoder) Err() error { return d.err }

// Next reads the next record into r and reports whether there was one. Key,
// Value and header values borrow the batch's bytes, or the decoder's if the batch
// is compressed: they are valid until the next Reset and must not be written to.
// r.Headers is overwritten in place if it has room; a caller who keeps it sets it
// to nil before the next call.
func (d *Decoder) Next(r *Record) bool {
	if d.left <= 0 {
		d.finish()
		return false
	}
	if !d.quick(r) && !d.careful(r) {
		return false
	}
	d.left--
	return true
}

// finish judges what is left once all records were read.
func (d *Decoder) finish() {
	if d.err == nil && d.pos != len(d.data) {
		d.fail(d.pos, "bytes after the last record")
	}
}

// fail ends the iteration with an error.
func (d *Decoder) fail(pos int, reason string) bool {
	d.left = 0
	d.err = &CorruptError{BaseOffset: d.baseOffset, Pos: pos, InRecords: true, Reason: reason}
	return false
}
