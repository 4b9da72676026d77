package segment

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/compress"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
)

// batchOf seals n records with distinct values of about size bytes at an offset.
func batchOf(t testing.TB, base int64, n, size int, c compress.Codec) record.Batch {
	t.Helper()
	b := record.NewBuilder(record.BuilderConfig{Codec: c})
	for i := range n {
		v := fmt.Appendf(nil, "%d:", base+int64(i))
		v = append(v, make([]byte, rand.IntN(size))...)
		require.NoError(t, b.Add(&record.Record{Timestamp: 1000 + base + int64(i), Value: v}))
	}
	batch, err := b.Seal()
	require.NoError(t, err)
	batch.SetBaseOffset(base)
	return batch
}

func requireFound(t *testing.T, s *Segment, f *Finder, offset int64) {
	t.Helper()
	r, ok, err := s.Find(f, offset, s.Next())
	require.NoError(t, err)
	require.True(t, ok, "offset %d", offset)
	require.Equal(t, offset, r.Offset)
	require.Equal(t, 1000+offset, r.Timestamp)
	require.Contains(t, string(r.Value), fmt.Sprintf("%d:", offset))
}

func TestFindReadsEveryRecordTwice(t *testing.T) {
	fs := vfs.NewMem()
	require.NoError(t, fs.MkdirAll("d"))
	s, err := Create(fs, "d", 100, &Config{})
	require.NoError(t, err)
	defer s.Close()
	next := int64(100)
	for i, n := range []int{1, 700, 3, 900, 200, 1, 40} {
		c := compress.None
		if i == 4 {
			c = compress.LZ4
		}
		b := batchOf(t, next, n, 200, c)
		require.NoError(t, s.Append(b))
		next = b.NextOffset()
	}
	var f Finder
	for range 2 { // the second time by its record index
		for offset := int64(100); offset < next; offset++ {
			requireFound(t, s, &f, offset)
		}
	}
	for _, step := range []int64{2, 7, 40, -1, -3} { // what the finder holds is behind, ahead, or not there
		for i := range (next - 101) / max(step, -step) {
			offset := 100 + i*step
			if step < 0 {
				offset = next - 1 + i*step
			}
			requireFound(t, s, &f, offset)
			requireFound(t, s, &f, offset)
		}
	}
	require.Equal(t, 2, s.own.Load().Held(), "large and uncompressed batches have a record index")
	_, ok, err := s.Find(&f, next-1, next-1)
	require.NoError(t, err)
	require.False(t, ok, "a record at the bound is not seen")
}

func TestFindChecksBeforeItTrusts(t *testing.T) {
	fs := vfs.NewMem()
	require.NoError(t, fs.MkdirAll("d"))
	s, err := Create(fs, "d", 0, &Config{})
	require.NoError(t, err)
	defer s.Close()
	b := batchOf(t, 0, 900, 200, compress.None)
	require.NoError(t, s.Append(b))
	require.NoError(t, s.Append(batchOf(t, 900, 1, 10, compress.None)))
	file, err := fs.Open(filepath.Join("d", FileName(0, ".log")))
	require.NoError(t, err)
	_, err = file.WriteAt([]byte{^b[len(b)-1]}, int64(len(b)-1))
	require.NoError(t, err)
	require.NoError(t, file.Close())
	var f Finder
	_, _, err = s.Find(&f, 3, s.Next())
	var damage *CorruptionError
	require.ErrorAs(t, err, &damage)
	require.EqualValues(t, 0, damage.FirstOffset)
	require.EqualValues(t, 900, damage.NextOffset)
}

func TestFindForgetsWhatWasCut(t *testing.T) {
	fs := vfs.NewMem()
	require.NoError(t, fs.MkdirAll("d"))
	s, err := Create(fs, "d", 0, &Config{})
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, s.Append(batchOf(t, 0, 500, 200, compress.None)))
	require.NoError(t, s.Append(batchOf(t, 500, 500, 200, compress.None)))
	var f Finder
	requireFound(t, s, &f, 700)
	require.NoError(t, s.Truncate(500))
	_, ok, err := s.Find(&f, 700, s.Next())
	require.NoError(t, err)
	require.False(t, ok)
	require.NoError(t, s.Append(batchOf(t, 500, 400, 300, compress.None)))
	for offset := int64(0); offset < 900; offset++ {
		requireFound(t, s, &f, offset)
		requireFound(t, s, &f, offset)
	}
}

func TestFindBesideAppendsAndCuts(t *testing.T) {
	fs := vfs.NewMem()
	require.NoError(t, fs.MkdirAll("d"))
	s, err := Create(fs, "d", 0, &Config{})
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, s.Append(batchOf(t, 0, 400, 200, compress.None)))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			var f Finder
			for {
				select {
				case <-stop:
					return
				default:
				}
				offset := rand.Int64N(s.Next())
				r, ok, err := s.Find(&f, offset, s.Next())
				if err == nil && ok && r.Offset != offset {
					t.Errorf("asked for %d, got %d", offset, r.Offset)
				}
			}
		})
	}
	for range 8 {
		require.NoError(t, s.Append(batchOf(t, 400, 400, 200, compress.None)))
		require.NoError(t, s.Truncate(400))
	}
	close(stop)
	wg.Wait()
}

// Records of a large batch that are asked for one after the other share reads.
func TestFindOfRecordsInARowReadsLittle(t *testing.T) {
	disk := vfs.NewFault(vfs.NewMem())
	require.NoError(t, disk.MkdirAll("d"))
	s, err := Create(disk, "d", 0, &Config{})
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, s.Append(batchOf(t, 0, 900, 200, compress.None)))
	var f Finder
	requireFound(t, s, &f, 0)
	before := disk.Count(vfs.OpRead)
	for offset := range int64(900) {
		requireFound(t, s, &f, offset)
	}
	require.Less(t, disk.Count(vfs.OpRead)-before, int64(900/8))
}
