package main

import (
	"slices"
	"time"
)

// latencies records durations one by one and sorts when asked. It holds room for all before the clock starts, so that recording
// allocates nothing; what does not fit is thinned out evenly.
type latencies struct {
	all   []time.Duration
	every int // keep one in every
	skip  int
}

func newLatencies(room int) *latencies {
	return &latencies{all: make([]time.Duration, 0, room), every: 1}
}

func (l *latencies) add(d time.Duration) {
	if l.skip--; l.skip > 0 {
		return
	}
	if len(l.all) == cap(l.all) {
		l.thin()
	}
	l.all = append(l.all, d)
	l.skip = l.every
}

// thin drops every second one and from here on keeps half as many.
func (l *latencies) thin() {
	kept := l.all[:0]
	for i := 0; i < len(l.all); i += 2 {
		kept = append(kept, l.all[i])
	}
	l.all = kept
	l.every *= 2
}

// at gives the duration below which the share q of all lie; 0 when nothing was recorded.
func (l *latencies) at(q float64) time.Duration {
	if l == nil || len(l.all) == 0 {
		return 0
	}
	slices.Sort(l.all)
	return l.all[min(int(q*float64(len(l.all))), len(l.all)-1)]
}

func (l *latencies) merge(o *latencies) { l.all = append(l.all, o.all...) }
