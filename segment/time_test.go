package segment

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
)

func TestFindTime(t *testing.T) {
	fsys := vfs.NewMem()
	newDir(t, fsys)
	cfg := &Config{IndexInterval: 400}
	s := create(t, fsys, 20, cfg)
	dice := rand.New(rand.NewPCG(4, 4))
	var all []record.Record
	for range 120 {
		// Times rise in general, not in detail; some records have none.
		b := record.NewBuilder(record.BuilderConfig{})
		base := s.Next()
		for i := range 1 + dice.Int64N(3) {
			r := record.Record{Offset: base + i, Timestamp: max(-1, 10*base+dice.Int64N(400)-200), Value: make([]byte, 30)}
			require.NoError(t, b.Add(&r))
			all = append(all, r)
		}
		batch, err := b.Seal()
		require.NoError(t, err)
		batch.SetBaseOffset(base)
		require.NoError(t, s.Append(batch))
	}
	for _, seal := range []bool{false, true} {
		if seal {
			require.NoError(t, s.Seal(SideFacts{}))
			require.NoError(t, s.Close())
			s = OpenSealed(fsys, dir, 20, 10000, cfg)
		}
		for range 2000 {
			ts, from := dice.Int64N(3000), 10+dice.Int64N(250)
			offset, timestamp, ok, err := s.FindTime(ts, from, 0)
			require.NoError(t, err)
			found := false
			for _, r := range all {
				if r.Timestamp >= ts && r.Offset >= from {
					require.Equal(t, []int64{r.Offset, r.Timestamp}, []int64{offset, timestamp}, "ts %d from %d", ts, from)
					found = true
					break
				}
			}
			require.Equal(t, found, ok)
		}
	}
	assert.NoError(t, s.Close())
}

func TestFindTimeWithoutTimes(t *testing.T) {
	fsys := vfs.NewMem()
	newDir(t, fsys)
	s := create(t, fsys, 0, &Config{})
	require.NoError(t, s.Append(makeBatch(t, 0, 3, -1, 10)))
	_, _, ok, err := s.FindTime(0, 0, 0)
	require.NoError(t, err)
	assert.False(t, ok)
	ts, offset := s.MaxTimestamp()
	assert.Equal(t, []int64{-1, 0}, []int64{ts, offset})
	require.NoError(t, s.Seal(SideFacts{}))
	assert.Zero(t, s.times.Len())
}
