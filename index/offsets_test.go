package index

import (
	"encoding/hex"
	"math"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/vfs"
)

func TestOffsetEntries(t *testing.T) {
	h := newHome(1000, nil)
	var o Offsets
	o.Init(h)
	a, err := o.Around(5000)
	require.NoError(t, err)
	assert.Equal(t, Around{-1, 0, -1, -1, -1}, a)
	require.NoError(t, o.Add(1010, 4100))
	require.NoError(t, o.Add(1500, 0x7fffffff))
	assert.Equal(t, "0000000a00001004"+"000001f47fffffff", hex.EncodeToString(o.Bytes()))
	for _, c := range []struct{ offset, pos int64 }{{1500, 0x7fffffff}, {1501, 4100}, {1400, 0x7fffffff}} {
		assert.ErrorIs(t, o.Add(c.offset, c.pos), ErrOrder)
	}
	for _, c := range []struct{ offset, pos int64 }{{999, 1 << 30}, {1001 + math.MaxInt32, 1 << 30}, {1600, 1 << 31}, {1600, -1}} {
		assert.ErrorIs(t, o.Add(c.offset, c.pos), ErrFull)
	}
}

func TestOffsetLookups(t *testing.T) {
	for name, budget := range map[string]*Budget{"unlimited": nil, "none": NewBudget(0), "all": NewBudget(1 << 20)} {
		for _, n := range []int{0, 1, 2, 3, 255, 256, 257, 258, 1000} {
			o := sealedOffsets(t, newHome(70, budget), n)
			assert.Equal(t, n, o.Len())
			for offset := int64(60); offset < int64(10*n)+100; offset += 1 + offset%4 {
				i := min((offset-79+10)/10, int64(n)) - 1 // the last entry at most offset
				if offset < 79 {
					i = -1
				}
				want := Around{-1, 0, -1, -1, -1}
				if i >= 0 {
					want.Offset, want.Pos = 70+10*i+9, 100*(i+1)
				}
				if i+1 < int64(n) {
					want.After, want.AfterOffset = 100*(i+2), 70+10*(i+1)+9
				}
				if i+2 < int64(n) {
					want.Beyond = 100 * (i + 3)
				}
				got, err := o.Around(offset)
				require.NoError(t, err)
				require.Equal(t, want, got, "%s %d: offset %d", name, n, offset)
				if i >= 0 {
					got, err = o.AtPos(want.Pos + offset%100)
					require.NoError(t, err)
					require.Equal(t, want, got)
				}
			}
			offset, pos, ok, err := o.Last()
			require.NoError(t, err)
			assert.Equal(t, n > 0, ok)
			if ok {
				assert.Equal(t, []int64{70 + 10*int64(n) - 1, 100 * int64(n)}, []int64{offset, pos})
			}
			o.Close()
			assert.Zero(t, o.home.FS().(*vfs.Mem).OpenFiles())
		}
		assert.Zero(t, budget.Used(), name)
	}
}

func TestOffsetTruncateKeepsWhatReadersHold(t *testing.T) {
	var o Offsets
	o.Init(newHome(0, nil))
	for i := range int64(10) {
		require.NoError(t, o.Add(10*i, 100*i+1))
	}
	held := o.Bytes()
	want := append([]byte(nil), held...)
	require.NoError(t, o.Flush(false))
	o.Truncate(50) // entries at or above go
	assert.Equal(t, 5, o.Len())
	require.NoError(t, o.Add(41, 450))
	assert.Equal(t, want, held)
	require.NoError(t, o.Flush(false))
	data, err := vfs.ReadFile(o.home.FS(), "/t.0", -1)
	require.NoError(t, err)
	assert.Equal(t, o.Bytes(), data)
	o.Truncate(-1)
	assert.Zero(t, o.Len())
	require.NoError(t, o.Flush(false))
	data, err = vfs.ReadFile(o.home.FS(), "/t.0", -1)
	require.NoError(t, err)
	assert.Empty(t, data)
}

func TestFlushAppends(t *testing.T) {
	h := newHome(0, nil)
	var o Offsets
	o.Init(h)
	require.NoError(t, o.Flush(false))
	_, err := h.fs.Stat("/t.0")
	require.Error(t, err, "no entries, no file")
	// What an earlier life left in the file goes.
	require.NoError(t, vfs.WriteFile(h.fs, "/t.0", make([]byte, 1000)))
	for i := range int64(40) {
		require.NoError(t, o.Add(i, i+1))
		if i%7 == 0 {
			require.NoError(t, o.Flush(false))
		}
	}
	require.NoError(t, o.Flush(false))
	data, err := vfs.ReadFile(h.fs, "/t.0", -1)
	require.NoError(t, err)
	assert.Equal(t, o.Bytes(), data)
}

func TestLookupsWhileAdding(t *testing.T) {
	var o Offsets
	o.Init(newHome(0, nil))
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for o.Len() < 5000 {
				n := int64(o.Len())
				a, err := o.Around(math.MaxInt64)
				if !assert.NoError(t, err) || !assert.GreaterOrEqual(t, a.Offset, n-1) || a.Offset >= 0 && !assert.Equal(t, a.Offset*3+3, a.Pos) {
					return
				}
			}
		})
	}
	for i := range int64(5000) {
		require.NoError(t, o.Add(i, 3*i+3))
	}
	readers.Wait()
}

func TestDamageIsFoundOnLoad(t *testing.T) {
	for _, budget := range []*Budget{nil, NewBudget(0)} {
		h := newHome(0, budget)
		good := append([]byte(nil), func() []byte { o := sealedOffsets(t, h, 20); _ = o.Activate(); return o.Bytes() }()...)
		sum := SumOf(good)
		for bit := range len(good) * 8 {
			bad := append([]byte(nil), good...)
			bad[bit/8] ^= 1 << (bit % 8)
			require.NoError(t, vfs.WriteFile(h.fs, "/t.0", bad))
			var o Offsets
			o.InitSealed(h, sum)
			_, err := o.Around(50)
			require.ErrorIs(t, err, ErrCorrupt)
			require.ErrorIs(t, o.Activate(), ErrCorrupt)
			require.NoError(t, o.Replace(good, true))
			a, err := o.Around(50)
			require.NoError(t, err)
			require.EqualValues(t, 49, a.Offset)
			o.Close()
		}
		for _, bad := range [][]byte{nil, good[:150], append(append([]byte(nil), good...), 0)} {
			require.NoError(t, vfs.WriteFile(h.fs, "/t.0", bad))
			var o Offsets
			o.InitSealed(h, sum)
			_, err := o.Around(50)
			require.ErrorIs(t, err, ErrCorrupt)
		}
		require.NoError(t, h.fs.Remove("/t.0"))
		var o Offsets
		o.InitSealed(h, sum)
		_, err := o.Around(50)
		require.ErrorIs(t, err, ErrCorrupt)
	}
}

func TestSealAndActivate(t *testing.T) {
	h := newHome(0, NewBudget(100))
	o := sealedOffsets(t, h, 10)
	require.NoError(t, o.Activate())
	assert.Zero(t, h.budget.Used())
	require.NoError(t, o.Add(1000, 5000))
	require.NoError(t, o.Flush(true))
	o.Seal()
	assert.EqualValues(t, 88, h.budget.Used())
	a, err := o.Around(2000)
	require.NoError(t, err)
	assert.EqualValues(t, 1000, a.Offset)
	require.NoError(t, o.Activate())
	assert.Zero(t, h.budget.Used())
	assert.Equal(t, 11, o.Len())
}

func BenchmarkAround(b *testing.B) {
	o := sealedOffsets(b, newHome(0, nil), 100000)
	b.ReportAllocs()
	for i := range b.N {
		if _, err := o.Around(int64(i*7919) % 1000000); err != nil {
			b.Fatal(err)
		}
	}
}
