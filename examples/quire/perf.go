package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/quirelog/quire/topic"
)

// perf is the command of that name.
func (t *tool) perf(name string, args []string) error {
	return t.choose(name, []command{
		{"produce", "append records as fast as it goes, or at a rate", (*tool).perfProduce},
		{"consume", "read records as fast as it goes", (*tool).perfConsume},
	}, args)
}

// load is what perf produce appends.
type load struct {
	topic   string
	records int
	size    int
	rate    float64 // records a second; 0 or less: no bound
}

func (t *tool) perfProduce(name string, args []string) error {
	f := t.flags(name, "TOPIC", `Append records and print what kafka-producer-perf-test prints: a line every five seconds and one at the end.
A record's latency is the time from handing it over to its acknowledgement.`)
	dir := dirFlag(f)
	l := load{}
	f.IntVar(&l.records, "num-records", 100_000, "how many records")
	f.IntVar(&l.size, "record-size", 100, "`bytes` of each record's value")
	f.Float64Var(&l.rate, "throughput", -1, "at most so many records a second; -1: no bound")
	partitions := f.Int("partitions", 1, "partitions of the topic, if it is made now")
	var settings settingFlags
	f.Var(&settings, "set", "a setting of the topic, if it is made now, as `name=value`, such as quire.durability=os; may be given more than once")
	producer := producerFlags(f)
	rest, err := t.parse(f, args, 1, 1)
	if err != nil {
		return err
	}
	l.topic = rest[0]
	opts, err := producer.options()
	if err != nil {
		return t.misuse(f, "%v", err)
	}
	if l.records < 1 || l.size < 0 || l.size > maxLine {
		return t.misuse(f, "%d records of %d bytes", l.records, l.size)
	}
	return t.withEngine(*dir, func(eng *topic.Engine) error {
		if _, err := t.existing(eng, l.topic); errors.Is(err, topic.ErrNotFound) {
			_, err = eng.CreateTopic(t.ctx, l.topic, append(settings, topic.Partitions(*partitions))...)
			if err != nil {
				return err
			}
		} else if err != nil {
			return err
		}
		p, err := eng.NewProducer(opts...)
		if err != nil {
			return err
		}
		return errors.Join(t.run(p, l), p.Close())
	})
}

// run sends the load and prints.
func (t *tool) run(p *topic.Producer, l load) error {
	value := payload(l.size)
	c := &clock{t: t, size: l.size, begin: time.Now()}
	c.window = c.begin
	for n := range l.records {
		if err := c.pace(n, l.rate); err != nil {
			return err
		}
		handed := time.Now()
		err := p.Send(t.ctx, l.topic, topic.Record{Value: value}, func(_ topic.Position, err error) {
			c.acked(time.Since(handed), err)
		})
		if err != nil {
			return err
		}
	}
	if err := p.Flush(t.ctx); err != nil {
		return err
	}
	return c.finish()
}

// payload is random letters, as Kafka's measurement sends, so that compression finds about as much as there.
func payload(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte('A' + rand.IntN(26))
	}
	return b
}

// windowLength is the time between two lines of figures.
const windowLength = 5 * time.Second

// A clock counts acknowledgements.
type clock struct {
	t      *tool
	size   int
	begin  time.Time
	timer  *time.Timer
	mu     sync.Mutex
	window time.Time // when the present window began
	recent latencies // since then
	total  latencies
	failed error // the first
}

// pace waits until the n-th record is due.
func (c *clock) pace(n int, rate float64) error {
	if rate <= 0 {
		return nil
	}
	early := time.Duration(float64(n)/rate*float64(time.Second)) - time.Since(c.begin)
	if early < time.Millisecond {
		return nil
	}
	if c.timer == nil {
		c.timer = time.NewTimer(early)
	} else {
		c.timer.Reset(early)
	}
	select {
	case <-c.t.ctx.Done():
		return c.t.ctx.Err()
	case <-c.timer.C:
		return nil
	}
}

func (c *clock) acked(took time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		if c.failed == nil {
			c.failed = err
		}
		return
	}
	c.total.add(took)
	c.recent.add(took)
	if now := time.Now(); now.Sub(c.window) >= windowLength {
		fmt.Fprintln(c.t.stdout, summary(&c.recent, c.size, now.Sub(c.window))+".")
		_ = c.t.stdout.Flush() // figures are wanted while it runs; the last flush reports an error
		c.window, c.recent = now, latencies{}
	}
}

// summary is the line of figures without its percentiles.
func summary(l *latencies, size int, took time.Duration) string {
	n := len(l.all)
	perSecond, megabytes := rates(n, int64(n)*int64(size), took)
	return fmt.Sprintf("%d records sent, %.1f records/sec (%.2f MB/sec), %.2f ms avg latency, %.2f ms max latency",
		n, perSecond, megabytes, ms(l.mean()), ms(l.most))
}

// finish prints the last line.
func (c *clock) finish() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintf(c.t.stdout, "%s, %s.\n", summary(&c.total, c.size, time.Since(c.begin)), c.total.showPercentiles())
	return c.failed
}
