package main

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/quirelog/quire/internal/bench/machine"
)

// raw is what the machine gives: one pwrite a batch, one CRC32C a batch, checked on every read, and a dense index of positions in memory.
//
// A batch in the file:
//
//	size u32 | crc u32 | time i64 | count u32 | count x (length u32 | bytes)
//
// size counts the bytes after the crc; the crc covers the same bytes. A size of zero ends the log (a pre-written tail).
type raw struct {
	prewritten bool
}

const (
	rawHead     = 20 // bytes before the first record
	rawSealed   = 8  // bytes not covered by the crc
	rawMaxBatch = 64 << 20
)

func (s raw) Name() string {
	if s.prewritten {
		return "rawpre"
	}
	return "raw"
}

func (s raw) Note() string {
	if s.prewritten {
		return "raw in a file whose blocks were written before the clock started"
	}
	return "pwrite + CRC32C a batch, dense index in memory, one fdatasync for all who wait; reads borrow"
}

// Takes leaves the pre-written file to the workloads whose syncs it spares the change of size.
func (s raw) Takes(_ string, l Level) bool { return !s.prewritten || l == Durable }

func (s raw) Open(dir string, o Options) (Store, error) {
	f, err := os.OpenFile(filepath.Join(dir, "raw.log"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	l := &rawLog{f: f, level: o.Level, bell: make(chan struct{}, 1), stop: make(chan struct{})}
	l.synced.L = &l.mu
	if err := l.load(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if s.prewritten && o.Expect > 0 {
		if err := prewrite(f, l.end, o.Expect); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	if o.Level == Interval {
		l.syncers.Go(l.syncLoop)
	}
	return l, nil
}

// prewrite fills the file with zeros from off on and syncs, so that later syncs find blocks and size already in the journal.
func prewrite(f *os.File, off, n int64) error {
	zeros := make([]byte, 1<<20)
	for end := off + n; off < end; off += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros, off); err != nil {
			return err
		}
	}
	return f.Sync()
}

// place is where a record lies: its batch in the file, and the record in the batch.
type place struct {
	pos  int64
	size int32
	at   int32
}

type rawLog struct {
	f     *os.File
	level Level
	bell  chan struct{} // rung after an append, for one tail

	mu      sync.Mutex
	synced  sync.Cond
	buf     []byte
	places  []place // one a record
	times   []stamp // one a batch
	end     int64
	durable int64
	syncing bool
	failed  error

	stop    chan struct{}
	syncers sync.WaitGroup
	get     []byte // Get's buffer
	calls   machine.Counter
}

// stamp is the time of the batch that begins with a record.
type stamp struct {
	ms    int64
	first int64
}

func (l *rawLog) Prepare(values [][]byte) any { return values }

func (l *rawLog) Append(batch any) error {
	end, err := l.write(batch.([][]byte))
	if err != nil {
		return err
	}
	if l.level == Durable {
		err = l.commit(end)
	}
	select {
	case l.bell <- struct{}{}:
	default:
	}
	return err
}

func (l *rawLog) write(values [][]byte) (end int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now().UnixMilli()
	l.buf = encodeRaw(l.buf[:0], values, now)
	if _, err := l.f.WriteAt(l.buf, l.end); err != nil {
		return 0, err
	}
	l.calls.Wrote(len(l.buf))
	l.index(l.end, int32(len(l.buf)), values, now)
	l.end += int64(len(l.buf))
	return l.end, nil
}

func (l *rawLog) index(pos int64, size int32, values [][]byte, now int64) {
	l.times = append(l.times, stamp{now, int64(len(l.places))})
	at := int32(rawHead)
	for _, v := range values {
		l.places = append(l.places, place{pos, size, at})
		at += 4 + int32(len(v))
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func encodeRaw(b []byte, values [][]byte, now int64) []byte {
	b = append(b, make([]byte, rawSealed)...)
	b = binary.LittleEndian.AppendUint64(b, uint64(now))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(values)))
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(v)))
		b = append(b, v...)
	}
	binary.LittleEndian.PutUint32(b, uint32(len(b)-rawSealed))
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[rawSealed:], castagnoli))
	return b
}

// commit waits until everything below end is on disk. Whoever finds no sync running does one for all who wait.
func (l *rawLog) commit(end int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.durable < end && l.failed == nil {
		if l.syncing {
			l.synced.Wait()
			continue
		}
		l.syncing = true
		upTo := l.end
		l.mu.Unlock()
		err := machine.Datasync(l.f)
		l.calls.Synced()
		l.mu.Lock()
		l.syncing = false
		if err != nil {
			l.failed = err
		}
		l.durable = upTo
		l.synced.Broadcast()
	}
	return l.failed
}

func (l *rawLog) Sync() error {
	l.mu.Lock()
	end := l.end
	l.mu.Unlock()
	return l.commit(end)
}

func (l *rawLog) syncLoop() {
	tick := time.NewTicker(syncInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if l.Sync() != nil {
				return
			}
		case <-l.stop:
			return
		}
	}
}

func (l *rawLog) Count() (int64, error) { return int64(len(l.places)), nil }

func (l *rawLog) Calls() Calls { return l.calls.Load() }

func (l *rawLog) Close() error {
	close(l.stop)
	l.syncers.Wait()
	return l.f.Close()
}
