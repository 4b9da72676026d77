package segment

import (
	"io/fs"
	"slices"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/index"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
)

func TestLifeOfASegment(t *testing.T) {
	fsys := vfs.NewMem()
	newDir(t, fsys)
	cfg := &Config{PreWrite: 64 << 10}
	s := create(t, fsys, 10, cfg)
	want := fill(t, s, 100<<10)
	assert.Equal(t, want, readAll(t, s, 0, 1<<20))
	require.NoError(t, s.Sync())
	size, next := s.Size(), s.Next()
	require.NoError(t, s.Freeze(SideFacts{TopicID: [16]byte{7}}))
	require.NoError(t, s.Close())
	info, err := fsys.Stat(s.Path())
	require.NoError(t, err)
	assert.Equal(t, size, info.Size, "what was written ahead is cut off")

	s, err = OpenActive(fsys, dir, 10, cfg)
	require.NoError(t, err)
	assert.Zero(t, fsys.OpenFiles())
	assert.Equal(t, []int64{size, next}, []int64{s.Size(), s.Next()})
	id, err := s.TopicID()
	require.NoError(t, err)
	assert.Equal(t, [16]byte{7}, id)
	assert.Equal(t, want[3:], readAll(t, s, want[3].BaseOffset(), 4096))
	require.NoError(t, s.Unseal())
	_, err = fsys.Stat(s.path(KindSums, 0))
	assert.ErrorIs(t, err, fs.ErrNotExist)
	want = append(want, fill(t, s, 20<<10)...)
	require.NoError(t, s.Seal(SideFacts{}))
	ts, offset := s.MaxTimestamp()
	require.NoError(t, s.Close())
	assert.Zero(t, fsys.OpenFiles())

	s = OpenSealed(fsys, dir, 10, 100000, cfg)
	assert.EqualValues(t, 100000, s.Next(), "nothing is read before first use")
	assert.Equal(t, want, readAll(t, s, 0, 1<<20))
	ts2, offset2 := s.MaxTimestamp()
	assert.Equal(t, []int64{ts, offset, want[0].MaxTimestamp()}, []int64{ts2, offset2, s.FirstTimestamp()})
	assert.Equal(t, want[len(want)-1].NextOffset(), s.Next())
	assert.False(t, s.Sparse())
	require.NoError(t, s.Close())
	assert.Zero(t, fsys.OpenFiles())
	_, _, err = s.Read(nil, Place{10, -1}, 1<<40, 1)
	assert.ErrorIs(t, err, fs.ErrClosed)
}

// The indexes of the reopened segment must be those of one that was never closed, but for the time entry that closing forces.
func TestIndexContents(t *testing.T) {
	fsys := vfs.NewMem()
	newDir(t, fsys)
	s := create(t, fsys, 0, &Config{IndexInterval: 1000})
	var wantOffsets [][2]int64
	pos, since := int64(0), int64(0)
	for _, b := range fill(t, s, 20000) {
		if since > 1000 {
			wantOffsets = append(wantOffsets, [2]int64{b.LastOffset(), pos})
			since = 0
		}
		since += int64(len(b))
		pos += int64(len(b))
	}
	require.NoError(t, s.Seal(SideFacts{}))
	data, err := vfs.ReadFile(fsys, s.path(KindIndex, 0), -1)
	require.NoError(t, err)
	require.Equal(t, len(wantOffsets)*index.OffsetEntrySize, len(data))
	times, err := vfs.ReadFile(fsys, s.path(KindTimeIndex, 0), -1)
	require.NoError(t, err)
	require.Equal(t, (len(wantOffsets)+1)*index.TimeEntrySize, len(times), "one time entry more, at the end")
	for _, w := range wantOffsets {
		a, err := s.offsets.Around(w[0])
		require.NoError(t, err)
		assert.Equal(t, w, [2]int64{a.Offset, a.Pos})
		ts, offset, err := s.times.Floor(1000 + 10*(w[0]-1) + 1)
		require.NoError(t, err)
		assert.Equal(t, []int64{1000 + 10*(w[0]-1) + 1, w[0]}, []int64{ts, offset})
	}
	ts, offset, err := s.times.Last()
	require.NoError(t, err)
	assert.Equal(t, []int64{1000 + 10*(s.Next()-2) + 1, s.Next() - 1}, []int64{ts, offset})
}

func TestCreateOverLeftovers(t *testing.T) {
	fsys := vfs.NewMem()
	newDir(t, fsys)
	require.NoError(t, vfs.WriteFile(fsys, dir+"/00000000000000000005.log", nil))
	require.NoError(t, vfs.WriteFile(fsys, dir+"/00000000000000000005.index", []byte("12345678")))
	s := create(t, fsys, 5, &Config{})
	_, err := fsys.Stat(s.path(KindIndex, 0))
	assert.ErrorIs(t, err, fs.ErrNotExist)
	fill(t, s, 1)
	_, err = Create(fsys, dir, 5, &Config{})
	assert.ErrorIs(t, err, fs.ErrExist)
	_, err = Create(fsys, dir, -1, &Config{})
	assert.ErrorIs(t, err, ErrInvalid)
}

func TestOpenActiveWithoutValidSide(t *testing.T) {
	fsys := vfs.NewMem()
	newDir(t, fsys)
	s := create(t, fsys, 0, &Config{})
	fill(t, s, 1000)
	_, err := OpenActive(fsys, dir, 0, &Config{})
	assert.ErrorIs(t, err, ErrNoSide)
	require.NoError(t, s.Freeze(SideFacts{}))
	side, err := vfs.ReadFile(fsys, s.path(KindSums, 0), -1)
	require.NoError(t, err)
	require.Len(t, side, sideSize)
	for i := range sideSize * 8 {
		bad := append([]byte(nil), side...)
		bad[i/8] ^= 1 << (i % 8)
		require.NoError(t, vfs.WriteFile(fsys, s.path(KindSums, 0), bad))
		_, err = OpenActive(fsys, dir, 0, &Config{})
		require.ErrorIs(t, err, ErrNoSide, "bit %d", i)
	}
	require.NoError(t, vfs.WriteFile(fsys, s.path(KindSums, 0), side))
	_, err = OpenActive(fsys, dir, 0, &Config{})
	assert.NoError(t, err)
	data, err := vfs.ReadFile(fsys, s.Path(), -1)
	require.NoError(t, err)
	require.NoError(t, vfs.WriteFile(fsys, s.Path(), data[:len(data)-1]))
	_, err = OpenActive(fsys, dir, 0, &Config{})
	assert.ErrorIs(t, err, ErrNoSide)
}

func TestStructIsSmall(t *testing.T) {
	assert.LessOrEqual(t, int(unsafe.Sizeof(Segment{})), 600)
	t.Logf("Segment: %d bytes", unsafe.Sizeof(Segment{}))
}

func TestAborted(t *testing.T) {
	fsys := vfs.NewMem()
	newDir(t, fsys)
	s := create(t, fsys, 0, &Config{})
	fill(t, s, 5000)
	want := []AbortedTxn{
		{ProducerID: 9, FirstOffset: 2, LastOffset: 7, LastStable: 8},
		{ProducerID: 11, FirstOffset: 3, LastOffset: 9, LastStable: 10},
	}
	for _, a := range want {
		require.NoError(t, s.AddAborted(a.ProducerID, a.FirstOffset, a.LastOffset, a.LastStable))
	}
	assert.ErrorIs(t, s.AddAborted(1, 1, 9, 10), index.ErrOrder)
	require.NoError(t, s.Seal(SideFacts{TopicID: [16]byte{3}}))
	require.NoError(t, s.Close())
	s = OpenSealed(fsys, dir, 0, 1000, &Config{})
	got, complete, err := s.Aborted(nil, 0, 20)
	require.NoError(t, err)
	assert.False(t, complete)
	assert.Equal(t, want, got)
	require.NoError(t, s.Close())

	require.NoError(t, vfs.WriteFile(fsys, dir+"/00000000000000000000.txnindex", make([]byte, 68)))
	s = OpenSealed(fsys, dir, 0, 1000, &Config{})
	_, _, err = s.Aborted(nil, 0, 20)
	require.ErrorIs(t, err, ErrIndexCorrupt)
	require.NoError(t, s.SetAborted(want))
	require.NoError(t, s.Close())
	s = OpenSealed(fsys, dir, 0, 1000, &Config{})
	got, _, err = s.Aborted(nil, 0, 20)
	require.NoError(t, err)
	assert.Equal(t, want, got)
	id, err := s.TopicID()
	require.NoError(t, err)
	assert.Equal(t, [16]byte{3}, id)

	// Without the file it goes on, and asks for the list until it has it, also behind a seal.
	require.NoError(t, fsys.Remove(s.path(KindTxnIndex, 0)))
	require.NoError(t, s.Close())
	s, err = OpenActive(fsys, dir, 0, &Config{})
	require.NoError(t, err)
	require.NoError(t, s.Unseal())
	fill(t, s, 100)
	for range 2 {
		_, _, err = s.Aborted(nil, 0, 20)
		require.ErrorIs(t, err, ErrIndexCorrupt)
		require.NoError(t, s.Seal(SideFacts{}))
		require.NoError(t, s.Close())
		s = OpenSealed(fsys, dir, 0, 1000, &Config{})
	}
	require.NoError(t, s.SetAborted(want))
	got, _, err = s.Aborted(nil, 0, 20)
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

// A segment of Kafka's, which has no side file: its list of aborted transactions is taken for whole if it names every abort marker.
func TestAbortedOfAnAdoptedSegment(t *testing.T) {
	txn := func(id int64, base int64, end record.ControlType) []record.Batch {
		b := record.NewBuilder(record.BuilderConfig{HasProducer: true, ProducerID: id, Transactional: true})
		require.NoError(t, b.Add(&record.Record{Value: []byte("v")}))
		data, err := b.Seal()
		require.NoError(t, err)
		data.SetBaseOffset(base)
		marker := record.EndTxnMarker(end, id, 0, 0, 1000)
		marker.SetBaseOffset(base + 1)
		return []record.Batch{data, marker}
	}
	committed, aborted := txn(5, 0, record.Commit), txn(7, 2, record.Abort)
	entry := AbortedTxn{ProducerID: 7, FirstOffset: 2, LastOffset: 3, LastStable: 4}
	for name, c := range map[string]struct {
		batches []record.Batch
		index   []byte
		want    []AbortedTxn
		whole   bool
	}{
		"committed":               {committed, nil, nil, true},
		"both":                    {slices.Concat(committed, aborted), index.AppendAborted(nil, entry), []AbortedTxn{entry}, true},
		"the index is gone":       {slices.Concat(committed, aborted), nil, nil, false},
		"an entry without reason": {committed, index.AppendAborted(nil, AbortedTxn{ProducerID: 7, LastOffset: 1, LastStable: 2}), nil, false},
	} {
		fsys := store(t, 0, join(c.batches))
		if c.index != nil {
			require.NoError(t, vfs.WriteFile(fsys, dir+"/"+FileName(0, TxnIndexSuffix), c.index))
		}
		s := OpenSealed(fsys, dir, 0, int64(len(c.batches)), &Config{})
		list, _, err := s.Aborted(nil, 0, 10)
		if c.whole {
			require.NoError(t, err, name)
			require.Equal(t, c.want, list, name)
		} else {
			require.ErrorIs(t, err, ErrIndexCorrupt, name)
		}
		require.NoError(t, s.Close())
	}
}
