package log

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/internal/thin"
)

// keyOf is what the map is asked about a record.
func keyOf(m *offsetMap, key string, offset, version int64) *mapKey {
	k := &mapKey{offset: offset, version: version}
	k.first, k.second = m.hash.of([]byte(key))
	return k
}

func (m *offsetMap) versionOf(k *mapKey) int64 {
	entry, found := m.find(k.first, k.second)
	if !found || m.width == entryWords {
		return 0
	}
	return int64(entry[entryWords])
}

func TestOffsetMap(t *testing.T) {
	for _, versioned := range []bool{false, true} {
		for _, slots := range []int{2, 3, 7, 100, 5000, 70_000, 120_000}[:thin.Raced(7, 5)] {
			width := 8 * entryWords
			if versioned {
				width += 8
			}
			memory := int64(slots*width + 5)
			m, err := newOffsetMap(memory, 1<<40, versioned)
			require.NoError(t, err)
			type entry struct{ offset, version int64 }
			model := map[string]entry{}
			rng := rand.New(rand.NewPCG(uint64(slots), 1))
			for offset := range int64(3 * slots) {
				key := fmt.Sprintf("key%d", rng.IntN(2*slots))
				version := rng.Int64N(5)
				if m.full() {
					break
				}
				old, known := model[key]
				m.put(keyOf(m, key, offset, version))
				if !versioned {
					model[key] = entry{offset, 0}
				} else if !known || version >= old.version {
					model[key] = entry{offset, version}
				}
				require.LessOrEqual(t, m.bytes(), memory)
			}
			require.True(t, m.full(), "there were too few keys")
			require.Equal(t, len(model), m.n)
			require.GreaterOrEqual(t, m.slots, slots*3/4, "of the memory")
			require.Equal(t, int(float64(m.slots)*mapLoad), m.n)
			for i := range 2 * slots {
				key := fmt.Sprintf("key%d", i)
				k := keyOf(m, key, 0, 0)
				offset, ok := m.get(k)
				want, known := model[key]
				if known != ok || want != (entry{offset, m.versionOf(k)}) {
					t.Fatalf("%s: %v at %d, want %v at %v", key, ok, offset, known, want)
				}
			}
		}
	}
}

// The map takes memory by the keys it has, not by those there could be, and never more than it may while it grows.
func TestOffsetMapMemory(t *testing.T) {
	m, err := newOffsetMap(DefaultMapMemory, 100, false)
	require.NoError(t, err)
	require.LessOrEqual(t, m.bytes(), int64(115*entryBytes))
	require.GreaterOrEqual(t, m.limit, 100)
	_, err = newOffsetMap(entryBytes, 5, false)
	require.Error(t, err)

	m, err = newOffsetMap(DefaultMapMemory, 1<<40, false)
	require.NoError(t, err)
	for offset := range int64(20_000) {
		require.False(t, m.full())
		m.put(keyOf(m, fmt.Sprint(offset%1000), offset, 0))
	}
	require.LessOrEqual(t, m.bytes(), int64(firstSlots*entryBytes))

	for _, slots := range []int{17 * firstSlots, 40 * firstSlots, 63*firstSlots + 5} {
		m, err = newOffsetMap(int64(slots*entryBytes), 1<<40, false)
		require.NoError(t, err)
		for before := m.slots; ; before = m.slots {
			if m.n = m.limit; m.full() {
				break
			}
			require.Greater(t, m.slots, before)
			require.LessOrEqual(t, m.slots+before, slots, "both tables are there at once")
			m.n = 0
		}
		require.GreaterOrEqual(t, m.slots, slots*3/4)
	}
}

// Offset 0 of a key counts.
func TestOffsetMapHoldsTheFirstOffset(t *testing.T) {
	m, err := newOffsetMap(1000*entryBytes, 1<<40, false)
	require.NoError(t, err)
	m.put(keyOf(m, "zero", 0, 0))
	offset, ok := m.get(keyOf(m, "zero", 0, 0))
	require.True(t, ok)
	require.Zero(t, offset)
	_, ok = m.get(keyOf(m, "", 0, 0))
	require.False(t, ok)
}

func TestOffsetMapAllocatesNothing(t *testing.T) {
	m, err := newOffsetMap(1<<16, 1<<40, false)
	require.NoError(t, err)
	key := []byte("some key")
	list := make([]mapKey, 1)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		list[0].first, list[0].second = m.hash.of(key)
		m.fetch(list)
		m.put(&list[0])
		m.get(&list[0])
	}))
}
