package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/group/assignor"
	"github.com/quirelog/quire/internal/bench/classic"
	"github.com/quirelog/quire/topic"
)

// The size of the group that is rebalanced.
const (
	rebalanceMembers    = 1000
	rebalancePartitions = 10_000
)

// costOfRebalances rebalances a group again and again, after two generations in which it comes together.
func costOfRebalances(coord *group.Coordinator, how assignor.Assignor, rounds int) (list []sample, err error) {
	ctx := context.Background()
	r := classic.New(coord, how, quireTopic, rebalanceMembers, rebalancePartitions)
	for round := range rounds + 2 {
		m := startMeter(nil)
		if err := r.Next(ctx); err != nil {
			return nil, err
		}
		if s := m.stop(); round > 1 {
			s.records = rebalanceMembers
			list = append(list, s)
		}
	}
	if had := r.Read(); had != rebalancePartitions {
		return nil, fmt.Errorf("%d of %d partitions are read", had, rebalancePartitions)
	}
	return list, nil
}

// measureRebalance prints what a rebalance costs.
func measureRebalance(e *env, w io.Writer) (broken []string, err error) {
	eng, end, err := e.freshEngine()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, end()) }()
	if _, err := eng.Topic(context.Background(), quireTopic, topic.Partitions(rebalancePartitions)); err != nil {
		return nil, err
	}
	coord, err := group.NewCoordinator(eng, group.Config{InitialDelay: 300 * time.Millisecond})
	if err != nil {
		return nil, err
	}
	t := table{{"assignor", "time", "allocs/member", "MB allocated"}}
	for _, how := range []assignor.Assignor{assignor.Range(), assignor.RoundRobin(), assignor.CooperativeSticky()} {
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
