package group_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

// witness is what a program saw of a queue before and after a crash.
type witness struct {
	delivered map[int64]int  // the last attempt
	known     map[int64]bool // acknowledged, and told so
	last      int64          // the highest offset delivered: all records have one key
}

const crashJobs = 8

var crashPoints = flag.Int("queue.crashes", 20, "in how many places TestQueueCrash cuts the power; 1000 for all")

// work handles what is in the queue until nothing is left, or something fails. Records 1 and 5 fail once, record 3 is rejected, record 6
// fails always.
func (w *witness) work(fs vfs.FS) (err error) {
	eng, err := topic.Open("data", topic.On(fs))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, eng.Close()) }()
	ctx := context.Background()
	q, err := group.OpenQueue(ctx, eng, "jobs", group.OrderByKey(), group.Backoff(0, 0), group.MaxAttempts(3), group.DeadLetter("dead"))
	if err != nil {
		return err
	}
	pending := int64(-1)
	for d, err := range q.Deliveries(ctx) {
		if err != nil {
			if q.Close() == nil && pending >= 0 { // it was tried again, and is stored
				w.known[pending] = true
			}
			return err
		}
		if pending >= 0 {
			w.known[pending], pending = true, -1
		}
		switch {
		case w.known[d.Offset]:
			return wrong("%d delivered again after it was known to be done", d.Offset)
		case d.Attempt <= w.delivered[d.Offset] || d.Attempt > 3:
			return wrong("%d delivered as attempt %d after attempt %d", d.Offset, d.Attempt, w.delivered[d.Offset])
		case d.Offset < w.last:
			return wrong("%d delivered after %d of its key", d.Offset, w.last)
		}
		w.delivered[d.Offset], w.last = d.Attempt, d.Offset
		switch at := d.Offset; {
		case at%4 == 1 && d.Attempt == 1, at == 6:
			d.Retry(fmt.Errorf("fault %d", d.Attempt))
		case at == 3:
			d.Reject(errors.New("no"))
		default:
			d.Ack()
			pending = at
		}
		if d.Offset == crashJobs-1 {
			break
		}
	}
	if err := q.Close(); err != nil {
		return err
	}
	if pending >= 0 {
		w.known[pending] = true
	}
	return nil
}

func newWitness() *witness { return &witness{delivered: map[int64]int{}, known: map[int64]bool{}} }

func (w *witness) clone() *witness {
	c := newWitness()
	c.last = w.last
	for k, v := range w.delivered {
		c.delivered[k] = v
	}
	for k, v := range w.known {
		c.known[k] = v
	}
	return c
}

// stockedJobs is a disk with jobs and a queue that was never opened.
func stockedJobs(t *testing.T) *vfs.Crash {
	disk := vfs.NewCrash()
	eng, err := topic.Open("data", topic.On(disk))
	require.NoError(t, err)
	jobs, err := eng.Topic(t.Context(), "jobs")
	require.NoError(t, err)
	for n := range crashJobs {
		_, err := jobs.Append(t.Context(), topic.Record{Key: []byte("k"), Value: fmt.Appendf(nil, "job %d", n)})
		require.NoError(t, err)
	}
	require.NoError(t, eng.Close())
	return disk.After(vfs.KeepNone, 1)
}

// Wherever power is lost: what was known to be acknowledged is not delivered again, attempts go on counting, the key keeps its order, and
// in the end every record is acknowledged or dead.
func TestQueueCrash(t *testing.T) {
	whole := stockedJobs(t)
	before := whole.Ops()
	require.NoError(t, newWitness().work(whole))
	total := whole.Ops() - before
	step := max(total / *crashPoints, 1)
	if testing.Short() {
		step *= 4
	}
	if os.Getenv("QUIRE_EVERY_CUT") != "" {
		step = 1
	}
	for n := before + 1; n <= before+total; n += step {
		disk := stockedJobs(t)
		disk.CrashAt(n)
		saw := newWitness()
		require.NoError(t, violated(saw.work(disk)))
		for _, policy := range vfs.Policies() {
			hint := fmt.Sprintf("operation %d of %d, %v", n-before, total, policy)
			w := saw.clone()
			after := disk.After(policy, uint64(n))
			require.NoError(t, w.finish(after), hint)
			for at := range int64(crashJobs) {
				require.True(t, w.known[at] || w.delivered[at] > 0, "%s: record %d", hint, at)
			}
		}
	}
	t.Logf("%d of %d operations, %d policies each", (total+step-1)/step, total, len(vfs.Policies()))
}

// finish works on until the queue is empty; the last record may be done already.
func (w *witness) finish(fs vfs.FS) error {
	if !w.known[crashJobs-1] {
		eng, err := topic.Open("data", topic.On(fs))
		if err != nil {
			return err
		}
		if _, err = eng.Topic(context.Background(), "jobs"); err != nil {
			return err
		}
		if err = eng.Close(); err != nil {
			return err
		}
		done, err := leftNothing(fs)
		if err != nil || done {
			return err
		}
		if err := w.work(fs); err != nil {
			return err
		}
	}
	letters, err := deadOffsets(fs)
	if err != nil {
		return err
	}
	if !letters[3] || !letters[6] {
		return fmt.Errorf("dead letters of %v, not of 3 and 6", letters)
	}
	return nil
}

// leftNothing tells that the queue has nothing to deliver: the last acknowledgement was stored, and not known to be.
func leftNothing(fs vfs.FS) (bool, error) {
	eng, err := topic.Open("data", topic.On(fs))
	if err != nil {
		return false, err
	}
	defer eng.Close()
	q, err := group.OpenQueue(context.Background(), eng, "jobs")
	if err != nil {
		return false, err
	}
	m := q.Metrics()
	return m.Backlog == 0, q.Close()
}

func deadOffsets(fs vfs.FS) (map[int64]bool, error) {
	eng, err := topic.Open("data", topic.On(fs))
	if err != nil {
		return nil, err
	}
	defer eng.Close()
	dead, err := eng.Topic(context.Background(), "dead")
	if err != nil {
		return nil, err
	}
	list := map[int64]bool{}
	for rec, err := range dead.Read(context.Background(), topic.UntilEnd()) {
		if err != nil {
			return nil, err
		}
		d, ok := group.ParseDeadRecord(*rec)
		if !ok || len(d.Attempts) == 0 || string(d.Value) != fmt.Sprintf("job %d", d.Offset) {
			return nil, fmt.Errorf("not a dead letter: %+v", rec)
		}
		list[d.Offset] = true
	}
	return list, nil
}

// What is acknowledged while others are being stored is stored after them, before its worker goes on.
func TestAnswerDuringAStoreIsDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewCrash()
		slow := vfs.NewFault(disk)
		eng, err := topic.Open("data", topic.On(slow))
		require.NoError(t, err)
		jobs, err := eng.Topic(t.Context(), "jobs")
		require.NoError(t, err)
		for range 2 {
			_, err := jobs.Append(t.Context(), topic.Record{})
			require.NoError(t, err)
		}
		q, err := group.OpenQueue(t.Context(), eng, "jobs")
		require.NoError(t, err)
		gates := []chan struct{}{make(chan struct{}), make(chan struct{})}
		go func() {
			_ = q.Run(t.Context(), 2, func(_ context.Context, d *group.Delivery) error { <-gates[d.Offset]; return nil })
		}()
		synctest.Wait()
		met := make(chan struct{})
		slow.Add(vfs.Rule{Op: vfs.OpSync, Path: "data/" + group.ShareStateTopic + "-*/*.log", Done: true, Hook: func(vfs.Op, string) {
			close(gates[1])
			synctest.Wait()
			close(met)
		}})
		close(gates[0])
		<-met
		synctest.Wait()
		after := disk.After(vfs.KeepNone, 0)
		require.NoError(t, q.Close())
		require.NoError(t, eng.Close())

		eng, err = topic.Open("data", topic.On(after))
		require.NoError(t, err)
		defer eng.Close()
		q, err = group.OpenQueue(t.Context(), eng, "jobs")
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for d := range q.Deliveries(ctx) {
			require.Nil(t, d, "delivered again")
		}
		require.NoError(t, q.Close())
	})
}
