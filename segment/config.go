package segment

import (
	"time"

	"github.com/quirelog/quire/index"
)

// Defaults of Config, Kafka's.
const (
	DefaultIndexInterval = 4096
	DefaultIndexBytes    = 10 << 20
	DefaultMaxBatchBytes = 1<<20 + 12
)

// Config is what the segments of a log share; the zero value is safe. It must not change while a segment uses it.
type Config struct {
	// IndexInterval is how many bytes of data lie between two index entries, at least (index.interval.bytes). 0 means 4096.
	IndexInterval int
	// IndexBytes is the largest size of one index file (segment.index.bytes). 0 means 10 MiB.
	IndexBytes int
	// MaxBatchBytes is the largest batch to be expected. It limits nothing: it tells how far a search for the next good batch must look at
	// once, and from which size on a batch's length is checked against what follows it before memory is taken for it. 0 means 1 MiB.
	MaxBatchBytes int
	// PreWrite is how many bytes of zeros are written ahead of the end, each time it has come as far, so that a Sync after an append changes no
	// file size: fewer while the file is small, more for appends above a quarter of it. 1 MiB is a good value for a log that is synced with
	// each append. 0 means none.
	PreWrite int64
	// Budget is the memory for sealed indexes, for batch positions (index.BatchPositions) and for what is kept for followers; nil is
	// unlimited, and no batch positions.
	Budget *index.Budget
	// TopicID is written into side files that are made again after damage.
	TopicID [16]byte
}

func (c *Config) interval() int64 { return int64(orDefault(c.IndexInterval, DefaultIndexInterval)) }
func (c *Config) indexBytes() int { return orDefault(c.IndexBytes, DefaultIndexBytes) }
func (c *Config) maxBatch() int64 { return int64(orDefault(c.MaxBatchBytes, DefaultMaxBatchBytes)) }

func orDefault(v, d int) int {
	if v <= 0 {
		return d
	}
	return v
}

// Place is a point in a log: the next offset wanted and, if known, the position in the data file of the batch that holds it. A position is
// only good for the segment it came from; Pos < 0 means look it up. The zero value is the start of the segment at offset 0.
type Place struct{ Offset, Pos int64 }

// RollRules tell when a segment is to be followed by a new one.
type RollRules struct {
	// Bytes is the size the file is not to exceed (segment.bytes); 0 means no limit but the format's.
	Bytes int64
	// Age is how much later than the first batch a batch may be (segment.ms); 0 means no limit. Jitter is taken off it.
	Age, Jitter time.Duration
	// Now is the present in ms since the epoch, used for segments whose first batch has no timestamp.
	Now int64
}
