package index

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/vfs"
)

// testHome is a segment at base whose index files lie in /.
type testHome struct {
	fs     vfs.FS
	base   int64
	budget *Budget
	name   string
}

func (h *testHome) FS() vfs.FS                { return h.fs }
func (h *testHome) BaseOffset() int64         { return h.base }
func (h *testHome) IndexBudget() *Budget      { return h.budget }
func (h *testHome) IndexPath(k Kind) string   { return "/" + h.name + "." + string('0'+byte(k)) }
func newHome(base int64, b *Budget) *testHome { return &testHome{vfs.NewMem(), base, b, "t"} }

// sealedOffsets makes a sealed index of n entries: offset base+10i+9 at position 100(i+1). Nothing of it is in memory.
func sealedOffsets(t testing.TB, h *testHome, n int) *Offsets {
	t.Helper()
	var o Offsets
	o.Init(h)
	for i := range int64(n) {
		require.NoError(t, o.Add(h.base+10*i+9, 100*(i+1)))
	}
	require.NoError(t, o.Flush(true))
	sum := o.Sum()
	o.Close()
	sealed := &Offsets{}
	sealed.InitSealed(h, sum)
	return sealed
}
