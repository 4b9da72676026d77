package index

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCheckCutsZeroTails(t *testing.T) {
	h := newHome(100, nil)
	var o Offsets
	o.Init(h)
	var x Times
	x.Init(h)
	var a Aborted
	a.Init(h)
	for i := range int64(5) {
		require.NoError(t, o.Add(109+10*i, 50+i*50))
		require.NoError(t, x.Add(1000*i, 109+10*i))
		require.NoError(t, a.Add(AbortedTxn{i, 100 + i, 109 + 10*i, 120 + 10*i}))
	}
	zeros := make([]byte, 1000)
	assert.Equal(t, 40, CheckOffsets(append(append([]byte(nil), o.Bytes()...), zeros...), 100, 1000, 1000))
	assert.Equal(t, 60, CheckTimes(append(append([]byte(nil), x.Bytes()...), zeros...), 100, 1000))
	assert.Equal(t, 170, CheckAborted(append(append([]byte(nil), a.Bytes()...), zeros...), 100, 1000))
	assert.Equal(t, 37/8*8, CheckOffsets(o.Bytes()[:37], 100, 1000, 1000))
	assert.Equal(t, 24, CheckOffsets(o.Bytes(), 100, 1000, 151), "positions end with the file")
	assert.Equal(t, 16, CheckOffsets(o.Bytes(), 100, 129, 1000), "offsets end with the segment")
	assert.Equal(t, 24, CheckTimes(x.Bytes(), 100, 129))
	assert.Equal(t, 68, CheckAborted(a.Bytes(), 100, 129))
	assert.Zero(t, CheckOffsets(zeros, 100, 1000, 1000))
	assert.Zero(t, CheckTimes(zeros, 100, 1000))
	assert.Zero(t, CheckAborted(zeros, 100, 1000))
}

func FuzzIndexOffsets(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x05\x00\x00\x10\x00\x00\x00\x00\x09\x00\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00"), int64(5))
	f.Fuzz(func(t *testing.T, data []byte, offset int64) {
		n := CheckOffsets(data, 0, 1<<40, 1<<40)
		h := newHome(0, NewBudget(0))
		var o Offsets
		o.Init(h)
		o.Preload(data[:n])
		in, err := o.Around(offset)
		require.NoError(t, err)
		require.NoError(t, o.Flush(true))
		sum := o.Sum()
		var sealed Offsets
		sealed.InitSealed(h, sum)
		out, err := sealed.Around(offset)
		require.NoError(t, err)
		require.Equal(t, in, out)
		require.LessOrEqual(t, in.Offset, max(offset, -1))
		o.Truncate(offset)
		last, _, ok, err := o.Last()
		require.NoError(t, err)
		require.True(t, !ok || last < offset)
	})
}

func FuzzIndexTimes(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x03\xe8\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x07\xd0\x00\x00\x00\x06"), int64(1500))
	f.Fuzz(func(t *testing.T, data []byte, ts int64) {
		n := CheckTimes(data, 0, 1<<40)
		var x Times
		x.Init(newHome(0, nil))
		x.Preload(data[:n])
		got, offset, err := x.Floor(ts)
		require.NoError(t, err)
		require.True(t, got <= ts || got == -1)
		require.GreaterOrEqual(t, offset, int64(0))
	})
}

func FuzzIndexAborted(f *testing.F) {
	f.Add(AppendAborted(nil, AbortedTxn{9, 42, 47, 48}), int64(40), int64(50))
	f.Fuzz(func(t *testing.T, data []byte, from, to int64) {
		n := CheckAborted(data, 0, 1<<40)
		var a Aborted
		a.Init(newHome(0, nil))
		a.Preload(data[:n])
		list, _, err := a.Collect(nil, from, to)
		require.NoError(t, err)
		for _, txn := range list {
			require.True(t, txn.LastOffset >= from && txn.FirstOffset < to)
		}
	})
}
