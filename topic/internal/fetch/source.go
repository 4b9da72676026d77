package fetch

import (
	"context"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
)

// Config is what every reader of partitions has.
type Config struct {
	Bound             log.Bound // how far it sees; log.Stable leaves out what was aborted
	MaxPartitionBytes int       // the most that is read from one partition at a time; a larger batch comes whole
	SkipChecksums     bool
	Reset             Policy // of a position that is not in the partition
}

// Source is a partition, whose records are handed out as R.
type Source[R any] interface {
	Name() (topic string, partition int32)
	Dir() string
	// Calls are those that a context may leave alone.
	Calls() *bounded.Calls

	// Log is the open log, nil if there is none: not yet opened, or ended.
	Log() *log.Log
	Open(ctx context.Context) (*log.Log, error)
	// NeverUsed tells that there is nothing in the partition, without opening it.
	NeverUsed() bool
	// AddWatcher has w told of changes and of the partition's end; it opens nothing.
	AddWatcher(w log.Watcher) error
	RemoveWatcher(w log.Watcher)
	OffsetFor(ctx context.Context, l *log.Log, millis int64, b log.Bound) (log.TimeOffset, bool, error)

	// Decode appends the records of b that d wants to dst.
	Decode(d *Decoder, b record.Batch, dst []R) ([]R, error)

	// Fault is an error of the log as users see it; the context's own stays.
	Fault(ctx context.Context, err error) error
	// Fetched counts what was read and decoded, Reset tells that a position was not in the partition.
	Fetched(bytes, records int)
	Reset(from, to int64, p Policy)
}
