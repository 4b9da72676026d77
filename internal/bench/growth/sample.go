package growth

import (
	"cmp"
	"runtime"
	"slices"
	"time"

	"github.com/quirelog/quire/internal/bench/machine"
)

// A sample is one measurement of one contender.
type sample struct {
	ops        int // units done
	elapsed    time.Duration
	allocs     uint64
	calls      machine.Calls
	heap       float64
	heapBound  float64
	files      int
	filesBound int
}

// timed measures f, which tells how many units it did. calls may be nil.
func timed(calls *machine.Counter, f func() (int, error)) (s sample, err error) {
	var before, after runtime.MemStats
	var c machine.Calls
	runtime.GC()
	if calls != nil {
		c = calls.Load()
	}
	runtime.ReadMemStats(&before)
	begin := time.Now()
	s.ops, err = f()
	s.elapsed = time.Since(begin)
	runtime.ReadMemStats(&after)
	s.allocs = after.Mallocs - before.Mallocs
	if calls != nil {
		s.calls = calls.Load().Minus(c)
	}
	return s, err
}

func (s sample) cost() time.Duration { return s.elapsed / time.Duration(max(1, s.ops)) }

func (s sample) counts() Counts {
	each := func(n int64) float64 { return float64(n) / float64(max(1, s.ops)) }
	return Counts{Allocs: each(int64(s.allocs)), Writes: each(s.calls.Writes), WriteBytes: each(s.calls.WriteBytes), Syncs: each(s.calls.Syncs + s.calls.DirSyncs), Opens: each(s.calls.Opens)}
}

// point puts together what both contenders showed at one size.
func point(n int, ours, raws []sample) Point {
	p := Point{N: n, Cost: median(ours, sample.cost), Raw: median(raws, sample.cost)}
	p.Counts = ours[0].counts()
	for _, s := range ours {
		c := s.counts()
		p.Counts = Counts{min(p.Counts.Allocs, c.Allocs), min(p.Counts.Writes, c.Writes), min(p.Counts.WriteBytes, c.WriteBytes),
			min(p.Counts.Syncs, c.Syncs), min(p.Counts.Opens, c.Opens)}
		p.Heap, p.Files = max(p.Heap, s.heap), max(p.Files, s.files)
		p.HeapBound, p.FilesBound = s.heapBound, s.filesBound
	}
	return p
}

func median[T any, K cmp.Ordered](list []T, of func(T) K) (k K) {
	if len(list) == 0 {
		return k
	}
	all := make([]K, len(list))
	for i, x := range list {
		all[i] = of(x)
	}
	slices.Sort(all)
	return all[len(all)/2]
}
