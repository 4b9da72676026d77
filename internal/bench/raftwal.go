package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

// raftwal is github.com/hashicorp/raft-wal: preallocated segments and a bbolt file that lists them.
type raftwal struct{}

func (raftwal) Name() string { return "raft-wal" }

func (raftwal) Note() string {
	return "hashicorp/raft-wal: checksum checked at recovery, not on read; fsync under the lock, so no group commit; page-cache acks by a file system of ours with Sync taken out; one record a read call; no time index, no wake-up (the harness rings)"
}

// Takes: the library has no call that syncs what was appended without.
func (raftwal) Takes(_ string, l Level) bool { return l != Interval }

func (raftwal) Open(dir string, o Options) (Store, error) {
	var vfs types.VFS = fs.New()
	if o.Level != Durable {
		vfs = unsyncedFS{fs.New()}
	}
	size := wal.DefaultSegmentSize
	if o.SegmentBytes > 0 {
		size = int(o.SegmentBytes)
	}
	meta := &metadb.BoltMetaDB{} // ours to close: the library leaves it open and locked
	l, err := wal.Open(dir, wal.WithMetaStore(meta), wal.WithLogger(hclog.NewNullLogger()), wal.WithSegmentFiler(segment.NewFiler(dir, vfs)), wal.WithSegmentSize(size))
	if err != nil {
		return nil, err
	}
	last, err := l.LastIndex()
	if err != nil {
		return nil, err
	}
	return &raftwalLog{l: l, meta: meta, last: last, bell: newBell()}, nil
}

// unsyncedFS acknowledges from the page cache. The library itself has no such mode.
type unsyncedFS struct{ *fs.FS }

func (u unsyncedFS) Create(dir, name string, size uint64) (types.WritableFile, error) {
	f, err := u.FS.Create(dir, name, size)
	return unsyncedFile{f}, err
}

func (u unsyncedFS) OpenWriter(dir, name string) (types.WritableFile, error) {
	f, err := u.FS.OpenWriter(dir, name)
	return unsyncedFile{f}, err
}

type unsyncedFile struct{ types.WritableFile }

func (unsyncedFile) Sync() error { return nil }

type raftwalLog struct {
	l    *wal.WAL
	meta *metadb.BoltMetaDB
	bell *bell

	mu   sync.Mutex // the library wants indexes in order: taking the next and storing it is one step
	last uint64
	get  raft.Log
}

func (l *raftwalLog) Prepare(values [][]byte) any {
	logs := make([]*raft.Log, len(values))
	for i, v := range values {
		logs[i] = &raft.Log{Term: 1, Data: v}
	}
	return logs
}

func (l *raftwalLog) Append(batch any) error {
	err := l.write(batch.([]*raft.Log))
	l.bell.ring()
	return err
}

func (l *raftwalLog) write(logs []*raft.Log) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, r := range logs {
		r.Index = l.last + uint64(i) + 1
	}
	if err := l.l.StoreLogs(logs); err != nil {
		return err
	}
	l.last += uint64(len(logs))
	return nil
}

func (l *raftwalLog) end() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

func (l *raftwalLog) Count() (int64, error) {
	n, err := l.l.LastIndex()
	return int64(n), err
}

func (l *raftwalLog) Get(offset int64) ([]byte, error) {
	err := l.l.GetLog(uint64(offset)+1, &l.get)
	return l.get.Data, err
}

// Scan reads owned records either way: the library's decoder copies each.
func (l *raftwalLog) Scan(bool) (Cursor, error) { return &raftwalCursor{l: l, next: 1}, nil }

type raftwalCursor struct {
	l    *raftwalLog
	next uint64
}

func (c *raftwalCursor) Close() error { return nil }

func (c *raftwalCursor) Read(deadline time.Time) (t Tally, err error) {
	var r raft.Log
	last := c.l.end()
	for c.next <= last && (c.next%256 != 0 || time.Now().Before(deadline)) {
		if err := c.l.l.GetLog(c.next, &r); err != nil {
			return t, err
		}
		t.add(r.Data)
		c.next++
	}
	return t, nil
}

func (l *raftwalLog) Tail() (Tail, error) { return &raftwalTail{l: l, next: 1}, nil }

type raftwalTail struct {
	l    *raftwalLog
	next uint64
}

func (t *raftwalTail) Close() error { return nil }

func (t *raftwalTail) Next(ctx context.Context, see func([]byte)) error {
	if err := t.l.bell.wait(ctx, func() bool { return t.l.end() >= t.next }); err != nil {
		return err
	}
	var r raft.Log
	for last := t.l.end(); t.next <= last; t.next++ {
		if err := t.l.l.GetLog(t.next, &r); err != nil {
			return err
		}
		see(r.Data)
	}
	return nil
}

func (l *raftwalLog) Close() error { return errors.Join(l.l.Close(), l.meta.Close()) }
