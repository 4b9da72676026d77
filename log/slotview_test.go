package log

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/segment"
)

// What a log writes, a tool reads: the newer of two slots, with all that it says, and why one is not whole.
func TestDecodeSlots(t *testing.T) {
	disk := slotDisk(t)
	s, _, _ := openSlot(t, disk)
	first, second := stateAt(1), stateAt(2)
	first.clean, first.sparse, first.truncating, first.anonymous, first.plain = true, true, true, true, true
	second.indexes = &segment.IndexSums{OffsetsLen: 16, OffsetsCRC: 7, TimesLen: 24, TimesCRC: 8}
	require.NoError(t, s.write(first))

	slots, newest := DecodeSlots(slotBytes(t, disk))
	assert.Equal(t, 0, newest)
	assert.Equal(t, [2]Slot{{
		Sequence: 1, Durable: 1, SegmentBase: 1000, Position: 4096, Start: 500, High: 1200, LeaderEpoch: 3, EpochSum: 0xdeadbeef,
		TopicID: someTopicID, Clean: true, Sparse: true, Truncating: true, NoProducers: true, NoTransactions: true,
	}, {}}, slots, "the other one was never written")

	require.NoError(t, s.sync())
	require.NoError(t, s.write(second))
	require.NoError(t, s.close())
	data := slotBytes(t, disk)
	slots, newest = DecodeSlots(data)
	assert.Equal(t, 1, newest)
	assert.EqualValues(t, 2, slots[1].Durable)
	assert.Equal(t, second.indexes, slots[1].Indexes)

	data[slotSector+20] ^= 1
	slots, newest = DecodeSlots(data)
	assert.Equal(t, 0, newest, "the one that is whole")
	assert.ErrorContains(t, slots[1].Err, "checksum")

	for n := range data { // of any length
		slots, _ := DecodeSlots(data[:n])
		require.True(t, n >= slotSize || slots[0].Err != nil)
		require.Error(t, slots[1].Err)
	}
	assert.Equal(t, 0, newest)
}

// The checksum of the history in the slot is that of the file's bytes.
func TestLeaderEpochSum(t *testing.T) {
	disk := vfs.NewMem()
	require.NoError(t, disk.MkdirAll("d"))
	e := &epochs{}
	e.assign(3, 10)
	require.NoError(t, e.save(disk, "d"))
	data, err := vfs.ReadFile(disk, "d/"+LeaderEpochFile, 1000)
	require.NoError(t, err)
	assert.Equal(t, e.sum(), LeaderEpochSum(data))
}
