package group

import (
	"fmt"
	"sync/atomic"
	"time"
)

// consumerStats counts what a member does.
type consumerStats struct {
	batches, records, bytes atomic.Int64
	commits, commitFailures atomic.Int64
	rebalances              atomic.Int64
	rebalanceTime           atomic.Int64
	longestRebalance        atomic.Int64
	looks, evictions, lost  atomic.Int64
}

// rebalanced counts one rebalance.
func (s *consumerStats) rebalanced(d time.Duration) {
	s.rebalances.Add(1)
	s.rebalanceTime.Add(int64(d))
	if int64(d) > s.longestRebalance.Load() { // one goroutine at a time
		s.longestRebalance.Store(int64(d))
	}
}

// ConsumerMetrics counts what a member has done since it joined, and tells where it stands. Counters of one snapshot may be some operations
// apart.
type ConsumerMetrics struct {
	Batches int64 // handed out, also again
	Records int64
	Bytes   int64 // of their keys, values and headers

	Commits        int64 // that were stored
	CommitFailures int64 // that were not, or not for all partitions

	Rebalances       int64         // generations that it was let into and got its partitions of
	RebalanceTime    time.Duration // all together, from when it began to take part until it had its partitions
	LongestRebalance time.Duration
	Heartbeats       int64 // looks whether its generation still is the group's; a member in this process looks when there is word of a change
	Evictions        int64 // it did not come back in time, see MaxPollInterval
	Lost             int64 // partitions lost without being asked for: by evictions, and with their topics

	Partitions int   // assigned now
	AtWork     int   // batches handed out now
	InFlight   int   // records that RunByKey has in hand now
	Lag        int64 // of all partitions together, as far as it is known
	MaxLag     int64 // of the partition with the longest; -1 if none is known
	UnknownLag int   // partitions of which it is not known
}

// Metrics tells how the member does, also after Close. It looks at the end of every partition assigned.
func (c *Consumer) Metrics() ConsumerMetrics {
	s := &c.stats
	m := ConsumerMetrics{
		Batches: s.batches.Load(), Records: s.records.Load(), Bytes: s.bytes.Load(),
		Commits: s.commits.Load(), CommitFailures: s.commitFailures.Load(),
		Rebalances: s.rebalances.Load(), RebalanceTime: time.Duration(s.rebalanceTime.Load()),
		LongestRebalance: time.Duration(s.longestRebalance.Load()),
		Heartbeats:       s.looks.Load(), Evictions: s.evictions.Load(), Lost: s.lost.Load(), MaxLag: -1,
	}
	c.mu.Lock()
	m.AtWork = len(c.out)
	for _, h := range c.hold {
		if h.window != nil {
			m.InFlight += h.window.size()
		}
	}
	c.mu.Unlock()
	for _, l := range c.Lag() {
		m.Partitions++
		m.MaxLag = max(m.MaxLag, l.Lag)
		if l.Lag < 0 {
			m.UnknownLag++
			continue
		}
		m.Lag += l.Lag
	}
	return m
}

// String is a summary for humans.
func (m ConsumerMetrics) String() string {
	return fmt.Sprintf("%d records in %d batches, %d bytes; %d commits, %d failed; %d rebalances in %v, %d evictions; lag %d in %d partitions, at most %d",
		m.Records, m.Batches, m.Bytes, m.Commits, m.CommitFailures, m.Rebalances, m.RebalanceTime, m.Evictions, m.Lag, m.Partitions, m.MaxLag)
}
