package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
)

// The size of the group that is rebalanced.
const (
	rebalanceMembers    = 1000
	rebalancePartitions = 10_000
)

// rebalanced is a group of the classic protocol, as a broker would have it: every member's calls are the coordinator's.
type rebalanced struct {
	coord *group.Coordinator
	name  string
	how   group.Assignor
	meta  group.Metadata
	ids   []string
	owned [][]topic.TopicPartition
	round byte
	last  int32 // generation
}

// generation has everybody join anew, the leader decide, and everybody learn what it is to read; all of it is on disk then.
func (r *rebalanced) generation(ctx context.Context) error {
	r.round++ // a member that says the same as before would not begin a generation
	faults := make([]error, len(r.ids))
	var wg sync.WaitGroup
	for i := range r.ids {
		wg.Go(func() { faults[i] = r.member(ctx, i) })
	}
	wg.Wait()
	return errors.Join(faults...)
}

func (r *rebalanced) member(ctx context.Context, i int) error {
	said := group.Subscription{Topics: []string{quireTopic}, UserData: []byte{r.round}, Owned: r.owned[i], Generation: r.last}
	j := r.coord.Join(ctx, r.name, group.JoinRequest{
		MemberID: r.ids[i], ClientID: "c", SessionTimeout: time.Minute, RebalanceTimeout: time.Minute, ProtocolType: group.ProtocolType,
		Fresh: fmt.Sprint(i), Protocols: []group.Protocol{{Name: r.how.Name(), Metadata: group.AppendSubscription(nil, 3, said)}},
	})
	if j.Err != nil {
		return j.Err
	}
	r.ids[i] = j.MemberID
	req := group.SyncRequest{MemberID: j.MemberID, Generation: j.Generation}
	if j.Leader == j.MemberID {
		r.last = j.Generation
		plan, err := r.plan(j.Members)
		if err != nil {
			return err
		}
		req.Assignments = plan
	}
	s := r.coord.Sync(ctx, r.name, req)
	if s.Err != nil {
		return s.Err
	}
	parts, _, err := group.ParseAssignment(s.Assignment)
	r.owned[i] = parts
	return err
}

func (r *rebalanced) plan(members []group.JoinedMember) (map[string][]byte, error) {
	list := make([]group.Subscriber, len(members))
	for i, m := range members {
		s, err := group.ParseSubscription(m.Metadata)
		if err != nil {
			return nil, err
		}
		list[i] = group.Subscriber{MemberID: m.MemberID, Subscription: s}
	}
	plan, err := r.how.Assign(r.meta, list)
	if err != nil {
		return nil, err
	}
	out := make(map[string][]byte, len(plan))
	for id, parts := range plan {
		out[id] = group.AppendAssignment(nil, 3, parts, nil)
	}
	return out, nil
}

// costOfRebalances rebalances a group again and again, after two generations in which it comes together.
func costOfRebalances(coord *group.Coordinator, how group.Assignor, rounds int) (list []sample, err error) {
	ctx := context.Background()
	r := &rebalanced{coord: coord, name: how.Name(), how: how, meta: group.Metadata{quireTopic: {Partitions: rebalancePartitions}}, last: group.NoGeneration,
		ids: make([]string, rebalanceMembers), owned: make([][]topic.TopicPartition, rebalanceMembers)}
	for round := range rounds + 2 {
		m := startMeter(nil)
		if err := r.generation(ctx); err != nil {
			return nil, err
		}
		if s := m.stop(); round > 1 {
			s.records = rebalanceMembers
			list = append(list, s)
		}
	}
	had := 0
	for _, parts := range r.owned {
		had += len(parts)
	}
	if had != rebalancePartitions {
		return nil, fmt.Errorf("%d of %d partitions are read", had, rebalancePartitions)
	}
	return list, nil
}

// measureRebalance prints what a rebalance costs.
func measureRebalance(e *env, w io.Writer) (broken []string, err error) {
	dir, err := e.fresh(quire{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	eng, err := topic.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, eng.Close()) }()
	if _, err := eng.Topic(context.Background(), quireTopic, topic.Partitions(rebalancePartitions)); err != nil {
		return nil, err
	}
	coord, err := group.NewCoordinator(eng, group.Config{InitialDelay: 300 * time.Millisecond})
	if err != nil {
		return nil, err
	}
	t := table{{"assignor", "time", "allocs/member", "MB allocated"}}
	for _, how := range []group.Assignor{group.Range(), group.RoundRobin(), group.CooperativeSticky()} {
		list, err := costOfRebalances(coord, how, e.rounds)
		if err != nil {
			return nil, err
		}
		o := &outcome{samples: list}
		allocs := least(o, allocsPerRecord)
		if allocs > mostRebalanceAllocs {
			broken = append(broken, fmt.Sprintf("rebalance, %s: %.0f allocations a member > %d", how.Name(), allocs, mostRebalanceAllocs))
		}
		t = append(t, []string{how.Name(), showDuration(mid(o, elapsed)), showCount(mid(o, allocsPerRecord)),
			fmt.Sprintf("%.1f", float64(mid(o, func(s sample) uint64 { return s.allocBytes }))/1e6)})
	}
	out := &lines{w: w}
	out.line("\nREBALANCE: %d members, %d partitions; all join, one decides, all know, on disk; bytes of the protocol made and read", rebalanceMembers, rebalancePartitions)
	out.table(t.writeText, 1)
	return broken, out.err
}

// mostRebalanceAllocs is the most allocations that a member may cost a rebalance, those of its own calls included.
const mostRebalanceAllocs = 150
