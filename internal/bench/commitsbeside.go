package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
)

// measureCommitsBeside prints what a commit costs the coordinator beside groups that do nothing, in memory, so that no sync hides it.
func measureCommitsBeside(e *env, w io.Writer) error {
	t := table{{"groups beside", "us/commit"}}
	for _, groups := range []int{0, 100, 20_000} {
		took, err := commitBeside(e, groups)
		if err != nil {
			return err
		}
		t = append(t, []string{fmt.Sprint(groups), fmt.Sprintf("%.1f", float64(took.Nanoseconds())/1000)})
	}
	out := &lines{w: w}
	out.line("\nCOMMITS BESIDE GROUPS: one after the other, in memory; the groups beside have a committed offset each")
	out.table(t.writeText, 1)
	return out.err
}

func commitBeside(e *env, groups int) (each time.Duration, err error) {
	eng, err := topic.Open("", topic.InMemory())
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, eng.Close()) }()
	ctx := context.Background()
	if _, err := eng.Topic(ctx, quireTopic); err != nil {
		return 0, err
	}
	coord, err := group.On(eng)
	if err != nil {
		return 0, err
	}
	at := []group.PartitionOffset{{TopicPartition: topic.TopicPartition{Topic: quireTopic}, LeaderEpoch: -1}}
	for i := range groups {
		if err := coord.SetOffsets(ctx, fmt.Sprint("beside-", i), at); err != nil {
			return 0, err
		}
	}
	n, begin := 0, time.Now()
	for ; time.Since(begin) < e.slice; n++ {
		if err := coord.SetOffsets(ctx, "one", at); err != nil {
			return 0, err
		}
	}
	return time.Since(begin) / time.Duration(n), nil
}
