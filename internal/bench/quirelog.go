package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/quirelog/quire/internal/bench/machine"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
)

// quireLog is the storey below the front door: package log with batches made by record.Builder. The difference to quire is what the
// front door costs.
type quireLog struct{}

func (quireLog) Name() string { return "quire-log" }

func (quireLog) Note() string { return "packages log and log/record, below the front door" }

// Takes: interval syncs, consumers and many idle logs are the front door's.
func (quireLog) Takes(group string, l Level) bool {
	return l != Interval && group != groupTail && group != groupOpen && group != groupIdle
}

func (quireLog) Open(dir string, o Options) (Store, error) {
	s := &logStore{ctx: context.Background(), fs: &machine.CountingFS{FS: vfs.OS()}}
	cfg := &log.Config{SegmentBytes: o.SegmentBytes, Durability: log.Sync, Indexes: log.NewIndexBudget(64 << 20)}
	if o.Level == OS {
		cfg.Durability = log.OS
	}
	var err error
	s.log, _, err = log.Open(s.fs, dir, cfg, log.OpenState{})
	return s, err
}

type logStore struct {
	ctx context.Context
	fs  *machine.CountingFS
	log *log.Log

	mu    sync.Mutex
	spare []*record.Builder

	buf    []byte
	finder log.Finder
	dec    record.Decoder
}

func (s *logStore) Close() error { return s.log.Close() }

func (s *logStore) Calls() Calls { return s.fs.Calls.Load() }

func (s *logStore) Count() (int64, error) { return s.log.End(), nil }

func (s *logStore) Prepare(values [][]byte) any {
	recs := make([]record.Record, len(values))
	for i, v := range values {
		recs[i].Value = v
	}
	return recs
}

func (s *logStore) take() *record.Builder {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.spare); n > 0 {
		b := s.spare[n-1]
		s.spare = s.spare[:n-1]
		return b
	}
	return new(record.Builder)
}

func (s *logStore) put(b *record.Builder) {
	s.mu.Lock()
	s.spare = append(s.spare, b)
	s.mu.Unlock()
}

func (s *logStore) Append(batch any) error {
	recs := batch.([]record.Record)
	now := time.Now().UnixMilli()
	b := s.take()
	defer s.put(b)
	b.Reset(record.BuilderConfig{})
	for i := range recs {
		recs[i].Timestamp = now
		if err := b.Add(&recs[i]); err != nil {
			return err
		}
	}
	sealed, err := b.Seal()
	if err != nil {
		return err
	}
	_, err = s.log.Append(s.ctx, sealed, log.AppendOptions{Trusted: true, Now: now})
	return err
}

func (s *logStore) Get(offset int64) ([]byte, error) {
	r, err := s.log.Get(&s.finder, offset, log.High)
	if err != nil {
		return nil, err
	}
	return r.Value, nil
}

// Scan lends records. Owned ones are the front door's.
func (s *logStore) Scan(owned bool) (Cursor, error) {
	if owned {
		return nil, errors.ErrUnsupported
	}
	return &logCursor{s: s, at: log.At(0)}, nil
}

type logCursor struct {
	s   *logStore
	at  log.Place
	rec record.Record
}

func (c *logCursor) Close() error { return nil }

func (c *logCursor) Read(deadline time.Time) (t Tally, err error) {
	for time.Now().Before(deadline) {
		c.s.buf, c.at, err = c.s.log.Read(c.s.buf[:0], c.at, log.ReadOptions{Check: true})
		if err != nil || len(c.s.buf) == 0 {
			return t, err
		}
		for b, err := range record.Batches(c.s.buf) {
			if err != nil {
				return t, err
			}
			if err := decode(&c.s.dec, b, &c.rec, &t); err != nil {
				return t, err
			}
		}
	}
	return t, nil
}
