package log

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// history reads "2@0 5@10": epoch 2 from offset 0, epoch 5 from 10.
func history(t testing.TB, text string) *epochs {
	t.Helper()
	lines := strings.ReplaceAll(strings.ReplaceAll(text, "@", " "), " ", "\n")
	e := &epochs{}
	numbers := strings.Fields(lines)
	for i := 0; i < len(numbers); i += 2 {
		epoch, ok1 := parseNumber([]byte(numbers[i]), 1<<31-1)
		start, ok2 := parseNumber([]byte(numbers[i+1]), 1<<62)
		require.True(t, ok1 && ok2)
		e.entries = append(e.entries, epochEntry{int32(epoch), start})
	}
	return e
}

func TestAssignEpoch(t *testing.T) {
	for _, tc := range []struct {
		name, have string
		epoch      int32
		start      int64
		changed    bool
		want       string
	}{
		{"first", "", 3, 7, true, "3@7"},
		{"next", "2@0 5@10", 6, 20, true, "2@0 5@10 6@20"},
		{"latest goes on", "2@0 5@10", 5, 15, false, "2@0 5@10"},
		{"latest at its start", "2@0 5@10", 5, 10, false, "2@0 5@10"},
		{"latest began earlier", "2@0 5@10", 5, 8, true, "2@0 5@8"},
		{"latest began where another did", "2@0 5@10", 5, 0, true, "5@0"},
		{"an empty epoch is replaced", "2@0 5@10", 6, 10, true, "2@0 6@10"},
		{"later epoch, earlier offset", "2@0 5@10 6@20", 7, 5, true, "2@0 7@5"},
		{"older epoch at the end", "2@0 5@10 6@20", 4, 30, true, "2@0 4@30"},
		{"all contradict", "2@5 5@10", 1, 3, true, "1@3"},
		{"no epoch", "2@0", -1, 5, false, "2@0"},
		{"no offset", "2@0", 3, -1, false, "2@0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := history(t, tc.have)
			reader := e.copyEntries()
			assert.Equal(t, tc.changed, e.assign(tc.epoch, tc.start))
			assert.Equal(t, history(t, tc.want).entries, e.entries)
			assert.Equal(t, history(t, tc.have).entries, reader, "a reader's copy never changes")
		})
	}
}

func TestTruncateEpochs(t *testing.T) {
	const have = "2@5 5@10 6@20"
	for _, tc := range []struct {
		at                int64
		endChanged        bool
		end               string
		frontChanged      bool
		front             string
		epoch             int32
		epochKnown        bool
		startOfFrontEpoch int64
	}{
		{0, true, "", false, have, -1, false, 5},
		{5, true, "", false, have, 2, true, 5},
		{6, true, "2@5", true, "2@6 5@10 6@20", 2, true, 6},
		{9, true, "2@5", true, "2@9 5@10 6@20", 2, true, 9},
		{10, true, "2@5", true, "5@10 6@20", 5, true, 10},
		{20, true, "2@5 5@10", true, "6@20", 6, true, 20},
		{21, false, have, true, "6@21", 6, true, 21},
		{99, false, have, true, "6@99", 6, true, 99},
	} {
		e := history(t, have)
		reader := e.copyEntries()
		assert.Equal(t, tc.endChanged, e.truncateEnd(tc.at), "end %d", tc.at)
		assert.Equal(t, history(t, tc.end).entries, e.entries, "end %d", tc.at)
		e.assign(9, 1000)
		e = history(t, have)
		assert.Equal(t, tc.frontChanged, e.truncateFront(tc.at), "front %d", tc.at)
		assert.Equal(t, history(t, tc.front).entries, e.entries, "front %d", tc.at)
		assert.False(t, e.truncateFront(tc.at), "twice is once")
		epoch, ok := epochAt(history(t, have).entries, tc.at)
		assert.Equal(t, tc.epoch, epoch)
		assert.Equal(t, tc.epochKnown, ok)
		assert.Equal(t, history(t, have).entries, reader)
	}
	var none epochs
	assert.False(t, none.truncateEnd(0))
	assert.False(t, none.truncateFront(9))
	assert.False(t, none.clear())
	assert.EqualValues(t, -1, none.latest())
	e := history(t, have)
	assert.EqualValues(t, 6, e.latest())
	assert.True(t, e.clear())
	assert.Nil(t, e.entries)
}

func TestEpochEnd(t *testing.T) {
	const have, logEnd = "2@5 5@10 8@20", 33
	for _, tc := range []struct {
		have  string
		ask   int32
		found int32
		end   int64
	}{
		{have, -1, -1, -1},
		{have, 0, 0, 5}, // older than all known: ended where the first began
		{have, 1, 1, 5},
		{have, 2, 2, 10},
		{have, 3, 2, 10}, // unknown: the largest below, and its end
		{have, 4, 2, 10},
		{have, 5, 5, 20},
		{have, 7, 5, 20},
		{have, 8, 8, logEnd}, // the latest ends with the log
		{have, 9, -1, -1},    // newer than all known
		{"", 0, -1, -1},
		{"", -1, -1, -1},
	} {
		found, end := history(t, tc.have).endOffsetFor(tc.ask, logEnd)
		assert.Equal(t, [2]int64{int64(tc.found), tc.end}, [2]int64{int64(found), end}, "%q epoch %d", tc.have, tc.ask)
	}
}

func TestEpochFile(t *testing.T) {
	disk := vfs.NewMem()
	require.NoError(t, disk.MkdirAll("d"))
	path := filepath.Join("d", LeaderEpochFile)
	var e epochs
	require.NoError(t, e.load(disk, "d"), "no file is no history")
	e = *history(t, "2@5 5@10")
	require.NoError(t, e.save(disk, "d"))
	data, err := vfs.ReadFile(disk, path, 100)
	require.NoError(t, err)
	assert.Equal(t, "0\n2\n2 5\n5 10\n", string(data))
	assert.Equal(t, crc32c(data), e.sum())
	var back epochs
	require.NoError(t, back.load(disk, "d"))
	assert.Equal(t, e, back)

	require.NoError(t, vfs.WriteFile(disk, path, []byte("0\n2\n5 10\n2 20\n")))
	err = back.load(disk, "d")
	assert.EqualError(t, err, "log: checkpoint "+path+": line 4: not above the line before")
	assert.ErrorIs(t, err, ErrCorrupt)
	assert.Nil(t, back.entries)
	failing := vfs.NewFault(disk, vfs.Rule{Op: vfs.OpOpenRead, Err: syscall.EIO})
	assert.ErrorIs(t, back.load(failing, "d"), syscall.EIO)
	failing = vfs.NewFault(disk, vfs.Rule{Op: vfs.OpSyncDir, Err: syscall.EIO})
	assert.ErrorIs(t, e.save(failing, "d"), syscall.EIO)
}

func TestDecodeLeaderEpochs(t *testing.T) {
	for text, want := range map[string][]LeaderEpoch{
		"":                    nil,
		"0\n0\n":              nil,
		"0\n1\n7 0\n":         {{7, 0}},
		"0\r\n1\r\n7\t 0\r\n": {{7, 0}},
		"0\n2\n0 0\n2147483647 9223372036854775807\n": {{0, 0}, {1<<31 - 1, 1<<63 - 1}},
	} {
		got, err := DecodeLeaderEpochs([]byte(text))
		assert.NoError(t, err, "%q", text)
		assert.Equal(t, want, got, "%q", text)
	}
	for text, line := range map[string]int{
		"0": 2, "0\n": 2, "0\n1": 2, "0\n0": 2, "\n": 1, "x\n0\n": 1, "-0\n0\n": 1, "00\n0\n": 1,
		"0\n-1\n": 2, "0\n2147483648\n": 2, "0\n1\n": 2, "0\n2\n1 0\n": 2, "0\n0\n1 0\n": 2,
		"0\n1\n1\n": 3, "0\n1\n1 2 3\n": 3, "0\n1\n-1 2\n": 3, "0\n1\n1 -2\n": 3, "0\n1\n+1 2\n": 3, "0\n1\n01 2\n": 3,
		"0\n1\n2147483648 2\n": 3, "0\n1\n1 9223372036854775808\n": 3, "0\n1\n1 0": 3,
		"0\n2\n1 0\n1 5\n": 4, "0\n2\n1 5\n2 5\n": 4, "0\n1\n1 0\n\n": 4, "0\n1\n1 0\nx": 4,
	} {
		got, err := DecodeLeaderEpochs([]byte(text))
		var bad *CheckpointError
		if assert.ErrorAs(t, err, &bad, "%q", text) {
			assert.Equal(t, line, bad.Line, "%q: %v", text, err)
		}
		assert.ErrorIs(t, err, ErrCorrupt)
		assert.Nil(t, got)
	}
	_, err := DecodeLeaderEpochs([]byte("1\n0\n"))
	assert.ErrorIs(t, err, ErrNewerFormat)
	assert.NotErrorIs(t, err, ErrCorrupt)
	assert.EqualError(t, err, "log: checkpoint: line 1: version 1")
}

func FuzzLeaderEpochs(f *testing.F) {
	f.Add([]byte("0\n2\n2 5\n5 10\n"))
	f.Add([]byte("0\r\n1\r\n7\t 0\r\n"))
	f.Add([]byte("0\n99999\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := DecodeLeaderEpochs(data)
		if err != nil {
			return
		}
		again, err := DecodeLeaderEpochs(EncodeLeaderEpochs(entries))
		require.NoError(t, err)
		require.Equal(t, entries, again)
	})
}

// What batches say of epochs, one letter each, counts when others bear it out; a wrong one is passed over.
func TestEpochScan(t *testing.T) {
	for _, c := range []struct {
		batches           []int32
		complete, without []epochEntry // of a history that was written before the batches, or may lack some
	}{
		{[]int32{0, 0, 1, 1}, []epochEntry{{0, 0}, {1, 2}}, []epochEntry{{0, 0}, {1, 2}}},
		{[]int32{0, 0, 5}, []epochEntry{{0, 0}}, []epochEntry{{0, 0}, {5, 2}}},
		{[]int32{0, 0, 16, 0}, []epochEntry{{0, 0}}, []epochEntry{{0, 0}}},
		{[]int32{0, 0, 16, 0, 0}, []epochEntry{{0, 0}}, []epochEntry{{0, 0}}},
		{[]int32{0, 0, 16, 3, 3}, []epochEntry{{0, 0}}, []epochEntry{{0, 0}, {3, 4}}},
		{[]int32{16, 0, 0, 0}, []epochEntry{{0, 2}}, []epochEntry{{0, 2}}},
		{[]int32{2, 2, 0, 2, 3, 3}, []epochEntry{{2, 0}, {3, 4}}, []epochEntry{{2, 0}, {3, 4}}},
	} {
		for complete, want := range map[bool][]epochEntry{true: c.complete, false: c.without} {
			s := epochScan{history: &epochs{}}
			for i, epoch := range c.batches {
				b := batchOf(t, "v")
				b.SetBaseOffset(int64(i))
				b.SetLeaderEpoch(epoch)
				s.visit(b)
			}
			s.end(complete)
			require.Equal(t, want, s.history.entries, "%v, complete: %v", c.batches, complete)
			require.True(t, s.changed)
		}
	}
}
