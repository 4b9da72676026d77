package segment

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
)

// store puts bytes in place as the data file of the segment at base in a new file system.
func store(t testing.TB, base int64, data []byte) *vfs.Mem {
	t.Helper()
	fsys := vfs.NewMem()
	newDir(t, fsys)
	require.NoError(t, vfs.WriteFile(fsys, dir+"/"+FileName(base, LogSuffix), data))
	return fsys
}

func join(list []record.Batch) []byte {
	var data []byte
	for _, b := range list {
		data = append(data, b...)
	}
	return data
}

// someBatches is n batches of mixed sizes from base on.
func someBatches(t testing.TB, base int64, n int) []record.Batch {
	var list []record.Batch
	for i := range n {
		b := makeBatch(t, base, 1+i%3, 1000+base, 10+i*7%50)
		list, base = append(list, b), b.NextOffset()
	}
	return list
}

func recoverSegment(t testing.TB, fsys vfs.FS, base int64, opt RecoverOptions) (*Segment, Recovery) {
	t.Helper()
	s, done, err := Recover(fsys, dir, base, &Config{IndexInterval: 200}, opt)
	require.NoError(t, err)
	return s, done
}

func TestRecoverEveryTornTail(t *testing.T) {
	batches := someBatches(t, 3, 6)
	data := join(batches)
	tails := map[string][]byte{"nothing": nil, "zeros": make([]byte, 300), "garbage": []byte(strings.Repeat("\xff\x02garbage", 9))}
	for name, tail := range tails {
		for cut := range len(data) + 1 {
			fsys := store(t, 3, append(append([]byte(nil), data[:cut]...), tail...))
			whole, size := 0, 0
			for whole < len(batches) && size+len(batches[whole]) <= cut {
				size += len(batches[whole])
				whole++
			}
			// A batch that ends with zeros may be completed by a tail of zeros.
			if whole < len(batches) && name == "zeros" && allZero(data[cut:size+len(batches[whole])]) {
				size += len(batches[whole])
				whole++
			}
			s, done := recoverSegment(t, fsys, 3, RecoverOptions{})
			require.EqualValues(t, size, s.Size(), "%s at %d", name, cut)
			require.Empty(t, done.Damage)
			require.Empty(t, done.SavedAs)
			require.Equal(t, name == "garbage" || cut > size && !allZero(data[size:cut]), done.CutBytes > 0, "%s at %d", name, cut)
			require.Equal(t, batches[:whole:whole], append([]record.Batch{}, readAll(t, s, 0, 500)...))
			fill(t, s, 500)
			require.NoError(t, s.Freeze(SideFacts{}))
			require.NoError(t, s.Close())
			s, err := OpenActive(fsys, dir, 3, &Config{})
			require.NoError(t, err)
			require.Greater(t, len(readAll(t, s, 0, 500)), whole)
			require.NoError(t, s.Close())
		}
	}
}

func TestRecoverFromAPlace(t *testing.T) {
	fsys := vfs.NewMem()
	newDir(t, fsys)
	cfg := &Config{IndexInterval: 500}
	s := create(t, fsys, 0, cfg)
	first := fill(t, s, 20000)
	mark := Place{s.Next(), s.Size()}
	require.NoError(t, s.AddAborted(1, 2, 3, 4))
	require.NoError(t, s.FlushIndex())
	all := append(first, fill(t, s, 5000)...)
	want, next, unindexed := s.look(), s.Next(), s.unindexed
	require.NoError(t, s.Close())

	for _, from := range []Place{{}, mark, {mark.Offset, mark.Pos + 1}, {mark.Offset + 1, mark.Pos}, {mark.Offset - 1, mark.Pos}, {1, 1 << 40}} {
		visited := 0
		s, done, err := Recover(fsys, dir, 0, cfg, RecoverOptions{From: from, Visit: func(pos int64, b record.Batch) error {
			visited++
			return nil
		}})
		require.NoError(t, err)
		if from == mark {
			assert.Equal(t, len(all)-len(first), visited)
			assert.Less(t, done.Scanned, int64(6000))
			list, _, err := s.Aborted(nil, 0, 10)
			require.NoError(t, err)
			assert.Len(t, list, 1)
			assert.False(t, done.AbortedLost)
		} else if from.Offset != mark.Offset+1 { // a smaller offset than wanted may be a gap
			assert.Equal(t, len(all), visited, "%v", from)
		}
		assert.Equal(t, next, s.Next())
		assert.Equal(t, want.maxTimestamp, s.facts.maxTimestamp)
		assert.Equal(t, want.firstTimestamp, s.facts.firstTimestamp)
		assert.Equal(t, unindexed, s.unindexed)
		assert.Equal(t, want.sparse, s.facts.sparse)
		assert.Equal(t, all, readAll(t, s, 0, 1<<16))
		if list, _, _ := s.Aborted(nil, 0, 10); len(list) == 0 {
			require.NoError(t, s.AddAborted(1, 2, 3, 4)) // from the visit
		}
		require.NoError(t, s.Seal(SideFacts{}))
		assert.Equal(t, want.headerSum, s.facts.headerSum)
		assert.Equal(t, want.batches, s.facts.batches)
		require.NoError(t, s.Close())
	}
}

func TestRecoverDamageBelowDurable(t *testing.T) {
	batches := someBatches(t, 0, 9)
	good := join(batches)
	end := batches[8].NextOffset()
	pos := 0
	for i, b := range batches {
		data := append([]byte(nil), good...)
		data[pos+30] ^= 4
		fsys := store(t, 0, data)
		s, done := recoverSegment(t, fsys, 0, RecoverOptions{Durable: end})
		require.Len(t, done.Damage, 1, "batch %d", i)
		d := done.Damage[0]
		assert.Equal(t, []int64{int64(pos), int64(pos + len(b)), b.BaseOffset(), b.NextOffset()}, []int64{d.Pos, d.End, d.FirstOffset, d.NextOffset}, "batch %d", i)
		assert.Zero(t, done.CutBytes)
		assert.Equal(t, end, s.Next())
		assert.EqualValues(t, len(good), s.Size())
		if i+1 < len(batches) {
			assert.Equal(t, batches[i+1:], readAll(t, s, b.NextOffset(), 300))
		}
		fill(t, s, 1)
		last := readAll(t, s, end, 300)
		require.Len(t, last, 1)
		assert.Equal(t, end, last[0].BaseOffset())
		require.NoError(t, s.Seal(SideFacts{}))
		require.NoError(t, s.Close())
		pos += len(b)
	}
}

func TestRecoverCutsBehindDurableAndSavesAside(t *testing.T) {
	batches := someBatches(t, 0, 9)
	data := join(batches)
	hole := len(join(batches[:5]))
	data[hole+25] ^= 1
	fsys := store(t, 0, append(data, make([]byte, 5000)...))
	s, done := recoverSegment(t, fsys, 0, RecoverOptions{Durable: batches[4].NextOffset()})
	assert.Empty(t, done.Damage)
	assert.EqualValues(t, hole, s.Size())
	require.Equal(t, filepath.Join(dir, fmt.Sprintf("%020d.log.cut-%d", 0, hole)), done.SavedAs)
	saved, err := vfs.ReadFile(fsys, done.SavedAs, -1)
	require.NoError(t, err)
	assert.Equal(t, data[hole:], saved[:len(data)-hole])
	assert.True(t, allZero(saved[len(data)-hole:]))
	assert.Equal(t, batches[:5], readAll(t, s, 0, 4096))
	_, _, ok := ParseName(done.SavedAs[len(dir)+1:])
	assert.False(t, ok)
	require.NoError(t, s.Close())

	// The same cut again keeps one copy, another one at the same place gets a name of its own.
	require.NoError(t, vfs.WriteFile(fsys, s.Path(), data))
	_, done = recoverSegment(t, fsys, 0, RecoverOptions{})
	assert.Equal(t, fmt.Sprintf("%s/%020d.log.cut-%d-1", dir, 0, hole), done.SavedAs, "other length")
	require.NoError(t, vfs.WriteFile(fsys, s.Path(), data))
	_, done2 := recoverSegment(t, fsys, 0, RecoverOptions{})
	assert.Equal(t, done.SavedAs, done2.SavedAs)
}

func TestRecoverMissingDurableTail(t *testing.T) {
	batches := someBatches(t, 0, 5)
	for _, tail := range [][]byte{nil, make([]byte, 4096)} {
		data := join(batches[:3])
		fsys := store(t, 0, append(append([]byte(nil), data...), tail...))
		s, done := recoverSegment(t, fsys, 0, RecoverOptions{Durable: batches[4].NextOffset()})
		require.Len(t, done.Damage, 1)
		d := done.Damage[0]
		assert.Equal(t, []int64{int64(len(data)), int64(len(data)), batches[3].BaseOffset(), batches[4].NextOffset()}, []int64{d.Pos, d.End, d.FirstOffset, d.NextOffset})
		assert.Equal(t, batches[4].NextOffset(), s.Next())
		assert.Equal(t, batches[:3], readAll(t, s, 0, 4096))
		fill(t, s, 1)
		assert.Len(t, readAll(t, s, d.NextOffset, 4096), 1)
	}
}

// The checksum of a batch does not cover its base offset.
func TestRecoverFlippedBaseOffset(t *testing.T) {
	batches := someBatches(t, 0, 7)
	good := join(batches)
	end := batches[6].NextOffset()
	pos := 0
	for i, b := range batches {
		for bit := range 64 {
			data := append([]byte(nil), good...)
			data[pos+7-bit/8] ^= 1 << (bit % 8)
			s, done := recoverSegment(t, store(t, 0, data), 0, RecoverOptions{Durable: end})
			require.Len(t, done.Damage, 1, "batch %d bit %d", i, bit)
			require.Equal(t, b.BaseOffset(), done.Damage[0].FirstOffset)
			require.Equal(t, b.NextOffset(), done.Damage[0].NextOffset)
			require.Equal(t, end, s.Next())
			require.NoError(t, s.Close())
		}
		pos += len(b)
	}
}

func TestRecoverReadOnly(t *testing.T) {
	batches := someBatches(t, 0, 4)
	data := append(join(batches), "torn"...)
	fsys := store(t, 0, data)
	s, done, err := Recover(vfs.ReadOnly(fsys), dir, 0, &Config{}, RecoverOptions{ReadOnly: true})
	require.NoError(t, err)
	assert.EqualValues(t, 4, done.CutBytes)
	assert.Equal(t, batches, readAll(t, s, 0, 4096))
	now, err := vfs.ReadFile(fsys, s.Path(), -1)
	require.NoError(t, err)
	assert.Equal(t, data, now)
	names, err := fsys.List(dir)
	require.NoError(t, err)
	assert.Len(t, names, 1)
}

func FuzzRecover(f *testing.F) {
	batches := someBatches(f, 0, 6)
	data := join(batches)
	f.Add(data, int64(0), int64(0), int64(0))
	f.Add(data[:len(data)-3], int64(4), int64(0), int64(0))
	f.Add(append(append([]byte(nil), data...), make([]byte, 100)...), batches[2].BaseOffset(), batches[2].BaseOffset(), int64(len(join(batches[:2]))))
	f.Fuzz(func(t *testing.T, data []byte, durable, offset, pos int64) {
		fsys := store(t, 0, data)
		cfg := &Config{IndexInterval: 100, MaxBatchBytes: 4096}
		opt := RecoverOptions{Durable: durable, From: Place{offset, pos}, Visit: func(int64, record.Batch) error { return nil }}
		s, done, err := Recover(fsys, dir, 0, cfg, opt)
		require.NoError(t, err)
		walk(t, s)
		next, size := s.Next(), s.Size()
		require.NoError(t, s.Close())
		again, redone, err := Recover(fsys, dir, 0, cfg, opt)
		require.NoError(t, err)
		require.Equal(t, []int64{next, size}, []int64{again.Next(), again.Size()}, "recovery is idempotent")
		require.Zero(t, redone.CutBytes)
		// The second one may trust, by the indexes that the first one made, a part in front of From that the first had to check.
		require.LessOrEqual(t, len(redone.Damage), len(done.Damage))
		require.NoError(t, again.Seal(SideFacts{}))
		walk(t, again)
		require.NoError(t, again.Close())
	})
}

// walk reads a segment that may be damaged from every side; nothing may panic or go round in circles.
func walk(t testing.TB, s *Segment) {
	place, steps := Place{0, -1}, 0
	for place.Offset < s.Next() {
		run, next, err := s.Read(nil, place, s.Next(), 300)
		if err != nil {
			var damage *CorruptionError
			require.ErrorAs(t, err, &damage)
			if damage.NextOffset <= place.Offset {
				return
			}
			place = Place{damage.NextOffset, -1}
			continue
		}
		if len(run) == 0 {
			return
		}
		pos, n, _, err := s.RangeFrom(place, s.Next(), 300)
		require.NoError(t, err)
		require.LessOrEqual(t, pos+n, s.Size())
		require.Greater(t, next.Offset, place.Offset)
		place = next
		if steps++; steps > 1000 {
			t.Fatal("no end")
		}
	}
	_, _, _, err := s.FindTime(0, 0, 0)
	if err != nil {
		require.ErrorIs(t, err, ErrCorrupt)
	}
}
