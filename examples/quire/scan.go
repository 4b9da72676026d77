package main

import (
	"errors"
	"io"
	"iter"
	"os"

	"github.com/quirelog/quire/log/record"
)

// window is how much of a data file is read at once; batches that are larger make it grow.
const window = 1 << 20

// errZeros is the fault of a tail of zeros: space that was written ahead and is not used yet.
var errZeros = errors.New("zeros to the end")

// A span is a stretch of a data file: a batch, sound or not, or bytes that are none.
type span struct {
	pos, size int64
	batch     record.Batch // nil where no batch could be told; good until the next span
	fault     error        // why it is not sound: header, checksum, or no batch at all
}

// A dataFile is a segment's .log file.
type dataFile struct {
	file *os.File
	size int64
	buf  []byte // the bytes at from
	from int64
}

func openData(path string) (*dataFile, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &dataFile{file: file, size: info.Size()}, nil
}

func (d *dataFile) close() error { return d.file.Close() }

// at gives n bytes at pos, fewer at the end of the file.
func (d *dataFile) at(pos int64, n int) ([]byte, error) {
	n = int(min(int64(n), d.size-pos))
	if pos >= d.from && pos+int64(n) <= d.from+int64(len(d.buf)) {
		return d.buf[pos-d.from:][:n], nil
	}
	want := int(min(int64(max(n, window)), d.size-pos))
	if cap(d.buf) < want {
		d.buf = make([]byte, want)
	}
	got, err := d.file.ReadAt(d.buf[:want], pos)
	if err != nil && !errors.Is(err, io.EOF) {
		d.buf = d.buf[:0]
		return nil, err
	}
	d.buf, d.from = d.buf[:got], pos
	return d.buf[:min(n, got)], nil
}

// spans goes through the file from its start. Behind bytes that are no batch it goes on at the next sound batch. The error of the last
// pair, if any, is one of reading.
func (d *dataFile) spans() iter.Seq2[span, error] {
	return func(yield func(span, error) bool) {
		for pos := int64(0); pos < d.size; {
			s, err := d.span(pos)
			if err != nil {
				yield(span{}, err)
				return
			}
			if s.size == 0 || !yield(s, nil) {
				return // size 0: the file has become shorter meanwhile
			}
			pos += s.size
		}
	}
}

// span reads the one at pos.
func (d *dataFile) span(pos int64) (span, error) {
	head, err := d.at(pos, record.HeaderSize)
	if err != nil {
		return span{}, err
	}
	size, fault := record.Size(head)
	if fault == nil && int64(size) > d.size-pos {
		fault = record.ErrIncomplete
	}
	if fault != nil {
		return d.noBatch(pos, fault)
	}
	run, err := d.at(pos, size)
	if err != nil {
		return span{}, err
	}
	batch, fault := record.First(run)
	if fault != nil {
		return d.noBatch(pos, fault)
	}
	return span{pos: pos, size: int64(size), batch: batch, fault: batch.Check()}, nil
}

// noBatch measures the stretch of bytes at pos that are no batch: up to the next sound one, or to the end.
func (d *dataFile) noBatch(pos int64, fault error) (span, error) {
	zeros := true
	for at := pos; at < d.size; {
		run, err := d.at(at, window)
		if err != nil || len(run) == 0 {
			return span{pos: pos, size: at - pos, fault: fault}, err
		}
		zeros = zeros && allZero(run)
		if zeros {
			at += int64(len(run))
			continue
		}
		next, err := d.resync(at, max(at, pos+1))
		if err != nil {
			return span{}, err
		}
		if next >= 0 {
			return span{pos: pos, size: next - pos, fault: fault}, nil
		}
		at += int64(len(run))
	}
	if zeros {
		fault = errZeros
	}
	return span{pos: pos, size: d.size - pos, fault: fault}, nil
}

// resync looks for a sound batch that begins in the window at pos, not before from.
func (d *dataFile) resync(pos, from int64) (int64, error) {
	run, err := d.at(pos, 2*window) // so that a batch that begins in the first half is whole
	if err != nil {
		return -1, err
	}
	next := record.Resync(run, int(from-pos))
	if next < 0 || int64(next) >= window && pos+int64(len(run)) < d.size {
		return -1, nil // the next window finds it
	}
	return pos + int64(next), nil
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
