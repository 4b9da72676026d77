package main

import (
	"cmp"
	"slices"
	"time"
)

// A result is one workload measured.
type result struct {
	workload *workload
	outcomes []*outcome
}

// of finds a system's outcome; nil when it did not take part or failed.
func (r *result) of(name string) *outcome {
	for _, o := range r.outcomes {
		if o.sys.Name() == name && o.err == nil && len(o.samples) > 0 {
			return o
		}
	}
	return nil
}

// ratio is the median over the rounds of this system's score by raw's score in the same round: drift of the machine cancels out.
// It is 0 when there is nothing to compare with.
func (r *result) ratio(o *outcome) float64 {
	base := r.of("raw")
	if base == nil || o == nil || r.workload.score == nil {
		return 0
	}
	var list []float64
	for i := range min(len(o.samples), len(base.samples)) {
		if b := r.workload.score(base.samples[i]); b > 0 {
			list = append(list, r.workload.score(o.samples[i])/b)
		}
	}
	return median(list)
}

// roundRatio is the median over the rounds of one outcome's rate by another's in the same round.
func roundRatio(o, base *outcome) float64 {
	var list []float64
	for i := range min(len(o.samples), len(base.samples)) {
		if b := base.samples[i].rate(); b > 0 {
			list = append(list, o.samples[i].rate()/b)
		}
	}
	return median(list)
}

// bestPeer is the peer with the highest ratio, nil when no peer took part.
func (r *result) bestPeer() (best *outcome) {
	for _, o := range r.outcomes {
		if !isPeer(o.sys) || r.of(o.sys.Name()) == nil {
			continue
		}
		if best == nil || r.ratio(o) > r.ratio(best) {
			best = o
		}
	}
	return best
}

func isPeer(sys System) bool {
	switch sys.(type) {
	case raw, channel, quire, quireLog:
		return false
	}
	return true
}

// mid is the median of one figure over an outcome's samples.
func mid[T cmp.Ordered](o *outcome, f func(sample) T) T {
	list := make([]T, len(o.samples))
	for i, s := range o.samples {
		list[i] = f(s)
	}
	return median(list)
}

func median[T cmp.Ordered](list []T) T {
	var zero T
	if len(list) == 0 {
		return zero
	}
	list = slices.Clone(list)
	slices.Sort(list)
	return list[len(list)/2]
}

// least is the smallest value of one figure: what a program does when nothing disturbs it. Counts that noise can only raise are judged by it.
func least(o *outcome, f func(sample) float64) float64 {
	best := f(o.samples[0])
	for _, s := range o.samples[1:] {
		best = min(best, f(s))
	}
	return best
}

// The figures of a sample that tables and limits name.
func rate(s sample) float64            { return s.rate() }
func allocsPerRecord(s sample) float64 { return perRecord(s.allocs, s.records) }
func bytesPerRecord(s sample) float64  { return perRecord(s.allocBytes, s.records) }
func writesPerBatch(s sample) float64  { return share(s.calls.Writes, s.batches) }
func syncsPerBatch(s sample) float64   { return share(s.calls.Syncs, s.batches) }
func writesPerRecord(s sample) float64 { return share(s.calls.Writes, s.records) }
func readsPerRecord(s sample) float64  { return share(s.calls.Reads, s.records) }
func writtenPerByte(s sample) float64  { return share(s.calls.WriteBytes, s.bytes) }
func readPerByte(s sample) float64     { return share(s.calls.ReadBytes, s.bytes) }
func p50(s sample) time.Duration       { return s.p50 }
func p99(s sample) time.Duration       { return s.p99 }
func elapsed(s sample) time.Duration   { return s.elapsed }
func byRate(s sample) float64          { return s.rate() }
func byHalf(s sample) float64          { return inverse(s.p50.Seconds()) }
func byElapsed(s sample) float64       { return inverse(s.elapsed.Seconds()) }
func byHeap(s sample) float64          { return inverse(s.idle.Heap) }
func inverse(x float64) float64 {
	if x <= 0 {
		return 0
	}
	return 1 / x
}

func share(n, of int64) float64 {
	if of == 0 {
		return 0
	}
	return float64(n) / float64(of)
}
