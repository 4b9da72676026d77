package main

import (
	"context"
	"path/filepath"
	"sync"
	"time"

	"github.com/tidwall/wal"
)

// tidwall is github.com/tidwall/wal: a list of segments, the last one also in memory.
type tidwall struct{}

func (tidwall) Name() string { return "tidwall" }

func (tidwall) Note() string {
	return "tidwall/wal: no checksum; fsync under the lock, so no group commit; whole 20 MB segments in memory; no time index, no wake-up (the harness rings)"
}

func (tidwall) Open(dir string, o Options) (Store, error) {
	opts := *wal.DefaultOptions
	opts.NoSync = o.Level != Durable
	opts.NoCopy = true // borrowed; Get and Scan copy themselves where the caller keeps the record
	l, err := wal.Open(filepath.Join(dir, "wal"), &opts)
	if err != nil {
		return nil, err
	}
	last, err := l.LastIndex()
	if err != nil {
		return nil, err
	}
	return &tidwallLog{l: l, last: last, bell: newBell()}, nil
}

type tidwallLog struct {
	l    *wal.Log
	bell *bell

	mu    sync.Mutex // the library wants indexes in order: taking the next and writing it is one step
	last  uint64
	batch wal.Batch
}

func (l *tidwallLog) Prepare(values [][]byte) any { return values }

func (l *tidwallLog) Append(batch any) error {
	err := l.write(batch.([][]byte))
	l.bell.ring()
	return err
}

func (l *tidwallLog) write(values [][]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(values) == 1 {
		l.last++
		return l.l.Write(l.last, values[0])
	}
	l.batch.Clear()
	for _, v := range values {
		l.last++
		l.batch.Write(l.last, v)
	}
	return l.l.WriteBatch(&l.batch)
}

func (l *tidwallLog) Sync() error { return l.l.Sync() }

func (l *tidwallLog) end() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

func (l *tidwallLog) Count() (int64, error) {
	n, err := l.l.LastIndex()
	return int64(n), err
}

func (l *tidwallLog) Get(offset int64) ([]byte, error) { return l.l.Read(uint64(offset) + 1) }

func (l *tidwallLog) Scan(owned bool) (Cursor, error) {
	return &tidwallCursor{l: l, owned: owned, next: 1}, nil
}

type tidwallCursor struct {
	l     *tidwallLog
	owned bool
	next  uint64
	slab  slab
}

func (c *tidwallCursor) Close() error { return nil }

func (c *tidwallCursor) Read(deadline time.Time) (t Tally, err error) {
	last := c.l.end()
	for c.next <= last && (c.next%256 != 0 || time.Now().Before(deadline)) {
		v, err := c.l.l.Read(c.next)
		if err != nil {
			return t, err
		}
		if c.owned {
			v = c.slab.keep(v)
		}
		t.add(v)
		c.next++
	}
	return t, nil
}

func (l *tidwallLog) Tail() (Tail, error) { return &tidwallTail{l: l, next: 1}, nil }

type tidwallTail struct {
	l    *tidwallLog
	next uint64
}

func (t *tidwallTail) Close() error { return nil }

func (t *tidwallTail) Next(ctx context.Context, see func([]byte)) error {
	if err := t.l.bell.wait(ctx, func() bool { return t.l.end() >= t.next }); err != nil {
		return err
	}
	for last := t.l.end(); t.next <= last; t.next++ {
		v, err := t.l.l.Read(t.next)
		if err != nil {
			return err
		}
		see(v)
	}
	return nil
}

func (l *tidwallLog) Close() error { return l.l.Close() }
