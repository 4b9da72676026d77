package segment

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/quirelog/quire/log/vfs"
)

func TestZZMeasure(t *testing.T) {
	if os.Getenv("ZZ") == "" {
		return
	}
	for _, size := range []int{100, 10000, 100000} {
		aheads := []int64{0, 64 << 10, 256 << 10, 1 << 20, 4 << 20}
		var segs []*Segment
		lat := make([][]time.Duration, len(aheads))
		batch := makeBatch(t, 0, 1, 5, size)
		for i, a := range aheads {
			d := fmt.Sprintf("%s/%d", t.TempDir(), i)
			_ = vfs.OS().MkdirAll(d)
			s, err := Create(vfs.OS(), d, 0, &Config{PreWrite: a})
			if err != nil {
				t.Fatal(err)
			}
			segs = append(segs, s)
		}
		for start := time.Now(); time.Since(start) < 12*time.Second; {
			for i, s := range segs {
				for range 5 {
					batch.SetBaseOffset(s.Next())
					t0 := time.Now()
					if err := s.Append(batch); err != nil {
						t.Fatal(err)
					}
					if err := s.Sync(); err != nil {
						t.Fatal(err)
					}
					lat[i] = append(lat[i], time.Since(t0))
				}
			}
		}
		for i, l := range lat {
			var sum time.Duration
			for _, d := range l {
				sum += d
			}
			mean := sum / time.Duration(len(l))
			slices.Sort(l)
			fmt.Printf("size %d ahead %d KiB: n %d p10 %v p50 %v mean %v\n", size, aheads[i]>>10, len(l), l[len(l)/10], l[len(l)/2], mean)
		}
		for _, s := range segs {
			_ = s.Unlink()
		}
	}
}
