package segment

import (
	"errors"
	"fmt"
	"io"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
)

// scanBytes is how much a scan reads at once.
const scanBytes = 1 << 20

// scanner reads the batches of a data file one after the other, in large reads. It judges lengths only.
type scanner struct {
	f    vfs.File
	size int64  // nothing is read behind it
	pos  int64  // of the next batch
	buf  []byte // buf[at:] holds the bytes at pos
	at   int
}

func newScanner(f vfs.File, pos, size int64) *scanner { return &scanner{f: f, pos: pos, size: size} }

// next returns the batch at pos, which the caller passes with skip. io.EOF at the end; record.ErrIncomplete if the last bytes are not a whole
// batch; record.ErrCorrupt if they are no batch. The batch is good until the following call.
func (c *scanner) next() (record.Batch, error) {
	if c.pos >= c.size {
		return nil, io.EOF
	}
	if err := c.fill(record.HeaderSize); err != nil {
		return nil, err
	}
	n, err := record.Size(c.buf[c.at:])
	if err != nil {
		return nil, c.orOld(err)
	}
	if int64(n) > c.size-c.pos {
		return nil, record.ErrIncomplete
	}
	if err := c.fill(n); err != nil {
		return nil, err
	}
	return record.First(c.buf[c.at:])
}

// orOld is the error for bytes that are no batch: record.ErrOldFormat where they are a message of an old format, which is no damage.
func (c *scanner) orOld(cause error) error {
	n := record.OldSize(c.buf[c.at:])
	if n == 0 || int64(n) > c.size-c.pos {
		return cause
	}
	if err := c.fill(n); err != nil {
		return err
	}
	if !record.IsOld(c.buf[c.at:][:n]) {
		return cause
	}
	return fmt.Errorf("at %d: %w", c.pos, record.ErrOldFormat)
}

// skip goes on behind n bytes.
func (c *scanner) skip(n int) {
	c.pos += int64(n)
	c.at = min(c.at+n, len(c.buf))
}

// jump goes on at pos.
func (c *scanner) jump(pos int64) {
	c.pos, c.at, c.buf = pos, 0, c.buf[:0]
}

// fill sees to it that n bytes at pos are in the buffer, fewer only at the end of the file.
func (c *scanner) fill(n int) error {
	have := len(c.buf) - c.at
	want := int64(max(n, scanBytes))
	if have >= n || int64(have) >= c.size-c.pos {
		return nil
	}
	want = min(want, c.size-c.pos)
	var next []byte
	if int64(cap(c.buf)) >= want {
		next = c.buf[:want]
	} else {
		next = make([]byte, want)
	}
	copy(next, c.buf[c.at:])
	c.buf, c.at = next, 0
	got, err := c.f.ReadAt(next[have:], c.pos+int64(have))
	if got < len(next)-have {
		c.buf = next[:have+got]
		if err == nil || err == io.EOF {
			return fmt.Errorf("segment: file ends at %d, expected %d: %w", c.pos+int64(have+got), c.size, io.ErrUnexpectedEOF)
		}
		return err
	}
	return nil
}

// isDamage tells bad bytes from a disk that does not answer.
func isDamage(err error) bool {
	return errors.Is(err, record.ErrCorrupt) || errors.Is(err, record.ErrIncomplete) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errOutOfOrder)
}

// errOutOfOrder is the cause when a batch is sound in itself but cannot be where it is.
var errOutOfOrder = errors.New("batch does not follow the one before it")

// errLimit says that a search for the next good batch gave up.
var errLimit = errors.New("no good batch within the searched range")

// resync finds the first position at or after pos, before end, where a valid batch begins whose offsets lie in [low, high). errLimit when none
// lies in the first limit bytes, io.EOF when none lies before end.
func (s *Segment) resync(f vfs.File, pos, end, low, high, limit int64) (at int64, b record.Batch, err error) {
	overlap := s.cfg.maxBatch() + record.HeaderSize
	window := make([]byte, min(end-pos, overlap+4*scanBytes))
	for stop := pos + limit; pos < end; {
		if pos >= stop {
			return 0, nil, errLimit
		}
		run := window[:min(int64(len(window)), end-pos)]
		if n, err := f.ReadAt(run, pos); n < len(run) {
			if err != nil && err != io.EOF {
				return 0, nil, err
			}
			run, end = run[:n], pos+int64(n)
		}
		for from := 0; ; {
			i := record.Resync(run, from)
			if i < 0 {
				break
			}
			b, _ := record.First(run[i:])
			if b.BaseOffset() >= low && b.NextOffset() <= high {
				return pos + int64(i), b, nil
			}
			from = i + 1
		}
		if pos+int64(len(run)) >= end {
			break
		}
		pos += int64(len(run)) - overlap
	}
	return 0, nil, io.EOF
}
