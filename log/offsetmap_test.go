package log

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOffsetMap(t *testing.T) {
	for _, versioned := range []bool{false, true} {
		for _, slots := range []int{2, 3, 7, 100, 5000} {
			width := entryBytes
			if versioned {
				width = versionedBytes
			}
			m, err := newOffsetMap(int64(slots*width+5), 1<<40, versioned)
			require.NoError(t, err)
			require.Equal(t, slots, m.slots)
			require.Equal(t, int(float64(slots)*mapLoad), m.limit)
			type entry struct{ offset, version int64 }
			model := map[string]entry{}
			rng := rand.New(rand.NewPCG(uint64(slots), 1))
			for offset := range int64(3 * slots) {
				key := fmt.Sprintf("key%d", rng.IntN(2*slots))
				version := rng.Int64N(5)
				old, known := model[key]
				if !known && m.full() {
					continue
				}
				m.put([]byte(key), offset, version)
				if !versioned {
					model[key] = entry{offset, 0}
				} else if !known || version >= old.version {
					model[key] = entry{offset, version}
				}
			}
			require.Equal(t, len(model), m.n)
			for i := range 2 * slots {
				key := fmt.Sprintf("key%d", i)
				offset, version, ok := m.get([]byte(key))
				want, known := model[key]
				require.Equal(t, known, ok, key)
				require.Equal(t, want, entry{offset, version}, key)
			}
		}
	}
}

func TestOffsetMapIsNoLargerThanNeeded(t *testing.T) {
	m, err := newOffsetMap(DefaultMapMemory, 100, false)
	require.NoError(t, err)
	require.LessOrEqual(t, len(m.table), 115*entryBytes)
	require.GreaterOrEqual(t, m.limit, 100)
	m, err = newOffsetMap(1<<20, 1<<40, false)
	require.NoError(t, err)
	require.LessOrEqual(t, len(m.table), 1<<20)
	_, err = newOffsetMap(entryBytes, 5, false)
	require.Error(t, err)
}

// Offset 0 of a key counts, and the places tried are Kafka's: the hash read from byte 0, 1, 2, ... 12, then one by one.
func TestOffsetMapProbes(t *testing.T) {
	m, err := newOffsetMap(1000*entryBytes, 1<<40, false)
	require.NoError(t, err)
	m.put([]byte("zero"), 0, 0)
	offset, _, ok := m.get([]byte("zero"))
	require.True(t, ok)
	require.Zero(t, offset)
	var hash [hashBytes]byte
	for i := range hash {
		hash[i] = byte(i)
	}
	for i := range 13 {
		require.Equal(t, int(binary.BigEndian.Uint32(hash[i:]))%1000, m.slot(&hash, i))
	}
	require.Equal(t, (m.slot(&hash, 12)+5)%1000, m.slot(&hash, 17))
	require.Equal(t, 0, m.slot(&[hashBytes]byte{0x80}, 0), "the least integer has no absolute value")
}

func TestOffsetMapAllocatesNothing(t *testing.T) {
	m, err := newOffsetMap(1<<16, 1<<40, false)
	require.NoError(t, err)
	key := []byte("some key")
	require.Zero(t, testing.AllocsPerRun(100, func() {
		m.put(key, 5, 0)
		m.get(key)
	}))
}
