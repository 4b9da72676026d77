package topic

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// topicStats counts what happens in a topic. Only atomic adds: they are on the way of every append and fetch.
type topicStats struct {
	batchesIn, recordsIn, bytesIn      atomic.Int64
	appendErrors                       atomic.Int64
	fetches, emptyFetches, bytesOut    atomic.Int64
	recordsOut                         atomic.Int64 // records handed to readers, by those who decode them
	segmentsRolled, opened, recoveries atomic.Int64
	segmentsRemoved, bytesRemoved      atomic.Int64
	compactions, compactionsFailed     atomic.Int64
	recordsCompacted, bytesCompacted   atomic.Int64
}

// fetched counts one fetch of n bytes.
func (s *topicStats) fetched(n int64) {
	s.fetches.Add(1)
	if n == 0 {
		s.emptyFetches.Add(1)
		return
	}
	s.bytesOut.Add(n)
}

// stats is what the engine counts beside its topics.
type stats struct {
	appendTime  histogram // appends by call, from the caller's point of view
	produceTime histogram // a producer's batches, from hand-over to acknowledgement

	mu      sync.Mutex
	retired TopicMetrics // sums of deleted topics
}

// retire keeps a deleted topic's counts in the sums.
func (s *stats) retire(t *topicStats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired.add(t.snapshot())
}

func (s *topicStats) snapshot() TopicMetrics {
	return TopicMetrics{
		BatchesIn: s.batchesIn.Load(), RecordsIn: s.recordsIn.Load(), BytesIn: s.bytesIn.Load(),
		AppendErrors: s.appendErrors.Load(),
		Fetches:      s.fetches.Load(), EmptyFetches: s.emptyFetches.Load(),
		RecordsOut: s.recordsOut.Load(), BytesOut: s.bytesOut.Load(),
		SegmentsRolled: s.segmentsRolled.Load(), PartitionsOpened: s.opened.Load(), Recoveries: s.recoveries.Load(),
		SegmentsRemoved: s.segmentsRemoved.Load(), BytesRemoved: s.bytesRemoved.Load(),
		Compactions: s.compactions.Load(), CompactionsFailed: s.compactionsFailed.Load(),
		RecordsCompacted: s.recordsCompacted.Load(), BytesCompacted: s.bytesCompacted.Load(),
	}
}

// TopicMetrics counts since the engine was opened. Bytes are those of whole batches, as stored.
type TopicMetrics struct {
	Topic            string // empty in the sums
	Partitions       int
	OpenPartitions   int // partitions in use: their logs are open
	BatchesIn        int64
	RecordsIn        int64
	BytesIn          int64
	AppendErrors     int64
	Fetches          int64
	EmptyFetches     int64 // fetches that found nothing
	RecordsOut       int64 // records decoded for consumers and readers; raw fetches do not count records
	BytesOut         int64
	SegmentsRolled   int64
	PartitionsOpened int64 // openings of partitions
	Recoveries       int64 // openings that found an unclean stop
	SegmentsRemoved  int64 // by retention
	BytesRemoved     int64 // their data

	Compactions       int64 // passes, those that failed included
	CompactionsFailed int64
	RecordsCompacted  int64 // records that compactions dropped
	BytesCompacted    int64 // bytes that they saved
	Uncleanable       int   // partitions that the cleaner leaves alone, see Partition.Uncleanable

	LogBytes int64 // size of the data of open partitions now
}

func (m *TopicMetrics) add(o TopicMetrics) {
	m.Partitions += o.Partitions
	m.OpenPartitions += o.OpenPartitions
	m.BatchesIn += o.BatchesIn
	m.RecordsIn += o.RecordsIn
	m.BytesIn += o.BytesIn
	m.AppendErrors += o.AppendErrors
	m.Fetches += o.Fetches
	m.EmptyFetches += o.EmptyFetches
	m.RecordsOut += o.RecordsOut
	m.BytesOut += o.BytesOut
	m.SegmentsRolled += o.SegmentsRolled
	m.PartitionsOpened += o.PartitionsOpened
	m.Recoveries += o.Recoveries
	m.SegmentsRemoved += o.SegmentsRemoved
	m.BytesRemoved += o.BytesRemoved
	m.Compactions += o.Compactions
	m.CompactionsFailed += o.CompactionsFailed
	m.RecordsCompacted += o.RecordsCompacted
	m.BytesCompacted += o.BytesCompacted
	m.Uncleanable += o.Uncleanable
	m.LogBytes += o.LogBytes
}

// Metrics is a snapshot of an engine's counters. Counters of one snapshot may be some operations apart.
type Metrics struct {
	Total       TopicMetrics   // all topics, deleted ones included
	Topics      []TopicMetrics // by name
	OpenFiles   int            // descriptors held now
	Goroutines  int            // the engine's own
	Scrubbed    int64          // bytes that passes over all data have read
	ScrubFaults int64          // faults that they found
	AppendTime  Histogram      // durations of appends by call, a sample of them at levels below sync
	ProduceTime Histogram      // durations of producers' batches, from hand-over to acknowledgement
	Delayed     DelayMetrics   // messages with a time of delivery
}

// Metrics can be asked at any time, also after Close. The first call reads the sizes of segments that were not used since the
// engine was opened; later ones do not ask the disk.
func (e *Engine) Metrics() Metrics {
	if e.closing == nil {
		return Metrics{}
	}
	m := Metrics{
		OpenFiles:   e.openFiles(),
		Goroutines:  e.goroutines.size(),
		Scrubbed:    e.scrub.bytes.Load(),
		ScrubFaults: e.scrub.found.Load(),
		AppendTime:  e.stats.appendTime.snapshot(),
		ProduceTime: e.stats.produceTime.snapshot(),
		Delayed:     e.delays.metrics(),
	}
	e.stats.mu.Lock()
	m.Total = e.stats.retired
	e.stats.mu.Unlock()
	for _, t := range e.allTopics() {
		m.Topics = append(m.Topics, t.Metrics())
	}
	slices.SortFunc(m.Topics, func(a, b TopicMetrics) int { return strings.Compare(a.Topic, b.Topic) })
	for _, t := range m.Topics {
		m.Total.add(t)
	}
	return m
}

// Metrics is a snapshot of the topic's counters.
func (t *Topic) Metrics() TopicMetrics {
	m := t.stats.snapshot()
	m.Topic = t.name
	for _, p := range t.present().partitions {
		m.Partitions++
		if p.Uncleanable() != nil {
			m.Uncleanable++
		}
		if l := p.log.Load(); l != nil {
			m.OpenPartitions++
			m.LogBytes += l.Size()
		}
	}
	return m
}

// String is a table for humans.
func (m Metrics) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-24s %6s %6s %12s %14s %12s %14s %8s\n",
		"topic", "parts", "open", "records in", "bytes in", "records out", "bytes out", "errors")
	row := func(name string, t TopicMetrics) {
		fmt.Fprintf(&b, "%-24s %6d %6d %12d %14d %12d %14d %8d\n",
			name, t.Partitions, t.OpenPartitions, t.RecordsIn, t.BytesIn, t.RecordsOut, t.BytesOut, t.AppendErrors)
	}
	for _, t := range m.Topics {
		row(t.Topic, t)
	}
	row("total", m.Total)
	fmt.Fprintf(&b, "append time   %v\nproduce time  %v\nopen files %d, goroutines %d\n",
		m.AppendTime, m.ProduceTime, m.OpenFiles, m.Goroutines)
	return b.String()
}

// HistogramBuckets is the number of buckets of a [Histogram].
const HistogramBuckets = 28

// Histogram counts durations in fixed buckets: bucket i holds those below BucketLimit(i) that do not fit the
// one before; the last one holds everything longer too.
type Histogram struct {
	Buckets [HistogramBuckets]int64
	Count   int64
	Sum     time.Duration
}

// BucketLimit is the upper end of a bucket: 1 microsecond for the first, then double that, and so on.
func BucketLimit(i int) time.Duration { return time.Microsecond << i }

// Quantile is an upper bound of the duration that the fraction q (0 to 1) of all stayed below; 0 without any.
func (h Histogram) Quantile(q float64) time.Duration {
	if h.Count == 0 {
		return 0
	}
	rank := int64(q * float64(h.Count))
	for i, n := range h.Buckets {
		if rank < n {
			return BucketLimit(i)
		}
		rank -= n
	}
	return BucketLimit(HistogramBuckets - 1)
}

// Mean is the average duration.
func (h Histogram) Mean() time.Duration {
	if h.Count == 0 {
		return 0
	}
	return h.Sum / time.Duration(h.Count)
}

// String is count, mean and three quantiles.
func (h Histogram) String() string {
	return fmt.Sprintf("n=%d mean=%v p50<%v p99<%v p99.9<%v", h.Count, h.Mean(), h.Quantile(0.5), h.Quantile(0.99), h.Quantile(0.999))
}

// histogram is the counting form of a Histogram.
type histogram struct {
	buckets [HistogramBuckets]atomic.Int64
	sum     atomic.Int64
}

// since counts the time from began until now.
func (h *histogram) since(began time.Time) { h.observe(time.Since(began)) }

func (h *histogram) observe(d time.Duration) {
	d = max(d, 0)
	i := min(bits.Len64(uint64(d/time.Microsecond)), HistogramBuckets-1)
	h.buckets[i].Add(1)
	h.sum.Add(int64(d))
}

func (h *histogram) snapshot() Histogram {
	s := Histogram{Sum: time.Duration(h.sum.Load())}
	for i := range h.buckets {
		s.Buckets[i] = h.buckets[i].Load()
		s.Count += s.Buckets[i]
	}
	return s
}

// openFiles is how many descriptors the engine holds.
func (e *Engine) openFiles() int { return e.limited.OpenFiles() }
