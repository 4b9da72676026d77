package segment

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
)

const dir = "/t-0"

// makeBatch makes a batch of count records from base on with values of size bytes and timestamps from ts on, one ms apart; ts < 0: none.
func makeBatch(t testing.TB, base int64, count int, ts int64, size int) record.Batch {
	t.Helper()
	b := record.NewBuilder(record.BuilderConfig{})
	noise := rand.New(rand.NewPCG(uint64(base), 7))
	for i := range count {
		value := make([]byte, size)
		for j := range value {
			value[j] = byte(noise.Uint32())
		}
		at := ts
		if ts >= 0 {
			at += int64(i)
		}
		require.NoError(t, b.Add(&record.Record{Timestamp: at, Key: []byte("k"), Value: value}))
	}
	batch, err := b.Seal()
	require.NoError(t, err)
	batch = append(record.Batch(nil), batch...)
	batch.SetBaseOffset(base)
	batch.SetLeaderEpoch(1)
	return batch
}

// newDir makes a directory for segments.
func newDir(t testing.TB, fsys vfs.FS) {
	t.Helper()
	require.NoError(t, fsys.MkdirAll(dir))
	require.NoError(t, fsys.SyncDir("/"))
}

// fill appends batches of two records, total bytes at least, from the segment's end on; timestamps are 1000 + 10*offset. It returns the batches.
func fill(t testing.TB, s *Segment, total int) []record.Batch {
	t.Helper()
	var list []record.Batch
	for n := 0; n < total; {
		b := makeBatch(t, s.Next(), 2, 1000+10*s.Next(), 100)
		require.NoError(t, s.Append(b))
		list = append(list, b)
		n += len(b)
	}
	return list
}

func create(t testing.TB, fsys vfs.FS, base int64, cfg *Config) *Segment {
	t.Helper()
	s, err := Create(fsys, dir, base, cfg)
	require.NoError(t, err)
	return s
}

// readAll reads a segment from an offset on in runs of at most max bytes, checks checksums and order, and returns the batches.
func readAll(t testing.TB, s *Segment, from int64, max int) []record.Batch {
	t.Helper()
	var list []record.Batch
	var buf []byte
	place := Place{from, -1}
	for {
		run, next, err := s.Read(buf, place, s.Next(), max)
		require.NoError(t, err)
		if len(run) == 0 {
			return list
		}
		for b, err := range record.Batches(run) {
			require.NoError(t, err)
			require.NoError(t, b.Check())
			list = append(list, append(record.Batch(nil), b...))
		}
		require.Greater(t, next.Offset, place.Offset)
		place, buf = next, run
	}
}
