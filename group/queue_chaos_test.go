package group_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
	"github.com/quirelog/quire/topic/topictest"
)

var (
	chaosJobs = flag.Int("queue.jobs", 3000, "jobs of TestQueueChaos; 100000 in the full size")
	chaosSeed = flag.Uint64("queue.seed", 1, "seed of TestQueueChaos")
)

const (
	chaosAttempts = 5
	chaosKeys     = 97
	chaosParts    = 3
	chaosMost     = 11
)

// chaos is the ledger of a run with failing workers and crashes.
type chaos struct {
	mu       sync.Mutex
	rng      *rand.Rand
	attempts map[string]int    // job: last attempt seen
	ended    map[string]bool   // job: its last delivery returned nil
	errs     map[string]string // job and attempt: what the handler returned
	busy     map[string]bool   // keys in flight
	newest   map[string]int    // key: highest job delivered
	sure     map[string]bool   // acknowledged before a clean stop
	lately   map[string]bool   // whose last delivery was in this round
	faults   []string
	handled  int
	most     int // that may be under way
}

func (c *chaos) fault(format string, args ...any) {
	c.faults = append(c.faults, fmt.Sprintf(format, args...))
}

func (c *chaos) begin(d *group.Delivery) (rest time.Duration, fate int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	job, key := string(d.Value), string(d.Key)
	var n int
	_, _ = fmt.Sscanf(job, "job %d", &n)
	switch {
	case d.Attempt <= c.attempts[job] || d.Attempt > chaosAttempts:
		c.fault("%s: attempt %d after %d", job, d.Attempt, c.attempts[job])
	case len(c.busy) >= c.most:
		c.fault("%s: %d are under way", job, len(c.busy))
	case c.busy[key]:
		c.fault("%s: key %s is in flight", job, key)
	case n < c.newest[key]:
		c.fault("%s: delivered after job %d of its key", job, c.newest[key])
	case c.sure[job]:
		c.fault("%s: delivered again after a clean stop", job)
	}
	c.attempts[job], c.newest[key], c.busy[key] = d.Attempt, n, true
	c.ended[job] = false
	c.lately[job] = true
	c.handled++
	return time.Duration(c.rng.IntN(20)) * time.Millisecond, c.rng.IntN(20)
}

func (c *chaos) finish(d *group.Delivery, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.busy, string(d.Key))
	if err == nil {
		c.ended[string(d.Value)] = true
		return
	}
	c.errs[fmt.Sprintf("%s/%d", d.Value, d.Attempt)] = err.Error()
}

func (c *chaos) handle(_ context.Context, d *group.Delivery) (err error) {
	rest, fate := c.begin(d)
	defer func() { c.finish(d, err) }()
	time.Sleep(rest)
	switch fate {
	case 0, 1, 2:
		return fmt.Errorf("failed in attempt %d", d.Attempt)
	case 3:
		return group.RetryAfter(time.Second, errors.New("later"))
	case 4:
		if d.Attempt > 2 {
			return group.Reject(errors.New("rejected"))
		}
		return errors.New("failed")
	}
	return nil
}

// round runs 16 workers until the time is up, then stops them in order or by a power cut.
func (c *chaos) round(t *testing.T, e *topictest.Engine, span time.Duration, crash, limited bool) (left int64) {
	opts := []group.QueueOption{
		group.OrderByKey(), group.MaxAttempts(chaosAttempts), group.Backoff(50*time.Millisecond, time.Second), group.DeadLetter("jobs.dead"),
	}
	c.most, c.lately = 16, map[string]bool{}
	if limited {
		c.most = chaosMost
		opts = append(opts, group.MaxInFlight(chaosMost), group.Rate(2000, 50), group.RatePerKey(100, 5),
			group.FairBy(func(r *topic.Record) string { return string(r.Key[len(r.Key)-1:]) }))
	}
	q := openQueue(t, e, opts...)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	over := make(chan error, 1)
	go func() { over <- q.Run(ctx, 16, c.handle) }()
	time.Sleep(span)
	if crash {
		e.Crash(topictest.LoseSome)
		require.Error(t, <-over)
		clear(c.busy)
		return -1
	}
	stop()
	require.ErrorIs(t, <-over, context.Canceled)
	m := q.Metrics()
	require.NoError(t, q.Close())
	for job := range c.lately { // what a crash took the answers of may not have had its turn again
		c.sure[job] = c.ended[job]
	}
	e.Reopen()
	return int64(m.Open) + m.Backlog
}

// Jobs, workers that fail at random, power cuts and orderly stops: each job ends acknowledged or dead with its story, no job is delivered
// more often than allowed, and each key keeps its order.
func TestQueueChaos(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs := *chaosJobs
		e := topictest.New(t)
		tp := e.OpenTopic("jobs", topic.Partitions(chaosParts))
		c := &chaos{
			rng: rand.New(rand.NewPCG(*chaosSeed, 7)), attempts: map[string]int{}, ended: map[string]bool{}, errs: map[string]string{},
			busy: map[string]bool{}, newest: map[string]int{}, sure: map[string]bool{},
		}
		recs := make([]topic.Record, jobs)
		for n := range recs {
			recs[n] = topic.Record{Key: fmt.Appendf(nil, "key %d", n%chaosKeys), Value: fmt.Appendf(nil, "job %d", n)}
		}
		_, err := tp.AppendBatch(t.Context(), recs)
		require.NoError(t, err)

		span := time.Duration(jobs) * time.Millisecond / 6
		rounds := 0
		for left := int64(-1); left != 0; rounds++ {
			left = c.round(t, e, span, rounds < 9 && rounds%3 != 2, rounds%2 == 1)
			require.Empty(t, c.faults)
			require.Less(t, rounds, 100)
		}
		c.check(t, e, jobs)
		t.Logf("%d jobs, %d deliveries, %d rounds", jobs, c.handled, rounds)
	})
}

func (c *chaos) check(t *testing.T, e *topictest.Engine, jobs int) {
	dead := map[string]group.DeadRecord{}
	for _, d := range deadLetters(t, e) {
		dead[string(d.Value)] = d
	}
	for n := range jobs {
		job := fmt.Sprintf("job %d", n)
		d, isDead := dead[job]
		if !isDead {
			require.True(t, c.ended[job], "%s is neither acknowledged nor dead", job)
			continue
		}
		require.Len(t, d.Attempts, c.attempts[job], "%s", job)
		for i, a := range d.Attempts {
			require.Equal(t, i+1, a.Number)
			if a.Time.IsZero() {
				continue // a crash took what was said
			}
			require.Equal(t, c.errs[fmt.Sprintf("%s/%d", job, a.Number)], a.Error)
		}
		if d.Reason == group.MaxAttemptsReached {
			require.Len(t, d.Attempts, chaosAttempts)
		}
	}
	assert.NotEmpty(t, dead)
}
