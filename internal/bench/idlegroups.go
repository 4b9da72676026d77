package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/internal/bench/machine"
	"github.com/quirelog/quire/topic"
)

const (
	idleGroups = 10_000
	// What one may cost at most: noise cannot move it.
	mostGroupBytes  = 2000
	mostMemberBytes = 7500
)

// groupCost is what each of many groups costs while nothing happens.
type groupCost struct {
	made             float64 // a second
	heap, goroutines float64
	cpu              float64 // share of one core, all together
}

// measureIdleGroups prints what ten thousand groups cost that nobody uses: first those that have a committed offset, then those with a member.
func measureIdleGroups(e *env, w io.Writer) (broken []string, err error) {
	eng, end, err := e.freshEngine()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, end()) }()
	ctx := context.Background()
	if _, err := eng.Topic(ctx, quireTopic); err != nil {
		return nil, err
	}
	coord, err := group.On(eng)
	if err != nil {
		return nil, err
	}
	at := []group.PartitionOffset{{TopicPartition: topic.TopicPartition{Topic: quireTopic}, LeaderEpoch: -1}}
	offsets, err := costOfGroups(func(i int) error { return coord.SetOffsets(ctx, fmt.Sprint("offsets-", i), at) })
	if err != nil {
		return nil, err
	}
	members := make([]*group.Consumer, idleGroups)
	joined, err := costOfGroups(func(i int) (err error) {
		members[i], err = group.Join(ctx, eng, fmt.Sprint("members-", i), group.Topics(quireTopic))
		return err
	})
	if err != nil {
		return nil, err
	}
	runtime.KeepAlive(members)
	t := table{{"group with", "made, krec/s", "heap B", "goroutines", "% CPU of all"}}
	for _, row := range []struct {
		name string
		cost groupCost
		most float64
	}{{"a committed offset", offsets, mostGroupBytes}, {"a member in this process", joined, mostMemberBytes}} {
		t = append(t, []string{row.name, showRate(row.cost.made), fmt.Sprintf("%.0f", row.cost.heap), showCount(row.cost.goroutines), fmt.Sprintf("%.2f", row.cost.cpu*100)})
		if row.cost.heap > row.most || row.cost.goroutines > 0.001 {
			broken = append(broken, fmt.Sprintf("idle group with %s: %.0f B, %.4f goroutines > %.0f, 0", row.name, row.cost.heap, row.cost.goroutines, row.most))
		}
	}
	out := &lines{w: w}
	out.line("\nIDLE GROUPS: the cost of each of %d", idleGroups)
	out.table(t.writeText, 1)
	return broken, out.err
}

// costOfGroups makes groups, 64 at a time, and sees what they hold.
func costOfGroups(make func(i int) error) (c groupCost, err error) {
	heap, goroutines := machine.HeapInUse(), runtime.NumGoroutine()
	begin := time.Now()
	const workers = 64
	var wg sync.WaitGroup
	var faults [workers]error
	for k := range workers {
		wg.Go(func() {
			for i := k; i < idleGroups && faults[k] == nil; i += workers {
				faults[k] = make(i)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(faults[:]...); err != nil {
		return c, err
	}
	c.made = idleGroups / time.Since(begin).Seconds()
	time.Sleep(settle)
	c.heap = (machine.HeapInUse() - heap) / idleGroups
	c.goroutines = float64(runtime.NumGoroutine()-goroutines) / idleGroups
	cpu := cpuTime()
	time.Sleep(watch)
	c.cpu = float64(cpuTime()-cpu) / float64(watch)
	return c, nil
}
