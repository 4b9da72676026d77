package record

import (
	"encoding/hex"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestVarintGolden(t *testing.T) {
	for v, want := range map[int32]string{
		0: "00", -1: "01", 1: "02", 63: "7e", -64: "7f", 64: "8001", -65: "8101", 300: "d804",
		8191: "fe7f", 8192: "808001", math.MaxInt32: "feffffff0f", math.MinInt32: "ffffffff0f",
	} {
		p := AppendVarint(nil, v)
		assert.Equal(t, want, hex.EncodeToString(p))
		assert.Equal(t, len(p), VarintLen(v))
		assert.Equal(t, len(p), VarlongLen(int64(v)))
		got, n := Varint(append(p, 0xff))
		assert.Equal(t, v, got)
		assert.Equal(t, len(p), n)
		for cut := range p {
			_, n := Varint(p[:cut])
			assert.Zero(t, n, "cut short")
		}
	}
}

func TestVarlongGolden(t *testing.T) {
	for v, want := range map[int64]string{
		0: "00", math.MaxInt64: "feffffffffffffffff01", math.MinInt64: "ffffffffffffffffff01",
		1 << 34: "808080808001", -1 << 34: "ffffffff7f",
	} {
		p := AppendVarlong(nil, v)
		assert.Equal(t, want, hex.EncodeToString(p), v)
		assert.Equal(t, len(p), VarlongLen(v))
		got, n := Varlong(p)
		assert.Equal(t, v, got)
		assert.Equal(t, len(p), n)
	}
	for bits := range 64 {
		for _, v := range []int64{1<<bits - 1, 1 << bits, -1 << bits, -1<<bits - 1} {
			p := AppendVarlong(nil, v)
			assert.Equal(t, len(p), VarlongLen(v))
			got, n := Varlong(p)
			require.Equal(t, v, got)
			require.Equal(t, len(p), n)
		}
	}
}

func TestVarintMalformed(t *testing.T) {
	for name, s := range map[string]string{
		"six bytes":     "808080808001",
		"five and more": "ffffffffff",
		"33 bits":       "ffffffff1f",
	} {
		p, _ := hex.DecodeString(s)
		_, n := Varint(p)
		assert.Negative(t, n, name)
	}
	for name, s := range map[string]string{
		"eleven bytes": "8080808080808080808001",
		"65 bits":      "ffffffffffffffffff02",
	} {
		p, _ := hex.DecodeString(s)
		_, n := Varlong(p)
		assert.Negative(t, n, name)
	}
	v, n := Varint([]byte{0x82, 0x00})
	assert.Equal(t, int32(1), v, "a longer form than needed is still the number, as in Kafka")
	assert.Equal(t, 2, n)
}

// FuzzVarint compares the two forms with each other and with what they append.
func FuzzVarint(f *testing.F) {
	for _, s := range []string{"00", "01", "8001", "feffffff0f", "ffffffff1f", "ffffffffffffffffff01", "80808080808080808080"} {
		p, _ := hex.DecodeString(s)
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		v, n := Varint(p)
		l, m := Varlong(p)
		if n > 0 && (m != n || l != int64(v)) {
			t.Fatalf("varint %d in %d, varlong %d in %d", v, n, l, m)
		}
		if m > 0 {
			again, k := Varlong(AppendVarlong(nil, l))
			if again != l || k > m {
				t.Fatalf("%d again is %d", l, again)
			}
		}
		if len(p) >= 8 {
			if u, k := short(load64(p, 0)); k > 0 && (k != m || unzigzag(u) != l) {
				t.Fatalf("short %d in %d, varlong %d in %d", unzigzag(u), k, l, m)
			}
		}
	})
}
