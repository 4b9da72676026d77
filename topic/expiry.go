package topic

import (
	"context"
	"time"

	"github.com/quirelog/quire/log"
)

// expireProducersEvery is how often open partitions forget idle producers at least: Kafka's
// producer.id.expiration.check.interval.ms. A topic whose quire.producer.id.expiration.ms is shorter is
// looked at as often as that, but not more than once a second.
const expireProducersEvery = 10 * time.Minute

// expiryInterval is how often producers of a topic with these settings are looked at.
func (s *Settings) expiryInterval() time.Duration {
	return min(max(s.ProducerExpiry, time.Second), expireProducersEvery)
}

// expireProducers is a task of the scheduler. It comes again while an open partition remembers a producer.
func (e *Engine) expireProducers(_ context.Context, _ *log.Log, now time.Time) (again time.Duration) {
	for _, p := range e.openPartitions() {
		l := p.log.Load()
		if l == nil || !l.Identified() {
			continue
		}
		if _, left := l.ExpireProducers(now); left == 0 {
			continue
		}
		if every := p.topic.state.Load().settings.expiryInterval(); again == 0 || every < again {
			again = every
		}
	}
	return again
}
