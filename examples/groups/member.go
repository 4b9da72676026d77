package main

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
)

// A member reads its share until all is read, or, if most is not zero, until it has read that many lines.
type member struct {
	name string
	most int
	work *tally
	c    *group.Consumer
}

func (m *member) join(ctx context.Context, eng *topic.Engine) (err error) {
	m.c, err = group.Join(ctx, eng, "counters", group.Topics("visits"), group.ReadWith(topic.MaxPollRecords(100)),
		group.OnAssign(func(_ context.Context, parts []topic.TopicPartition) error {
			m.work.say("%s got %v", m.name, parts)
			return nil
		}),
		group.OnRevoke(func(_ context.Context, parts []topic.TopicPartition) error {
			m.work.say("%s hands over %v", m.name, parts)
			return nil
		}))
	return err
}

func (m *member) run(ctx context.Context) error {
	read := 0
	for batch, err := range m.c.Batches(ctx) {
		if err != nil {
			return err
		}
		read += len(batch.Records)
		batch.Mark()
		m.work.add(len(batch.Records))
		if m.most > 0 && read >= m.most {
			break
		}
	}
	left := m.c.Metrics()
	m.work.say("%s read %d lines, and leaves %d in %d partitions", m.name, read, left.Lag, left.Partitions)
	return m.c.Close()
}

// A tally is what the members have done together.
type tally struct {
	mu   sync.Mutex
	left int
	done func() // called when nothing is left
	out  io.Writer
}

func (t *tally) add(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.left -= n; t.left == 0 {
		t.done()
	}
}

func (t *tally) say(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.out, format+"\n", args...)
}
