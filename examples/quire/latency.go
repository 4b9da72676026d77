package main

import (
	"fmt"
	"slices"
	"time"
)

// latencies gathers how long things took.
type latencies struct {
	all  []time.Duration
	sum  time.Duration
	most time.Duration
}

func (l *latencies) add(d time.Duration) {
	l.all = append(l.all, d)
	l.sum += d
	l.most = max(l.most, d)
}

func (l *latencies) mean() time.Duration {
	if len(l.all) == 0 {
		return 0
	}
	return l.sum / time.Duration(len(l.all))
}

// percentiles gives, for each p of 100, the duration that so many percent did not exceed.
func (l *latencies) percentiles(ps ...float64) []time.Duration {
	sorted := slices.Sorted(slices.Values(l.all))
	list := make([]time.Duration, len(ps))
	for i, p := range ps {
		if len(sorted) > 0 {
			list[i] = sorted[min(int(p/100*float64(len(sorted))), len(sorted)-1)]
		}
	}
	return list
}

// showPercentiles is the end of the line that Kafka's producer measurement prints; here with fractions of a millisecond, because in one
// process that is where the figures lie.
func (l *latencies) showPercentiles() string {
	p := l.percentiles(50, 95, 99, 99.9)
	return fmt.Sprintf("%.2f ms 50th, %.2f ms 95th, %.2f ms 99th, %.2f ms 99.9th", ms(p[0]), ms(p[1]), ms(p[2]), ms(p[3]))
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// rates are n things of so many bytes in all, in a time: per second, and in units of 2^20 bytes per second.
func rates(n int, bytes int64, took time.Duration) (perSecond, megabytes float64) {
	seconds := max(took.Seconds(), 1e-9)
	return float64(n) / seconds, float64(bytes) / (1 << 20) / seconds
}
