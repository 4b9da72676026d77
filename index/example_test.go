package index_test

import (
	"fmt"

	"github.com/quirelog/quire/index"
	"github.com/quirelog/quire/log/vfs"
)

type home struct{ fs vfs.FS }

func (h home) FS() vfs.FS                    { return h.fs }
func (h home) BaseOffset() int64             { return 1000 }
func (h home) IndexBudget() *index.Budget    { return nil }
func (h home) IndexPath(_ index.Kind) string { return "/00000000000000001000.index" }

// The batch that holds offset 1234 lies between the floor entry's position and the next one's.
func Example() {
	var o index.Offsets
	o.Init(home{vfs.NewMem()})
	_ = o.Add(1099, 4200)
	_ = o.Add(1199, 8400)
	_ = o.Add(1299, 12600)
	a, _ := o.Around(1234)
	fmt.Println(a.Offset, a.Pos, a.After)
	// Output: 1199 8400 12600
}
