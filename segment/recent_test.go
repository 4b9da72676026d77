package segment

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/index"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
)

// countReads counts the reads of data files.
func countReads(fsys vfs.FS) (vfs.FS, *atomic.Int64) {
	var n atomic.Int64
	hook := func(vfs.Op, string) { n.Add(1) }
	return vfs.NewFault(fsys, vfs.Rule{Op: vfs.OpRead, Path: "*.log", Count: vfs.Forever, Hook: hook}), &n
}

func TestFollowerAsksTheDiskOnce(t *testing.T) {
	for _, size := range []int{10, 3000, 60_000, 120_000} {
		disk, reads := countReads(vfs.NewMem())
		newDir(t, disk)
		s := create(t, disk, 0, &Config{})
		var buf []byte
		at := Place{Offset: 0, Pos: -1}
		b := makeBatch(t, 0, 1, 1000, size)
		for i := range 80 {
			b.SetBaseOffset(s.Next())
			require.NoError(t, s.Append(b))
			run, next, err := s.Read(buf, at, s.Next(), 1<<20)
			require.NoError(t, err)
			require.Equal(t, []byte(b), run)
			require.Equal(t, Place{s.Next(), s.Size()}, next)
			if i == 0 {
				require.EqualValues(t, 1, reads.Load(), "the first read finds that somebody follows")
			}
			buf, at = run, next
		}
		require.EqualValues(t, 1, reads.Load(), "%d bytes a record", size)
		require.LessOrEqual(t, keptBytes(s), 2*mostStretch)
	}
}

// keptBytes is the memory of the tail.
func keptBytes(s *Segment) (n int) {
	if t := s.recent.kept.Load(); t != nil {
		for i := range t.stretches {
			if st := t.stretches[i].Load(); st != nil {
				n += len(st.buf)
			}
		}
	}
	return n
}

func TestFollowerThatLagsGetsALongerTail(t *testing.T) {
	disk, reads := countReads(vfs.NewMem())
	newDir(t, disk)
	s := create(t, disk, 0, &Config{})
	var buf []byte
	at, late := Place{Offset: 0, Pos: -1}, int64(0)
	for round := range 40 {
		fill(t, s, 60_000)
		before := reads.Load()
		for at.Offset < s.Next() {
			run, next, err := s.Read(buf, at, s.Next(), 1<<20)
			require.NoError(t, err)
			buf, at = run, next
		}
		if round >= 20 {
			late += reads.Load() - before
		}
	}
	require.Zero(t, late, "once the tail is as long as the follower lags")
}

func TestNobodyFollows(t *testing.T) {
	s := create(t, newMemDir(t), 0, &Config{})
	fill(t, s, 100_000)
	require.False(t, s.Followed(), "nobody has read")
	_, _, err := s.Read(nil, Place{0, -1}, s.Next(), 1<<20)
	require.NoError(t, err)
	require.False(t, s.Followed(), "nothing was written since")
	fill(t, s, 100)
	require.True(t, s.Followed())
	require.LessOrEqual(t, keptBytes(s), firstStretch)
	fill(t, s, 3*firstStretch)
	require.False(t, s.Followed(), "given up after as much as it holds")

	end := Place{s.Next(), s.Size()}
	follow := func() {
		for range 3 {
			fill(t, s, 100)
			_, next, err := s.Read(nil, end, s.Next(), 1<<20)
			require.NoError(t, err)
			end = next
		}
		require.True(t, s.Followed())
	}
	follow()
	s.Unfollow()
	require.True(t, s.Followed(), "was read since nobody looked")
	s.Unfollow()
	require.False(t, s.Followed(), "idle")
	follow()
	require.NoError(t, s.Truncate(s.Next()-1))
	require.False(t, s.Followed(), "cut")
	end = Place{s.Next(), s.Size()}
	follow()
	require.NoError(t, s.Seal(SideFacts{}))
	require.False(t, s.Followed(), "sealed")
}

func newMemDir(t testing.TB) vfs.FS {
	fsys := vfs.NewMem()
	newDir(t, fsys)
	return fsys
}

// TestRecentIsTheFile appends, truncates, seals and unseals at random and compares what followers and late readers get with the file.
func TestRecentIsTheFile(t *testing.T) {
	for seed := range uint64(6) {
		dice := rand.New(rand.NewPCG(seed, 1))
		disk := newMemDir(t)
		s := create(t, disk, 0, &Config{})
		served := 0
		for range 400 {
			switch n := dice.IntN(40); {
			case n == 0 && s.Next() > 0:
				require.NoError(t, s.Truncate(s.Next()-dice.Int64N(min(s.Next(), 50))))
			case n == 1:
				require.NoError(t, s.Seal(SideFacts{}))
			case n < 30:
				require.NoError(t, s.Append(makeBatch(t, s.Next(), 1+dice.IntN(3), 1000, 1<<dice.IntN(15))))
			}
			size := s.Size()
			back := min(size, 1<<dice.IntN(18))
			if dice.IntN(3) == 0 { // a follower, which also says that somebody follows
				_, _, err := s.Read(nil, Place{max(s.Next()-3, 0), -1}, s.Next(), 1<<20)
				require.NoError(t, err)
			}
			if back == 0 {
				continue
			}
			from := size - back
			got, want := make([]byte, dice.Int64N(back)+1), make([]byte, back)
			if s.recent.read(got, from) {
				served++
				f, err := s.data()
				require.NoError(t, err)
				_, err = f.ReadAt(want[:len(got)], from)
				require.NoError(t, err)
				require.Equal(t, want[:len(got)], got)
			}
		}
		require.Positive(t, served)
		require.NoError(t, s.Close())
	}
}

func TestFollowersWhileAppendingAndCutting(t *testing.T) {
	budget := index.NewBudget(1 << 20)
	s := create(t, newMemDir(t), 0, &Config{Budget: budget})
	var stop atomic.Bool
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			defer s.Unfollow()
			var buf []byte
			at := Place{0, -1}
			for !stop.Load() {
				run, next, err := s.Read(buf, at, s.Next(), 64<<10)
				if err != nil {
					t.Error(err)
					return
				}
				for b, err := range record.Batches(run) {
					if err == nil {
						err = b.Check()
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
				buf, at = run, next
				if len(run) == 0 {
					at = Place{max(s.Next()-2, 0), -1} // the end, or it was cut
					runtime.Gosched()
				}
			}
		})
	}
	for i := range 500 {
		if err := s.Append(makeBatch(t, s.Next(), 1, 1000, 200+1000*(i%7))); err != nil {
			t.Error(err)
		}
		if i%50 == 49 {
			if err := s.Truncate(s.Next() - 5); err != nil {
				t.Error(err)
			}
		}
		if i%100 == 0 {
			s.Unfollow()
		}
	}
	stop.Store(true)
	readers.Wait()
	require.NoError(t, s.Close())
	require.Zero(t, budget.Lent())
}

// TestFollowersShareABudget: who gets nothing of it reads the file, and what is given back others get.
func TestFollowersShareABudget(t *testing.T) {
	budget := index.NewBudget(4 * 4 * firstStretch)
	cfg := &Config{Budget: budget}
	disk := newMemDir(t)
	var list []*Segment
	for i := range int64(8) {
		list = append(list, create(t, disk, i*1_000_000, cfg))
	}
	follow := func(s *Segment) {
		at := Place{s.Next(), s.Size()}
		for range 200 {
			fill(t, s, 100)
			run, next, err := s.Read(nil, at, s.Next(), 1<<20)
			require.NoError(t, err)
			require.Len(t, run, int(next.Pos-at.Pos))
			at = next
			require.LessOrEqual(t, budget.Lent(), int64(4*firstStretch))
		}
	}
	for _, s := range list {
		follow(s)
	}
	kept := 0
	for _, s := range list {
		kept += keptBytes(s)
	}
	require.EqualValues(t, kept, budget.Lent())
	require.EqualValues(t, 4*firstStretch, budget.Lent())
	for i, s := range list {
		switch i % 3 {
		case 0:
			require.NoError(t, s.Seal(SideFacts{}))
		case 1:
			require.NoError(t, s.Truncate(s.Base()))
		case 2:
			s.Unfollow()
			s.Unfollow()
		}
	}
	require.Zero(t, budget.Lent())
	require.NoError(t, list[0].Unseal())
	follow(list[0])
	require.EqualValues(t, 2*firstStretch, budget.Lent())
	for _, s := range list {
		require.NoError(t, s.Close())
	}
	require.Zero(t, budget.Lent())
}
