package log

import (
	"encoding/binary"
	"fmt"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// reference is the polynomial as its definition says, in numbers without an end.
func reference(key []byte, point uint64) uint64 {
	p, x := big.NewInt(fieldPrime), new(big.Int).SetUint64(point)
	h := big.NewInt(int64(len(key)))
	for first := true; first || len(key) > 0; first = false {
		n := min(len(key), wordBytes)
		var word [8]byte
		copy(word[:], key[:n])
		h.Mul(h, x).Add(h, new(big.Int).SetUint64(binary.LittleEndian.Uint64(word[:]))).Mod(h, p)
		key = key[n:]
	}
	return h.Uint64()
}

func TestKeyHashIsThePolynomial(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		k := newKeyHash()
		if rng.IntN(4) == 0 {
			k = keyHash{fieldPrime - 1, 1}
		}
		require.Less(t, max(k.first, k.second), uint64(fieldPrime))
		for n := range 40 {
			key := make([]byte, n)
			for i := range key {
				key[i] = byte(max(rng.IntN(512)-256, -1))
			}
			first, second := k.of(key)
			require.Equal(t, reference(key, k.first), first, "%x at %d", key, k.first)
			require.Equal(t, reference(key, k.second), second, "%x at %d", key, k.second)
		}
	}
	require.NotEqual(t, newKeyHash(), newKeyHash())
}

// What is above the prime is the same number below it.
func TestKeyHashOfLargeNumbers(t *testing.T) {
	for _, a := range []uint64{0, 1, fieldPrime - 1, fieldPrime, fieldPrime + 1, 2 * fieldPrime, 1<<62 - 1} {
		for _, b := range []uint64{1, 2, fieldPrime - 1} {
			want := new(big.Int).Mul(new(big.Int).SetUint64(a), new(big.Int).SetUint64(b))
			got := times(a, b)
			require.Less(t, got, uint64(1<<61+8))
			require.Equal(t, want.Mod(want, big.NewInt(fieldPrime)).Uint64(), reduced(got), "%d times %d", a, b)
		}
	}
}

// Keys that resemble each other, as keys do, are all told apart, and lie evenly in the table.
func TestKeyHashTellsKeysApart(t *testing.T) {
	families := map[string]func(i int) []byte{
		"numbers in a row":      func(i int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(i)) },
		"numbers, little end":   func(i int) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(i)) },
		"multiples":             func(i int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(i)<<40) },
		"decimal":               func(i int) []byte { return fmt.Appendf(nil, "user-%d", i) },
		"zeros":                 func(i int) []byte { return make([]byte, i%4_000) },
		"one bit in many":       func(i int) []byte { b := make([]byte, 500); b[i%4_000/8] = 1 << (i % 8); return b },
		"the same and a suffix": func(i int) []byte { return fmt.Appendf(make([]byte, 300), "%07d", i) },
	}
	for name, key := range families {
		m, err := newOffsetMap(1<<30, 4_000, false)
		require.NoError(t, err)
		homes := make([]int, 16)
		for i := range 4_000 {
			k := &mapKey{offset: int64(i)}
			k.first, k.second = m.hash.of(key(i))
			m.put(k)
			homes[m.home(k.first, k.second)*len(homes)/len(m.table)]++
		}
		require.Equal(t, 4_000, m.n, name)
		for _, n := range homes {
			require.InDelta(t, 4_000/len(homes), n, 90, "%s: %v", name, homes)
		}
	}
}

func BenchmarkKeyHash(b *testing.B) {
	for _, n := range []int{8, 16, 36, 200} {
		b.Run(fmt.Sprintf("%dB", n), func(b *testing.B) {
			k, key := newKeyHash(), make([]byte, n)
			for b.Loop() {
				k.of(key)
			}
			b.SetBytes(int64(n))
		})
	}
}
