package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/quirelog/quire/internal/bench/machine"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
)

// groupCompact is the workload of compaction: package log thins a log out by key, raw copies the same bytes from file to file.
const groupCompact = "compact"

// compactShape is a log to be compacted: each key was written versions times, in an order that nobody could guess.
type compactShape struct {
	records, size int // of a batch, of a value
	versions      int
	passes        int64 // how many times the offset map is filled until all keys have had their turn; 0: once
}

// compactKey is the size of a key.
const compactKey = 16

func compacts() []*workload {
	row := func(id string, s compactShape, w workload) *workload {
		w.id, w.group, w.open, w.score = id, groupCompact, s.open, byRate
		w.name = fmt.Sprintf("compact %d B values, each key %d times", s.size, s.versions)
		if s.passes > 0 {
			w.name += ", memory for a part of them"
		}
		return &w
	}
	limits := []limit{{"allocations/record", allocsPerRecord, 0.01}, {"bytes read/byte", readPerByte, 2.1}}
	return []*workload{
		row("C-100B", compactShape{100, 100, 4, 0}, workload{limits: limits}),
		row("C-1000B", compactShape{100, 1000, 4, 0}, workload{limits: limits}),
		row("C-passes", compactShape{100, 100, 4, 4}, workload{limits: limits[:1]}),
	}
}

// open writes the log once; every sample compacts, or copies, a fresh copy of it.
func (w compactShape) open(e *env, sys System) (trial, error) {
	_, isRaw := sys.(raw)
	_, isQuire := sys.(quire)
	if !isRaw && !isQuire {
		return nil, nil
	}
	dir, err := e.fresh(sys)
	if err != nil {
		return nil, err
	}
	t := &compactTrial{shape: w, segment: min(readSegment, e.dataBytes/2), master: filepath.Join(dir, "master"), work: filepath.Join(dir, "work"), plain: isRaw}
	return t, t.fill(e.dataBytes)
}

type compactTrial struct {
	shape          compactShape
	master, work   string
	segment        int64 // bytes of a segment, about
	plain          bool
	records, bytes int64 // in sealed segments
	keys           int64
}

func (t *compactTrial) close() error { return os.RemoveAll(filepath.Dir(t.master)) }

func (t *compactTrial) config() *log.Config {
	return &log.Config{Compacted: true, Durability: log.OS, SegmentBytes: t.segment, FileDeleteDelay: -1}
}

// fill writes the log, and one batch more than its segments hold.
func (t *compactTrial) fill(total int64) error {
	l, _, err := log.Open(vfs.OS(), t.master, t.config(), log.OpenState{})
	if err != nil {
		return err
	}
	t.keys = total / int64(t.shape.size+compactKey) / int64(t.shape.versions)
	b, value, key := new(record.Builder), make([]byte, t.shape.size), make([]byte, compactKey)
	state := uint64(1)
	for bytes := int64(0); bytes < total || len(l.Segments()) < 2; {
		b.Reset(record.BuilderConfig{})
		for range t.shape.records {
			state = state*6364136223846793005 + 1442695040888963407
			binary.BigEndian.PutUint64(key, state>>33%uint64(t.keys))
			binary.BigEndian.PutUint64(value, state)
			if err := b.Add(&record.Record{Timestamp: 1, Key: key, Value: value}); err != nil {
				return errors.Join(err, l.Close())
			}
		}
		batch, err := b.Seal()
		if err == nil {
			_, err = l.Append(context.Background(), batch, log.AppendOptions{Trusted: true})
		}
		if err != nil {
			return errors.Join(err, l.Close())
		}
		bytes += int64(len(batch))
	}
	for _, s := range l.Segments() {
		if !s.Active {
			t.records, t.bytes = t.records+s.Next-s.Base, t.bytes+s.Bytes
		}
	}
	return l.Close()
}

func (t *compactTrial) sample() (s sample, err error) {
	if err := errors.Join(os.RemoveAll(t.work), os.MkdirAll(t.work, 0o755)); err != nil {
		return s, err
	}
	names, err := os.ReadDir(t.master)
	if err != nil {
		return s, err
	}
	for _, n := range names {
		if err := copyFile(filepath.Join(t.work, n.Name()), filepath.Join(t.master, n.Name()), -1); err != nil {
			return s, err
		}
	}
	if t.plain {
		s, err = t.copy()
	} else {
		s, err = t.compact()
	}
	s.records, s.bytes, s.batches = t.records, t.bytes, t.records/int64(t.shape.records)
	return s, err
}

// copy is what the machine gives: the sealed bytes read and written once, in large pieces, and synced.
func (t *compactTrial) copy() (sample, error) {
	names, err := filepath.Glob(filepath.Join(t.work, "*.log"))
	if err != nil {
		return sample{}, err
	}
	m, left := startMeter(nil), t.bytes
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			return sample{}, err
		}
		n := min(left, info.Size())
		left -= n
		if err := copyFile(name+".copy", name, n); err != nil {
			return sample{}, err
		}
	}
	return m.stop(), nil
}

// copyFile copies the first n bytes, all below zero, through a buffer of the size that compaction reads with, and syncs.
func copyFile(to, from string, n int64) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	var src io.Reader = in
	if n >= 0 {
		src = io.LimitReader(in, n)
	}
	buf := make([]byte, 1<<20)
	_, err = io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{src}, buf)
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

// compact goes over the whole log, in as many passes as the memory makes it.
func (t *compactTrial) compact() (sample, error) {
	fsys := &machine.CountingFS{FS: vfs.OS()}
	l, _, err := log.Open(fsys, t.work, t.config(), log.OpenState{})
	if err != nil {
		return sample{}, err
	}
	var o log.CompactOptions
	if t.shape.passes > 0 {
		o.Memory = 30 * t.keys / t.shape.passes // a key takes up to 32 bytes
	}
	m := startMeter(&logStore{fs: fsys, log: l})
	done, passes := log.Compacted{MapFull: true}, int64(0)
	for ; err == nil && done.MapFull; passes++ {
		done, err = l.Compact(context.Background(), o)
	}
	s := m.stop()
	if err == nil && (t.shape.passes == 0 && done.Kept+done.Dropped != t.records || passes < t.shape.passes) {
		err = fmt.Errorf("compacted %d records of %d in %d passes", done.Kept+done.Dropped, t.records, passes)
	}
	return s, errors.Join(err, l.Close())
}
