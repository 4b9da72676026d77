package group_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

const crashOrders = 6

var routerCrashPoints = flag.Int("router.crashes", 30, "in how many places TestRouterCrash cuts the power; 1000 for all")

// stockedOrders is a disk with orders, and with a topic for copies that does not sync by itself.
func stockedOrders(t *testing.T) *vfs.Crash {
	disk := vfs.NewCrash()
	eng, err := topic.Open("data", topic.On(disk))
	require.NoError(t, err)
	src, err := eng.Topic(t.Context(), "orders")
	require.NoError(t, err)
	_, err = eng.Topic(t.Context(), "lazy", topic.NoSync())
	require.NoError(t, err)
	for n := range crashOrders {
		_, err := src.Append(t.Context(), topic.Record{Key: []byte("k"), Value: fmt.Append(nil, n)})
		require.NoError(t, err)
	}
	require.NoError(t, eng.Close())
	return disk.After(vfs.KeepNone, 1)
}

// routeAll opens an engine and routes what is not routed yet, two records at a time, each progress committed at once. No bubble is around it
// when it fails half-way: it ends when everything has been said to be routed, or something fails.
func routeAll(ctx context.Context, fs vfs.FS) (err error) {
	eng, err := topic.Open("data", topic.On(fs))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, eng.Close()) }()
	r, err := group.OpenRouter(ctx, eng, "router", group.From("orders"), group.Bind(group.Fanout("lazy"), group.ByKey("k", "synced")),
		group.JoinWith(group.CommitEvery(0), group.ReadWith(topic.MaxPollRecords(2))))
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx, 1) }()
	synctest.Wait()
	err = r.Shutdown(ctx)
	return errors.Join(err, <-ended)
}

// copiesOf lists the sources of a topic's records.
func copiesOf(ctx context.Context, fs vfs.FS, name string) (list []int64, err error) {
	eng, err := topic.Open("data", topic.On(fs))
	if err != nil {
		return nil, err
	}
	defer eng.Close()
	t, err := eng.Topic(ctx, name)
	if err != nil {
		return nil, err
	}
	for rec, err := range t.Read(ctx, topic.UntilEnd()) {
		if err != nil {
			return nil, err
		}
		from, ok := group.ParseRouted(*rec)
		if !ok || string(rec.Value) != fmt.Sprint(from.Source.Offset) {
			return nil, fmt.Errorf("not a copy: %v", rec)
		}
		list = append(list, from.Source.Offset)
	}
	return list, nil
}

// Wherever power is lost, each record is copied to each topic in the end, first copies in order, and none a third time.
func TestRouterCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		whole := stockedOrders(t)
		before := whole.Ops()
		require.NoError(t, routeAll(t.Context(), whole))
		total := whole.Ops() - before
		step := max(total / *routerCrashPoints, 1)
		if testing.Short() {
			step *= 4
		}
		for n := before + 1; n <= before+total; n += step {
			disk := stockedOrders(t)
			disk.CrashAt(n)
			ctx, stop := context.WithTimeout(t.Context(), time.Minute)
			_ = routeAll(ctx, disk)
			stop()
			for _, policy := range vfs.Policies() {
				hint := fmt.Sprintf("operation %d of %d, %v", n-before, total, policy)
				after := disk.After(policy, uint64(n))
				require.NoError(t, routeAll(t.Context(), after), hint)
				for _, name := range []string{"lazy", "synced"} {
					list, err := copiesOf(t.Context(), after, name)
					require.NoError(t, err, hint)
					seen := make([]int, crashOrders)
					next := int64(0)
					for _, at := range list {
						if seen[at]++; seen[at] == 1 {
							require.Equal(t, next, at, "%s: %s has %v", hint, name, list)
							next++
						}
						require.LessOrEqual(t, seen[at], 2, hint)
					}
					require.EqualValues(t, crashOrders, next, "%s: %s has %v", hint, name, list)
				}
			}
		}
		t.Logf("%d of %d operations, %d policies each", (total+step-1)/step, total, len(vfs.Policies()))
	})
}
