package group

// QueueMetrics counts what a queue has done since it was opened, and tells where it stands.
type QueueMetrics struct {
	Delivered    int64 // deliveries given out
	Acknowledged int64
	Retried      int64 // answers by Release and failed attempts
	Rejected     int64
	Expired      int64 // leases that ended
	Late         int64 // answers refused
	Dead         int64 // records done without success
	Vanished     int64 // records gone from the topic before they were done
	StoreErrors  int64 // writes of state that failed

	Ready   int   // records that could be delivered now
	Resting int   // records held under a lease, or resting after a failure
	Open    int   // unfinished records looked at
	Backlog int64 // offsets not looked at yet
}

// Metrics tells how the queue does. It is cheap.
func (q *Queue) Metrics() QueueMetrics {
	q.mu.Lock()
	defer q.mu.Unlock()
	m := q.stats
	m.Ready, m.Resting = len(q.line.ready.list), len(q.line.waiting.list)
	for _, p := range q.parts {
		m.Open += p.share.unfinished()
		if high, err := p.part.High(); err == nil {
			m.Backlog += max(high-p.share.end, 0)
		}
	}
	return m
}
