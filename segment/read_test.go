package segment

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
)

// expected is what Read should give, by the plain rule.
func expected(list []record.Batch, offset, bound int64, max int) (run []byte, next int64) {
	next = offset
	for _, b := range list {
		if b.NextOffset() <= offset {
			continue
		}
		if b.NextOffset() > bound || len(run) > 0 && len(run)+len(b) > max {
			break
		}
		run, next = append(run, b...), b.NextOffset()
	}
	return run, next
}

func TestReadAgainstTheRule(t *testing.T) {
	for _, sparse := range []bool{false, true} {
		fsys := vfs.NewMem()
		newDir(t, fsys)
		s := create(t, fsys, 50, &Config{IndexInterval: 300})
		dice := rand.New(rand.NewPCG(1, 2))
		var list []record.Batch
		for range 150 {
			base := s.Next()
			if sparse {
				base += dice.Int64N(3) * dice.Int64N(20)
			}
			size := dice.IntN(60)
			if dice.IntN(20) == 0 {
				size = 40000
			}
			b := makeBatch(t, base, 1+dice.IntN(4), base, size)
			require.NoError(t, s.Append(b))
			list = append(list, b)
		}
		assert.Equal(t, sparse, s.Sparse())
		for step := range 3 {
			checkReads(t, s, list, dice)
			switch step {
			case 0:
				require.NoError(t, s.Seal(SideFacts{}))
			case 1:
				require.NoError(t, s.Close())
				s = OpenSealed(fsys, dir, 50, s.Next(), &Config{IndexInterval: 300, Budget: NewIndexBudget(0)})
			}
		}
		require.NoError(t, s.Close())
	}
}

func checkReads(t *testing.T, s *Segment, list []record.Batch, dice *rand.Rand) {
	t.Helper()
	end := list[len(list)-1].NextOffset()
	rounds := 400
	if raceBuild {
		rounds = 60
	}
	for range rounds {
		offset, bound := 40+dice.Int64N(end-30), int64(1<<40)
		if dice.IntN(3) == 0 {
			bound = 50 + dice.Int64N(end-40)
		}
		max := []int{0, 1, 200, 1000, 5000, 100000, 1 << 20}[dice.IntN(7)]
		want, next := expected(list, offset, bound, max)
		place := Place{offset, -1}
		if dice.IntN(4) == 0 {
			place.Pos = dice.Int64N(s.Size() + 10) // nonsense that must not hurt
		}
		run, place, err := s.Read(nil, place, bound, max)
		require.NoError(t, err)
		if len(want) == 0 {
			require.Empty(t, run)
			continue
		}
		require.NotEmpty(t, run)
		if len(run) == len(want) {
			require.Equal(t, next, place.Offset, "from %d bound %d max %d", offset, bound, max)
		}
		// A run may end early where the bytes read at once ended, but never short of its first batch.
		require.Equal(t, want[:len(run)], run)
		pos, n, on, err := s.RangeFrom(Place{offset, -1}, bound, max)
		require.NoError(t, err)
		require.EqualValues(t, len(want), n, "from %d bound %d max %d", offset, bound, max)
		raw := make([]byte, n)
		require.NoError(t, s.ReadAt(raw, pos))
		require.Equal(t, want, raw)
		require.Equal(t, Place{next, pos + n}, on)
		if next < bound && next < end {
			more, _, err := s.Read(run, on, bound, max)
			require.NoError(t, err)
			want, _ := expected(list, next, bound, max)
			require.Equal(t, want[:min(len(more), len(want))], append([]byte(nil), more...))
			require.Equal(t, len(want) > 0, len(more) > 0)
		}
	}
}

func TestReadWhileAppending(t *testing.T) {
	fsys := vfs.NewMem()
	newDir(t, fsys)
	s := create(t, fsys, 0, &Config{IndexInterval: 512, PreWrite: 8 << 10})
	var readers sync.WaitGroup
	const last = 2000
	for i := range 3 {
		readers.Go(func() {
			dice := rand.New(rand.NewPCG(uint64(i), 3))
			var buf []byte
			place := Place{0, -1}
			for place.Offset < last {
				if i == 0 {
					place.Pos = -1
				}
				run, next, err := s.Read(buf, place, s.Next(), 1+dice.IntN(10000))
				if !assert.NoError(t, err) {
					return
				}
				for b, err := range record.Batches(run) {
					if !assert.NoError(t, err) || !assert.NoError(t, b.Check()) || !assert.Equal(t, place.Offset, b.BaseOffset()) {
						return
					}
					place.Offset = b.NextOffset()
				}
				place, buf = next, run
				_ = s.Sync()
			}
		})
	}
	for s.Next() < last {
		fill(t, s, 1)
	}
	readers.Wait()
}

func TestTruncateWhileReading(t *testing.T) {
	fsys := vfs.NewMem()
	newDir(t, fsys)
	s := create(t, fsys, 0, &Config{IndexInterval: 300})
	fill(t, s, 5000)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	readers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			run, _, err := s.Read(nil, Place{10, -1}, 1<<40, 4000)
			if !assert.NoError(t, err) || !assert.NotEmpty(t, run) {
				return
			}
		}
	})
	for range 300 {
		require.NoError(t, s.Truncate(20))
		fill(t, s, 3000)
	}
	close(stop)
	readers.Wait()
}

// Every bit of a sealed segment's files: an error, or the same data.
func TestEveryBitOfASealedSegment(t *testing.T) {
	stride := 1
	if raceBuild {
		stride = 7 // one bit of each byte in turn
	}
	for _, sparse := range []bool{false, true} {
		fsys := vfs.NewMem()
		newDir(t, fsys)
		cfg := &Config{IndexInterval: 200}
		s := create(t, fsys, 0, cfg)
		for i := range 8 {
			base := s.Next()
			if sparse {
				base += int64(i % 3)
			}
			require.NoError(t, s.Append(makeBatch(t, base, 2, 1000*base, 20)))
		}
		want := readAll(t, s, 0, 1<<20)
		next := s.Next()
		require.NoError(t, s.AddAborted(1, 2, 3, 4))
		require.NoError(t, s.Seal(SideFacts{}))
		require.NoError(t, s.Close())
		names, err := fsys.List(dir)
		require.NoError(t, err)
		require.Len(t, names, 5)
		for _, name := range names {
			good, err := vfs.ReadFile(fsys, dir+"/"+name, -1)
			require.NoError(t, err)
			for bit := 0; bit < len(good)*8; bit += stride {
				bad := append([]byte(nil), good...)
				bad[bit/8] ^= 1 << (bit % 8)
				require.NoError(t, vfs.WriteFile(fsys, dir+"/"+name, bad))
				s := OpenSealed(fsys, dir, 0, next, cfg)
				damaged := readDamaged(t, s, want, next)
				_, kind, _ := ParseName(name)
				// The leader epoch of a batch (bytes 12 to 15) is the business of the epoch history, and of Verify.
				if kind == KindLog && !damaged {
					damaged = s.Verify() != nil
				}
				require.Equal(t, kind == KindLog, damaged, "%s bit %d", name, bit)
				require.NoError(t, s.Close())
			}
			require.NoError(t, vfs.WriteFile(fsys, dir+"/"+name, good))
		}
	}
}

// readDamaged reads all it can, insists that it is what was written, and tells whether something was missing.
func readDamaged(t *testing.T, s *Segment, want []record.Batch, next int64) (damaged bool) {
	t.Helper()
	have := map[int64]record.Batch{}
	for _, b := range want {
		have[b.BaseOffset()] = b
	}
	got := 0
	for place := (Place{0, -1}); place.Offset < next; {
		run, after, err := s.Read(nil, place, 1<<40, 1<<16)
		if err != nil {
			var damage *CorruptionError
			require.ErrorAs(t, err, &damage)
			require.Greater(t, damage.NextOffset, place.Offset)
			damaged, place = true, Place{damage.NextOffset, -1}
			continue
		}
		if len(run) == 0 {
			break
		}
		for b, err := range record.Batches(run) {
			require.NoError(t, err)
			if b.Check() != nil {
				damaged = true
				continue
			}
			require.True(t, have[b.BaseOffset()] != nil, "no batch at %d", b.BaseOffset())
			require.Equal(t, have[b.BaseOffset()][17:], b[17:])
			got++
		}
		place = after
	}
	for ts := int64(0); ts < 16000; ts += 5000 {
		_, _, _, err := s.FindTime(ts, 0, 0)
		damaged = damaged || err != nil
	}
	return damaged || got != len(want)
}

// A read that a cut and other batches overtake tells what is there now, not what was.
func TestReadThatACutOvertakes(t *testing.T) {
	disk := vfs.NewFault(vfs.NewMem())
	newDir(t, disk)
	s := create(t, disk, 0, &Config{})
	batches := fill(t, s, 2000)
	last := batches[len(batches)-1]
	var now record.Batch
	disk.Add(vfs.Rule{Op: vfs.OpRead, Path: "*.log", Hook: func(vfs.Op, string) {
		assert.NoError(t, s.Truncate(batches[1].BaseOffset()))
		for s.Next() <= last.LastOffset() {
			now = makeBatch(t, s.Next(), 3, 5000, 70)
			assert.NoError(t, s.Append(now))
		}
	}})
	run, next, err := s.Read(nil, Place{last.BaseOffset(), s.Size() - int64(len(last))}, 1<<40, 1<<20)
	require.NoError(t, err)
	require.Equal(t, now, record.Batch(run))
	require.Equal(t, Place{s.Next(), s.Size()}, next)
}

// Where offsets have gaps, a last batch under another offset is told from the end that the segment is known to have.
func TestLastBatchUnderAnotherOffset(t *testing.T) {
	fsys := vfs.NewMem()
	newDir(t, fsys)
	s := create(t, fsys, 0, &Config{})
	s.MarkSparse()
	list := []record.Batch{makeBatch(t, 0, 2, 1000, 50), makeBatch(t, 10, 1, 2000, 50)}
	for _, b := range list {
		require.NoError(t, s.Append(b))
	}
	require.NoError(t, s.Seal(SideFacts{Sparse: true}))
	require.NoError(t, s.Close())
	s = OpenSealed(fsys, dir, 0, 11, &Config{})
	require.Equal(t, list, readAll(t, s, 0, 1000))
	data := join(list)
	data[len(list[0])+7] = 8
	require.NoError(t, s.Close())
	s = OpenSealed(fsys, dir, 0, 11, &Config{})
	require.Equal(t, list, readAll(t, s, 0, 1000), "sound when it was opened")
	f, err := fsys.Open(s.Path())
	require.NoError(t, err)
	_, err = f.WriteAt(data, 0)
	require.NoError(t, err)
	_, _, err = s.Read(nil, Place{2, -1}, 11, 1000)
	require.ErrorIs(t, err, ErrCorrupt)
	require.NoError(t, errors.Join(f.Close(), s.Close()))
}

// A sweep from an offset on shows the batch that holds it and all behind.
func TestSweepFrom(t *testing.T) {
	fsys := vfs.NewMem()
	newDir(t, fsys)
	s := create(t, fsys, 3, &Config{IndexInterval: 200})
	batches := someBatches(t, 3, 12)
	for _, b := range batches {
		require.NoError(t, s.Append(b))
	}
	require.NoError(t, s.Seal(SideFacts{}))
	for from := int64(0); from <= s.Next(); from++ {
		var want, got []record.Batch
		for _, b := range batches {
			if b.LastOffset() >= from {
				want = append(want, b)
			}
		}
		require.NoError(t, s.Sweep(&Sweeper{}, from, func(b record.Batch) error {
			got = append(got, slices.Clone(b))
			return nil
		}))
		require.Equal(t, want, got, "from %d", from)
	}
	require.NoError(t, s.Close())
}
