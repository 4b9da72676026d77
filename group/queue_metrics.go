package group

import "time"

// QueueMetrics counts what a queue has done since it was opened, and tells where it stands.
type QueueMetrics struct {
	Delivered    int64 // deliveries given out
	Acknowledged int64
	Retried      int64 // answers by Release and failed attempts
	Rejected     int64
	Expired      int64 // leases that ended
	Late         int64 // answers refused
	Dead         int64 // records done without success: the dead letters, if there are any
	Vanished     int64 // records gone from the topic before they were done
	StoreErrors  int64 // writes of state that failed

	// What is open is ready, limited, in flight, resting, parked, or behind the first of its key.
	Open     int           // unfinished records looked at
	Ready    int           // that could be delivered now, but for the limits of the queue
	Limited  int           // that could be, but for the limits of their keys
	InFlight int           // with somebody
	Resting  int           // to be tried again later
	Parked   int           // dead, and refused by the topic of the dead letters: see [DeadLetter]
	Oldest   time.Duration // the age of the oldest of them, by the records' times; 0 if there is none
	Backlog  int64         // offsets not looked at yet
}

// Metrics tells how the queue does. It is cheap: it looks at nothing new. [Queue.Peek] does.
func (q *Queue) Metrics() QueueMetrics {
	if q.hub == nil {
		return QueueMetrics{}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	now, l := time.Now(), q.line
	if q.end == nil {
		q.advanceLocked(now)
	}
	m := q.stats
	m.Ready, m.Limited, m.InFlight, m.Resting = l.ready.n+l.places[placeDead], l.places[placeHeld], l.flying, l.places[placeResting]
	for _, p := range q.parts {
		m.Open += p.share.unfinished()
		m.Parked += p.share.parked
		if s := p.share.first(); s != nil {
			m.Oldest = max(m.Oldest, now.Sub(time.UnixMilli(s.line.born)))
		}
		if !p.part.Opened() {
			continue
		}
		if high, err := p.part.High(); err == nil {
			m.Backlog += max(high-p.share.end, 0)
		}
	}
	return m
}
