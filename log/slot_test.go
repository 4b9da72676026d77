package log

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/quirelog/quire/internal/invariant"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/segment"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// stateAt is a state that differs from all others in its durable offset.
func stateAt(durable int64) slotState {
	return slotState{
		durable: durable, segmentBase: 1000, position: 4096, start: 500, high: 1200, leaderEpoch: 3,
		epochSum: 0xdeadbeef, topicID: someTopicID,
	}
}

// openSlot opens the slot of directory d.
func openSlot(t testing.TB, disk vfs.FS) (*slot, slotState, bool) {
	t.Helper()
	s := &slot{}
	state, ok, err := s.open(disk, "d")
	require.NoError(t, err)
	return s, state, ok
}

func slotDisk(t testing.TB) *vfs.Mem {
	t.Helper()
	disk := vfs.NewMem()
	require.NoError(t, disk.MkdirAll("d"))
	return disk
}

func slotBytes(t testing.TB, disk vfs.FS) []byte {
	t.Helper()
	data, err := vfs.ReadFile(disk, filepath.Join("d", SlotFile), slotFileSize)
	require.NoError(t, err)
	return data
}

func putSlotBytes(t testing.TB, disk vfs.FS, data []byte) {
	t.Helper()
	require.NoError(t, vfs.WriteFile(disk, filepath.Join("d", SlotFile), data))
}

func TestSlotBytes(t *testing.T) {
	st := stateAt(1234)
	st.clean, st.sparse, st.truncating, st.anonymous = true, true, true, true
	b := make([]byte, slotSize)
	st.encode(b, 9)
	assert.Equal(t, "51534c540001000f000000000000000900000000000004d200000000000003e8"+
		"00001000deadbeef00000000000001f400000000000004b000000003"+
		"000102030405060708090a0b0c0dfeff", hex.EncodeToString(b[:slotSumAt]))
	assert.Equal(t, crc32c(b[:76]), binary.BigEndian.Uint32(b[76:]))
	back, sequence, err := decodeSlot(b)
	require.NoError(t, err)
	assert.EqualValues(t, 9, sequence)
	st.partition = segment.UnknownPartition // that stands behind the slot
	assert.Equal(t, st, back)
	for bit := range slotSize * 8 {
		bad := bytes.Clone(b)
		bad[bit/8] ^= 1 << (bit % 8)
		_, _, err := decodeSlot(bad)
		require.Error(t, err, "bit %d", bit)
		require.NotErrorIs(t, err, ErrNewerFormat, "bit %d", bit)
	}
	for n := range slotSize {
		_, _, err := decodeSlot(b[:n])
		require.Error(t, err)
	}
	_, sequence, err = decodeSlot(make([]byte, slotSize))
	assert.NoError(t, err, "zeros: never written")
	assert.Zero(t, sequence)
}

func TestSlotImpossibleState(t *testing.T) {
	for name, spoil := range map[string]func(*slotState){
		"durable":      func(st *slotState) { st.durable = -1 },
		"segment base": func(st *slotState) { st.segmentBase = -1 },
		"position":     func(st *slotState) { st.position = -1 },
		"log start":    func(st *slotState) { st.start = -1 },
		"watermark":    func(st *slotState) { st.high = math.MinInt64 },
		"epoch":        func(st *slotState) { st.leaderEpoch = -2 },
	} {
		st := stateAt(1)
		spoil(&st)
		disk := slotDisk(t)
		s, _, _ := openSlot(t, disk)
		assert.ErrorContains(t, s.write(st), name)
		names, err := disk.List("d")
		require.NoError(t, err)
		assert.Empty(t, names, "nothing was written")
		if name == "position" {
			continue // 32 bits without a sign cannot hold it
		}
		b := make([]byte, slotSize)
		st.encode(b, 1)
		_, _, err = decodeSlot(b)
		assert.ErrorContains(t, err, name)
	}
	st := stateAt(1)
	st.position = 1 << 32
	assert.NotEmpty(t, st.fault())
	b := make([]byte, slotSize)
	for _, sequence := range []uint64{0, math.MaxUint64} {
		zero := stateAt(0)
		zero.encode(b, sequence)
		_, _, err := decodeSlot(b)
		assert.ErrorContains(t, err, "sequence")
	}
}

func TestSlotLife(t *testing.T) {
	disk := slotDisk(t)
	s, _, ok := openSlot(t, disk)
	assert.False(t, ok, "new")
	assert.NoError(t, s.damage)
	require.NoError(t, s.sync(), "nothing to do")
	names, _ := disk.List("d")
	assert.Empty(t, names, "open and sync create nothing")

	require.NoError(t, s.write(stateAt(1)))
	assert.Len(t, slotBytes(t, disk), slotFileSize)
	_, state, ok := openSlot(t, disk)
	assert.True(t, ok)
	assert.Equal(t, stateAt(1), state)

	for i := int64(2); i < 20; i++ {
		require.NoError(t, s.write(stateAt(i)))
		if i%3 == 0 {
			require.NoError(t, s.sync())
		}
		if i%5 == 0 {
			require.NoError(t, s.close())
			require.NoError(t, s.close(), "twice is once")
		}
		if i%7 == 0 {
			require.NoError(t, s.close())
			s, state, ok = openSlot(t, disk)
		} else {
			_, state, ok = openSlot(t, disk)
		}
		assert.True(t, ok)
		assert.Equal(t, stateAt(i), state, "write %d", i)
	}
	back := stateAt(3)
	require.NoError(t, s.write(back))
	_, state, _ = openSlot(t, disk)
	assert.Equal(t, back, state, "the later write holds, not the greater offset")
}

// Between two syncs only one sector changes, and never the one that was synced
// last: whatever a power cut makes of the other, a synced state remains.
func TestSlotKeepsTheSyncedState(t *testing.T) {
	disk := slotDisk(t)
	s, _, _ := openSlot(t, disk)
	synced := int64(0)
	for i := int64(1); i <= 40; i++ {
		if i%11 == 0 {
			s, _, _ = openSlot(t, disk) // killed and opened again
			synced = i - 1              // settled before the next write
		}
		require.NoError(t, s.write(stateAt(i)))
		for _, garbage := range []byte{0x00, 0xff, 0x5a} {
			cut := vfs.NewMem()
			require.NoError(t, cut.MkdirAll("d"))
			data := slotBytes(t, disk)
			at := s.target * slotSector
			copy(data[at:at+slotSector], bytes.Repeat([]byte{garbage}, slotSector))
			putSlotBytes(t, cut, data)
			_, state, ok := openSlot(t, cut)
			require.Equal(t, synced > 0, ok, "write %d", i)
			if ok {
				require.Equal(t, stateAt(synced), state, "write %d", i)
			}
		}
		if i%4 == 0 {
			require.NoError(t, s.sync())
			synced = i
		}
	}
}

func TestSlotDamage(t *testing.T) {
	disk := slotDisk(t)
	s, _, _ := openSlot(t, disk)
	require.NoError(t, s.write(stateAt(1)))
	require.NoError(t, s.sync())
	require.NoError(t, s.write(stateAt(2)))
	require.NoError(t, s.sync())
	whole := slotBytes(t, disk)

	flipped := bytes.Clone(whole)
	flipped[slotSector+20] ^= 1
	putSlotBytes(t, disk, flipped)
	s, state, ok := openSlot(t, disk)
	assert.True(t, ok)
	assert.Equal(t, stateAt(1), state, "falls back to the other")
	assert.ErrorIs(t, s.damage, ErrCorrupt)
	assert.EqualError(t, s.damage, "log: "+filepath.Join("d", SlotFile)+": slot 1: checksum mismatch")
	require.NoError(t, s.write(stateAt(3)), "into the broken one")
	s, state, _ = openSlot(t, disk)
	assert.Equal(t, stateAt(3), state)
	assert.NoError(t, s.damage)

	flipped[40] ^= 0x80
	putSlotBytes(t, disk, flipped)
	s, _, ok = openSlot(t, disk)
	assert.False(t, ok, "both broken")
	assert.ErrorIs(t, s.damage, ErrCorrupt)
	require.NoError(t, s.write(stateAt(4)))
	_, state, ok = openSlot(t, disk)
	assert.True(t, ok)
	assert.Equal(t, stateAt(4), state)

	for _, tc := range []struct {
		size int
		ok   bool
		bad  bool
	}{{0, false, false}, {1, false, true}, {79, false, true}, {80, true, true}, {512, true, true}, {591, true, true}, {592, true, false}, {1024, true, false}} {
		putSlotBytes(t, disk, whole[:tc.size])
		s, _, ok := openSlot(t, disk)
		assert.Equal(t, tc.ok, ok, "%d bytes", tc.size)
		assert.Equal(t, tc.bad, s.damage != nil, "%d bytes: %v", tc.size, s.damage)
		require.NoError(t, s.write(stateAt(9)))
		require.NoError(t, s.sync())
		_, state, ok := openSlot(t, disk)
		assert.True(t, ok)
		assert.Equal(t, stateAt(9), state)
	}
	putSlotBytes(t, disk, make([]byte, slotFileSize))
	s, _, ok = openSlot(t, disk)
	assert.False(t, ok)
	assert.NoError(t, s.damage, "zeros were never written")
}

func TestSlotNewerFormat(t *testing.T) {
	for name, change := range map[string]func(b []byte){
		"version": func(b []byte) { b[5] = 2 },
		"flag":    func(b []byte) { b[7] |= 0x80 },
	} {
		disk := slotDisk(t)
		s, _, _ := openSlot(t, disk)
		require.NoError(t, s.write(stateAt(1)))
		require.NoError(t, s.sync())
		require.NoError(t, s.write(stateAt(2)))
		data := slotBytes(t, disk)
		change(data)
		binary.BigEndian.PutUint32(data[slotSumAt:], crc32c(data[:slotSumAt]))
		putSlotBytes(t, disk, data)
		_, ok, err := (&slot{}).open(disk, "d")
		assert.False(t, ok)
		assert.ErrorIs(t, err, ErrNewerFormat, name)
		assert.NotErrorIs(t, err, ErrCorrupt)
		assert.Equal(t, data, slotBytes(t, disk), "nothing written")
	}
	b := make([]byte, slotSize)
	st := stateAt(1)
	st.encode(b, 1)
	b[5] = 0
	binary.BigEndian.PutUint32(b[slotSumAt:], crc32c(b[:slotSumAt]))
	_, _, err := decodeSlot(b)
	assert.EqualError(t, err, "version 0")
}

func TestSlotFaults(t *testing.T) {
	disk := slotDisk(t)
	faults := vfs.NewFault(disk)
	s, _, _ := openSlot(t, faults)
	require.NoError(t, s.write(stateAt(1)))
	require.NoError(t, s.sync())
	assert.EqualValues(t, 1, faults.Count(vfs.OpSyncDir), "the new file's name")
	writes := faults.Count(vfs.OpWrite)
	require.NoError(t, s.write(stateAt(2)))
	assert.Equal(t, writes+1, faults.Count(vfs.OpWrite), "one pwrite")
	require.NoError(t, s.sync())
	require.NoError(t, s.sync())
	assert.EqualValues(t, 2, faults.Count(vfs.OpSync), "and one fsync")
	assert.EqualValues(t, 1, faults.Count(vfs.OpSyncDir))

	faults.Add(vfs.Rule{Op: vfs.OpWrite, Short: 40, Err: syscall.ENOSPC})
	assert.ErrorIs(t, s.write(stateAt(3)), syscall.ENOSPC)
	_, state, ok := openSlot(t, disk)
	assert.True(t, ok)
	assert.Equal(t, stateAt(2), state, "torn: the other one")
	require.NoError(t, s.write(stateAt(3)), "may be tried again")

	faults.Add(vfs.Rule{Op: vfs.OpSync, Err: syscall.EIO})
	assert.ErrorIs(t, s.sync(), syscall.EIO)
	assert.ErrorIs(t, s.sync(), syscall.EIO, "never again after a failed fsync")
	assert.ErrorIs(t, s.write(stateAt(4)), syscall.EIO)
	require.NoError(t, s.close())

	s, _, _ = openSlot(t, faults)
	faults.Add(vfs.Rule{Op: vfs.OpSync, Err: syscall.EIO})
	assert.ErrorIs(t, s.write(stateAt(5)), syscall.EIO, "what was read is settled before the first write")
	faults.Clear()
	faults.Add(vfs.Rule{Op: vfs.OpOpenRead, Err: syscall.EMFILE})
	_, _, err := (&slot{}).open(faults, "d")
	assert.ErrorIs(t, err, syscall.EMFILE)
	faults.Add(vfs.Rule{Op: vfs.OpRead, Err: syscall.EIO})
	_, _, err = (&slot{}).open(faults, "d")
	assert.ErrorIs(t, err, syscall.EIO)
	s, _, _ = openSlot(t, faults)
	assert.ErrorIs(t, func() error { s.fs = vfs.ReadOnly(disk); return s.write(stateAt(6)) }(), vfs.ErrReadOnly)
}

func TestSlotCreateFaults(t *testing.T) {
	for _, rule := range []vfs.Rule{{Op: vfs.OpCreate, Err: syscall.ENOSPC}, {Op: vfs.OpWrite, Err: syscall.ENOSPC}} {
		disk := slotDisk(t)
		s, _, _ := openSlot(t, vfs.NewFault(disk, rule))
		assert.ErrorIs(t, s.write(stateAt(1)), syscall.ENOSPC)
		require.NoError(t, s.write(stateAt(1)))
		require.NoError(t, s.sync())
		_, state, ok := openSlot(t, disk)
		assert.True(t, ok)
		assert.Equal(t, stateAt(1), state)
	}
	s, _, _ := openSlot(t, vfs.NewFault(slotDisk(t), vfs.Rule{Op: vfs.OpSyncDir, Err: syscall.EIO}))
	require.NoError(t, s.write(stateAt(1)))
	assert.ErrorIs(t, s.sync(), syscall.EIO)
	assert.ErrorIs(t, s.write(stateAt(1)), syscall.EIO)
}

func TestSlotWriteAllocatesNothing(t *testing.T) {
	if invariant.Enabled {
		return // counts mean nothing under the race detector
	}
	s, _, _ := openSlot(t, slotDisk(t))
	require.NoError(t, s.write(stateAt(1)))
	assert.Zero(t, testing.AllocsPerRun(100, func() { _ = s.write(stateAt(2)) }))
}

func FuzzSlot(f *testing.F) {
	b := make([]byte, slotSize)
	st := stateAt(77)
	st.encode(b, 5)
	f.Add(b)
	f.Add(make([]byte, slotSize))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, input []byte) {
		data := bytes.Clone(input)
		if len(data) >= slotSize { // else hardly anything gets past the checksum
			binary.BigEndian.PutUint32(data, slotMagic)
			binary.BigEndian.PutUint32(data[slotSumAt:], crc32c(data[:slotSumAt]))
		}
		st, sequence, err := decodeSlot(data)
		if err == nil && sequence > 0 {
			again := make([]byte, slotSize)
			st.encode(again, sequence)
			require.Equal(t, data[:slotSize], again)
		}
		disk := slotDisk(t)
		putSlotBytes(t, disk, data)
		s := &slot{}
		if _, _, err := s.open(disk, "d"); err == nil {
			require.NoError(t, s.write(st))
			_, state, ok := openSlot(t, disk)
			require.True(t, ok)
			require.Equal(t, st, state)
		}
	})
}

// Every power cut and every kill, at every call of a short life with one reopening:
// what is read was written, and is at least as new as the last successful sync.
func TestSlotCrashes(t *testing.T) {
	life := func(disk *vfs.Crash) (written, synced int64) {
		if disk.MkdirAll("d") != nil || disk.SyncDir(".") != nil {
			return 0, 0
		}
		s := &slot{}
		for i := int64(1); i <= 9; i++ {
			if i == 1 || i == 5 {
				_ = s.close()
				if _, _, err := s.open(disk, "d"); err != nil {
					return written, synced
				}
			}
			written = i
			if s.write(stateAt(i)) != nil {
				return written, synced
			}
			if i%2 == 0 {
				if s.sync() != nil {
					return written, synced
				}
				synced = i
			}
		}
		return written, synced
	}
	whole := vfs.NewCrash()
	life(whole)
	states := 0
	look := func(disk *vfs.Crash, written, synced int64) {
		states++
		state, ok, err := (&slot{}).open(disk, "d")
		require.NoError(t, err)
		require.True(t, ok || synced == 0, "nothing left of %d", synced)
		if ok {
			require.GreaterOrEqual(t, state.durable, synced)
			require.LessOrEqual(t, state.durable, written)
			want := stateAt(state.durable)
			if state.partition == segment.UnknownPartition { // torn off
				want.partition = segment.UnknownPartition
			}
			require.Equal(t, want, state)
		}
	}
	for n := 1; n <= whole.Ops()+1; n++ {
		disk := vfs.NewCrash()
		disk.CrashAt(n)
		written, synced := life(disk)
		look(disk.Kill(1), written, synced)
		for _, policy := range vfs.Policies() {
			for seed := range uint64(6) {
				look(disk.After(policy, seed), written, synced)
				look(disk.Kill(seed).After(policy, seed), written, synced)
			}
		}
	}
	assert.Greater(t, states, 2000)
}
