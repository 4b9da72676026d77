package growth

import (
	"context"
	"errors"
	"time"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/group/assignor"
	"github.com/quirelog/quire/internal/bench/classic"
	"github.com/quirelog/quire/topic"
)

// memberShare is how many partitions there are for each member.
const memberShare = 10

func memberFamilies() []*family {
	curve := func(id, name, why string, l Limits) Curve {
		return Curve{ID: id, Name: name, Unit: "member", Machine: why, Limits: l}
	}
	return []*family{{id: "members", axis: "members", points: [3][]int{{1, 10}, {1, 10, 100, 1000}, {1, 10, 100, 1000}}, quire: belonging{}.quire, raw: belonging{}.raw,
		curves: []Curve{
			curve("heartbeat", "heartbeats of all, 64 goroutines", "a lock and a map", Limits{16, 0.01, -1, 0.01, 0.01}),
			curve("commit", "each commits an offset, 64 goroutines", "an fdatasync for all who wait", Limits{40, 2.1, -1, 1.1, 0.01}),
			curve("rebalance", "all join, one decides, all know, on disk", "a write and an fdatasync", Limits{200, 2.1, -1, 1.1, 0.1}),
		}}}
}

// belonging is the members of one group.
type belonging struct{}

func (belonging) quire(e *env, n int, _ any) (*rig, error) {
	g, err := e.openEngine(0)
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	if _, err := g.Topic(ctx, growing, topic.Partitions(n*memberShare)); err != nil {
		return nil, errors.Join(err, g.end())
	}
	coord, err := group.NewCoordinator(g.Engine, group.Config{InitialDelay: 300 * time.Millisecond})
	if err != nil {
		return nil, errors.Join(err, g.end())
	}
	all := classic.New(coord, assignor.CooperativeSticky(), growing, n, n*memberShare)
	for range 2 { // in which the group comes together
		if err := all.Next(ctx); err != nil {
			return nil, errors.Join(err, g.end())
		}
	}
	round := int64(0)
	return &rig{close: g.end, shows: []func() (sample, error){
		g.show(func() (int, error) { return e.again(n, func(i int) error { return all.Heartbeat(ctx, i) }) }),
		g.show(func() (int, error) {
			round++
			return e.again(n, func(i int) error { return all.Commit(ctx, i, round) })
		}),
		g.show(func() (int, error) { return n, all.Next(ctx) }),
	}}, nil
}

// again calls f for 0 to n-1, over and over and as many at a time whatever n is, until the slice is over, and counts.
func (e *env) again(n int, f func(i int) error) (int, error) {
	calls := max(n, 4*workers)
	rounds, err := e.pingPong(func() error { return each(calls, func(i int) error { return f(i % n) }) })
	return rounds * calls, err
}

// raw notes the time of a member in a map, writes and syncs 64 bytes for those who wait, and 100 bytes a member in one write.
func (belonging) raw(e *env, n int, _ any) (*rig, error) {
	r, err := e.openRaw(1)
	if err != nil {
		return nil, err
	}
	beats := make(map[int]time.Time, n)
	beat := func(i int) error {
		r.files[0].mu.Lock()
		defer r.files[0].mu.Unlock()
		beats[i] = time.Now()
		return nil
	}
	return &rig{close: r.end, shows: []func() (sample, error){
		plain(func() (int, error) { return e.again(n, beat) }),
		plain(func() (int, error) {
			return e.again(n, func(int) error { return r.files[0].append(make([]byte, backlogAck), true) })
		}),
		plain(func() (int, error) { return n, r.files[0].append(make([]byte, 100*n), true) }),
	}}, nil
}
