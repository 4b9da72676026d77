package main

import (
	"context"
	"time"

	"github.com/quirelog/quire/internal/bench/machine"
)

// A System is one contestant: a way to keep a log in a directory. Systems hold no state; what they open does.
type System interface {
	// Name is short: it heads a row of the tables and is what -systems takes.
	Name() string
	// Note says what the system does not do that others in the table do, so that a figure is read for what it is worth.
	Note() string
	// Open opens the log in dir, which exists, and creates it when dir is empty.
	Open(dir string, o Options) (Store, error)
}

// A Choosy system takes part only in some workloads.
type Choosy interface {
	Takes(group string, level Level) bool
}

func takes(sys System, w *workload) bool {
	c, ok := sys.(Choosy)
	return !ok || c.Takes(w.group, w.level)
}

// A Store is an open log. What else it can do is found by assertion on the interfaces below: a system that lacks one sits that workload out.
type Store interface {
	Close() error
}

// Level is what an acknowledged append means.
type Level int8

const (
	// OS: the bytes are in the page cache.
	OS Level = iota
	// Interval: as OS, and somebody syncs every syncInterval.
	Interval
	// Durable: an fdatasync that covers the bytes has returned.
	Durable
)

func (l Level) String() string {
	return [...]string{"os", "interval", "sync"}[l]
}

// Options of one opening.
type Options struct {
	Level Level
	// Expect is about how many payload bytes the workload may append: rawpre writes that much beforehand.
	Expect int64
	// SegmentBytes asks for segments of this size where the system has segments; 0 means its default.
	SegmentBytes int64
}

// An Appender adds batches at the end. Append returns when the batch is acknowledged at the level of Options and may be called by many
// goroutines at once. Prepare turns values into whatever the system's own callers would hold in their hands; it is not timed, and it
// must alias the values instead of copying them.
type Appender interface {
	Prepare(values [][]byte) any
	Append(batch any) error
}

// A Sender takes single records without waiting for each; Flush waits until all are acknowledged. Send may be called by one goroutine.
type Sender interface {
	Send(value []byte) error
	Flush() error
}

// A Syncer makes what was appended durable. The harness calls it every syncInterval where the system has no interval of its own.
type Syncer interface {
	Sync() error
}

// A Tally is what a reader saw. Sum adds the first byte of every value, so that no reader gets away without touching its records.
type Tally struct {
	Records, Bytes int64
	Sum            uint64
}

func (t *Tally) add(value []byte) {
	t.Records++
	t.Bytes += int64(len(value))
	t.Sum += uint64(value[0])
}

// A Scanner reads from the first record on; ErrUnsupported says that it cannot. owned asks for records that the caller may keep; otherwise they may be borrowed from buffers
// that the next read overwrites.
type Scanner interface {
	Scan(owned bool) (Cursor, error)
}

// A Cursor loops over records itself, in the way that is natural for its system, so that no call per record is charged to anyone.
type Cursor interface {
	// Read goes on to the end of the log, or until it sees the deadline gone by: it looks about once a batch.
	Read(deadline time.Time) (Tally, error)
	Close() error
}

// A Getter reads the one record at an offset counted from 0. The value is good until the next Get; one goroutine.
type Getter interface {
	Get(offset int64) ([]byte, error)
}

// A Finder tells the offset of the first record appended at or after a time in milliseconds since the epoch.
type Finder interface {
	Find(ms int64) (int64, error)
}

// A Tailer hands over records as they come.
type Tailer interface {
	Tail() (Tail, error)
}

// A Tail waits for records. Next returns after it has shown at least one, or with the context's error.
type Tail interface {
	Next(ctx context.Context, see func(value []byte)) error
	Close() error
}

// Counted tells how many records the log holds.
type Counted interface {
	Count() (int64, error)
}

// Measured counts the system calls a store made so far. The systems that lack it are measured by the kernel's count for the process.
type Measured interface {
	Calls() Calls
}

// Calls are system calls on files and the bytes they moved.
type Calls = machine.Calls

// An Idler opens n logs, appends one record to each and lets them be. Systems without it have n stores opened by the harness.
type Idler interface {
	OpenIdle(dir string, n int) (Store, error)
}
