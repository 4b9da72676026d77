package growth

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
)

const (
	backlogWorkers = 16
	backlogAck     = 64 // bytes that raw writes and syncs for an acknowledgement
)

func backlogFamilies() []*family {
	return []*family{{id: "backlog", axis: "jobs", once: true, quire: waiting{}.quire, raw: waiting{}.raw,
		points: [3][]int{{50, 500}, {1000, 10_000}, {10_000, 100_000, 1_000_000}},
		curves: []Curve{
			{ID: "deliver", Name: "Queue.Run until all are acknowledged, 16 workers", Unit: "job", Machine: "an fdatasync for all who wait", Limits: Limits{15, 1.1, -1, 1.1, 0.1}},
			{ID: "open", Name: "OpenQueue, half of them done", Unit: "opening", Machine: "reading the state", Limits: Limits{-1, 0, -1, 0, 20}},
		}}}
}

// waiting is jobs in a queue.
type waiting struct{}

func (waiting) quire(e *env, n int, _ any) (*rig, error) {
	return &rig{all: func() ([]sample, error) {
		g, err := e.openEngine(0)
		if err != nil {
			return nil, err
		}
		list, err := g.backlog(n)
		return list, errors.Join(err, g.end())
	}, close: func() error { return nil }}, nil
}

func (g *engine) backlog(n int) ([]sample, error) {
	ctx := context.Background()
	parts, err := g.use(1, topic.NoSync())
	if err != nil {
		return nil, err
	}
	recs := make([]topic.Record, 1000)
	for i := range recs {
		recs[i].Value = make([]byte, recordBytes)
	}
	for left := n - 1; left > 0; left -= min(left, len(recs)) {
		if _, err := parts[0].Append(ctx, recs[:min(left, len(recs))]...); err != nil {
			return nil, err
		}
	}
	calls := &g.fs.Calls
	q, err := group.OpenQueue(ctx, g.Engine, growing)
	if err != nil {
		return nil, err
	}
	half, err := timed(calls, func() (int, error) { return run(ctx, q, n/2) })
	if err != nil {
		return nil, err
	}
	if err := errors.Join(q.Close(), g.Close(), g.reopen()); err != nil {
		return nil, err
	}
	opened, err := timed(calls, func() (n int, err error) {
		q, err = group.OpenQueue(ctx, g.Engine, growing)
		return 1, err
	})
	if err != nil {
		return nil, err
	}
	rest, err := timed(calls, func() (int, error) { return run(ctx, q, n-half.ops) })
	g.hold(&rest)
	return []sample{half.plus(rest), opened}, errors.Join(err, q.Close())
}

// plus puts two parts of one measurement together; what is held is the later's.
func (s sample) plus(o sample) sample {
	o.ops, o.elapsed, o.allocs = s.ops+o.ops, s.elapsed+o.elapsed, s.allocs+o.allocs
	o.calls.Writes, o.calls.WriteBytes, o.calls.Syncs = s.calls.Writes+o.calls.Writes, s.calls.WriteBytes+o.calls.WriteBytes, s.calls.Syncs+o.calls.Syncs
	return o
}

// run has so many jobs done, and those that are in hand then, and counts. When those in hand before were all, there is nothing to do.
func run(ctx context.Context, q *group.Queue, jobs int) (int, error) {
	if jobs <= 0 {
		return 0, nil
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var done atomic.Int64
	err := q.Run(ctx, backlogWorkers, func(context.Context, *group.Delivery) error {
		if done.Add(1) >= int64(jobs) {
			stop()
		}
		return nil
	})
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return int(done.Load()), err
}

// rawJobs is how many acknowledgements raw writes at most: their cost does not depend on their number.
const rawJobs = 20_000

func (waiting) raw(e *env, n int, _ any) (*rig, error) {
	return &rig{all: func() ([]sample, error) {
		dir, err := e.fresh("raw")
		if err != nil {
			return nil, err
		}
		f, err := createRaw(filepath.Join(dir, "acks"))
		if err != nil {
			return nil, err
		}
		jobs := min(n, rawJobs)
		s := &stages{}
		s.count(func() (int, error) {
			return jobs, inParallel(backlogWorkers, jobs, func(int) error { return f.append(make([]byte, backlogAck), true) })
		})
		s.count(func() (int, error) {
			_, err := os.ReadFile(f.f.Name())
			return 1, err
		})
		return s.list, errors.Join(s.err, f.f.Close(), os.RemoveAll(dir))
	}, close: func() error { return nil }}, nil
}
