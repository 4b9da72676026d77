package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sort"
	"time"
)

const readSize = 1 << 20

var errRawDamage = errors.New("raw: bad checksum")

// rawBatch gives the first whole batch in b; nil when b ends inside it or the log ends here.
func rawBatch(b []byte) ([]byte, error) {
	if len(b) < rawHead {
		return nil, nil
	}
	size := int(binary.LittleEndian.Uint32(b))
	if size == 0 || size > rawMaxBatch || rawSealed+size > len(b) {
		return nil, nil
	}
	b = b[:rawSealed+size]
	if crc32.Checksum(b[rawSealed:], castagnoli) != binary.LittleEndian.Uint32(b[4:]) {
		return nil, errRawDamage
	}
	return b, nil
}

// eachRaw walks the records of a checked batch.
func eachRaw(b []byte, see func(value []byte)) {
	for b = b[rawHead:]; len(b) >= 4; {
		n := binary.LittleEndian.Uint32(b)
		see(b[4 : 4+n])
		b = b[4+n:]
	}
}

// readAt reads what is there: a short read at the end of the file is no error.
func readAt(f *os.File, b []byte, off int64) (int, error) {
	n, err := f.ReadAt(b, off)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// load checks the whole file and rebuilds the index: what opening costs when nothing is trusted.
func (l *rawLog) load() error {
	info, err := l.f.Stat()
	if err != nil {
		return err
	}
	buf := make([]byte, min(readSize, info.Size()))
	for {
		n, err := readAt(l.f, buf, l.end)
		if err != nil {
			return err
		}
		used, err := l.loadRun(buf[:n])
		if err != nil {
			return err
		}
		if used > 0 {
			continue
		}
		if n < len(buf) || n < rawHead || binary.LittleEndian.Uint32(buf) == 0 {
			l.durable = l.end
			return nil
		}
		buf = make([]byte, 2*len(buf)) // a batch larger than the buffer
	}
}

func (l *rawLog) loadRun(run []byte) (used int, err error) {
	for {
		b, err := rawBatch(run[used:])
		if b == nil || err != nil {
			return used, err
		}
		l.times = append(l.times, stamp{int64(binary.LittleEndian.Uint64(b[8:])), int64(len(l.places))})
		at := int32(rawHead)
		eachRaw(b, func(v []byte) {
			l.places = append(l.places, place{l.end, int32(len(b)), at})
			at += 4 + int32(len(v))
		})
		l.end += int64(len(b))
		used += len(b)
	}
}

func (l *rawLog) Scan(bool) (Cursor, error) {
	return &rawCursor{l: l, buf: make([]byte, readSize)}, nil
}

type rawCursor struct {
	l   *rawLog
	pos int64
	buf []byte
}

func (c *rawCursor) Close() error { return nil }

func (c *rawCursor) Read(deadline time.Time) (t Tally, err error) {
	for time.Now().Before(deadline) {
		got, err := readAt(c.l.f, c.buf, c.pos)
		if err != nil {
			return t, err
		}
		c.l.calls.Read(got)
		used, err := scanRun(c.buf[:got], &t)
		if err != nil {
			return t, err
		}
		if used == 0 {
			return t, nil
		}
		c.pos += int64(used)
	}
	return t, nil
}

func scanRun(run []byte, t *Tally) (used int, err error) {
	for {
		b, err := rawBatch(run[used:])
		if b == nil || err != nil {
			return used, err
		}
		used += len(b)
		for b = b[rawHead:]; len(b) >= 4; {
			n := binary.LittleEndian.Uint32(b)
			t.add(b[4 : 4+n])
			b = b[4+n:]
		}
	}
}

func (l *rawLog) Get(offset int64) ([]byte, error) {
	p := l.places[offset]
	if int(p.size) > cap(l.get) {
		l.get = make([]byte, p.size)
	}
	n, err := readAt(l.f, l.get[:p.size], p.pos)
	if err != nil {
		return nil, err
	}
	l.calls.Read(n)
	b, err := rawBatch(l.get[:n])
	if err != nil {
		return nil, err
	}
	if b == nil {
		return nil, fmt.Errorf("raw: record %d is not whole", offset)
	}
	b = b[p.at:]
	return b[4 : 4+binary.LittleEndian.Uint32(b)], nil
}

// Find knows one time a batch; it reads the batch it finds, as a reader who wants the record would.
func (l *rawLog) Find(ms int64) (int64, error) {
	i := sort.Search(len(l.times), func(i int) bool { return l.times[i].ms >= ms })
	if i == len(l.times) {
		return int64(len(l.places)), nil
	}
	_, err := l.Get(l.times[i].first)
	return l.times[i].first, err
}

func (l *rawLog) Tail() (Tail, error) {
	return &rawTail{l: l, buf: make([]byte, readSize)}, nil
}

// rawTail reads what it is told of from the file: it has no cache of what was just written.
type rawTail struct {
	l   *rawLog
	pos int64
	buf []byte
}

func (t *rawTail) Close() error { return nil }

func (t *rawTail) Next(ctx context.Context, see func([]byte)) error {
	for {
		t.l.mu.Lock()
		end := t.l.end
		t.l.mu.Unlock()
		if end > t.pos {
			return t.read(end, see)
		}
		select {
		case <-t.l.bell:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (t *rawTail) read(end int64, see func([]byte)) error {
	n, err := readAt(t.l.f, t.buf[:min(end-t.pos, readSize)], t.pos)
	if err != nil {
		return err
	}
	for used := 0; ; {
		b, err := rawBatch(t.buf[used:n])
		if b == nil || err != nil {
			t.pos += int64(used)
			return err
		}
		eachRaw(b, see)
		used += len(b)
	}
}
