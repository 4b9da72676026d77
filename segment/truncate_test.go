package segment

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
)

func TestTruncateEverywhere(t *testing.T) {
	batches := someBatches(t, 5, 40)
	end := batches[39].NextOffset()
	for offset := int64(0); offset <= end+1; offset++ {
		for _, sealed := range []bool{false, true} {
			fsys := vfs.NewMem()
			newDir(t, fsys)
			cfg := &Config{IndexInterval: 300, PreWrite: 5000}
			s := create(t, fsys, 5, cfg)
			for _, b := range batches {
				require.NoError(t, s.Append(b))
			}
			require.NoError(t, s.FlushIndex())
			if sealed {
				require.NoError(t, s.Seal(SideFacts{}))
			}
			require.NoError(t, s.Truncate(offset))
			// The same batches appended to a fresh segment are the model.
			model, err := CreateMarked(fsys, dir, 5, Cleaned, cfg)
			require.NoError(t, err)
			var want []record.Batch
			for _, b := range batches {
				if b.LastOffset() < offset {
					want = append(want, b)
					require.NoError(t, model.Append(b))
				}
			}
			check := func() {
				t.Helper()
				require.Equal(t, want, readAll(t, s, 0, 1000))
				require.Equal(t, model.offsets.Bytes(), s.offsets.Bytes())
				require.Equal(t, model.facts.maxTimestamp, s.facts.maxTimestamp)
				require.Equal(t, model.facts.maxOffset, s.facts.maxOffset)
				require.Equal(t, model.facts.firstTimestamp, s.facts.firstTimestamp)
				require.Equal(t, model.unindexed, s.unindexed, "offset %d", offset)
				require.Equal(t, model.Next(), s.Next())
			}
			check()
			more := makeBatch(t, s.Next(), 3, 9000, 500)
			want = append(want, more)
			require.NoError(t, s.Append(more))
			require.NoError(t, model.Append(more))
			check()
			require.NoError(t, s.Seal(SideFacts{}))
			require.NoError(t, model.Seal(SideFacts{}))
			require.Equal(t, model.facts.headerSum, s.facts.headerSum)
			require.Equal(t, model.facts.batches, s.facts.batches)
			require.NoError(t, s.Close())
			require.NoError(t, verifyAnew(fsys, s.base, cfg))
		}
	}
}

// verifyAnew opens a sealed segment and verifies it.
func verifyAnew(fsys vfs.FS, base int64, cfg *Config) error {
	again := OpenSealed(fsys, dir, base, 1<<40, cfg)
	defer again.Close()
	return again.Verify()
}

func TestTruncateBehindTheEnd(t *testing.T) {
	fsys := vfs.NewMem()
	newDir(t, fsys)
	s := create(t, fsys, 0, &Config{})
	want := fill(t, s, 300)
	require.NoError(t, s.Truncate(s.Next()))
	assert.Equal(t, want, readAll(t, s, 0, 100))
}
