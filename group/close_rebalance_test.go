package group_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/group/assignor"
	"github.com/quirelog/quire/topic"
)

// remote is a member behind a broker that reads nothing and takes its time: as long as it does, the group is in the middle of a rebalance.
type remote struct {
	coord    *group.Coordinator
	assignor assignor.Assignor
	id       string
	joins    func() time.Duration // how long it waits before it joins
	syncs    func() time.Duration // and before it syncs
}

func (m *remote) join(ctx context.Context) group.JoinResponse {
	time.Sleep(m.joins())
	r := m.coord.Join(ctx, "g", group.JoinRequest{
		MemberID: m.id, SessionTimeout: 30 * time.Second, RebalanceTimeout: time.Minute, ProtocolType: assignor.ProtocolType,
		Protocols: []group.Protocol{{Name: m.assignor.Name(),
			Metadata: assignor.AppendSubscription(nil, assignor.NewestSubscription, assignor.Subscription{Generation: assignor.NoGeneration})}},
	})
	m.id = r.MemberID
	return r
}

// sync ends the rebalance; it assigns if it leads.
func (m *remote) sync(ctx context.Context, r group.JoinResponse, partitions int32) error {
	time.Sleep(m.syncs())
	req := group.SyncRequest{MemberID: m.id, Generation: r.Generation, Assignments: map[string][]byte{}}
	var members []assignor.Subscriber
	for _, j := range r.Members {
		s, err := assignor.ParseSubscription(j.Metadata)
		if err != nil {
			return err
		}
		members = append(members, assignor.Subscriber{MemberID: j.MemberID, InstanceID: j.InstanceID, Subscription: s})
	}
	plan, err := m.assignor.Assign(assignor.Metadata{"a": assignor.TopicInfo{Partitions: partitions}}, members)
	if err != nil {
		return err
	}
	for id, parts := range plan {
		req.Assignments[id] = assignor.AppendAssignment(nil, assignor.NewestSubscription, parts, nil)
	}
	return m.coord.Sync(ctx, "g", req).Err
}

// live takes part until ctx ends.
func (m *remote) live(ctx context.Context, partitions int32) error {
	for ctx.Err() == nil {
		r := m.join(ctx)
		if r.Err != nil {
			continue
		}
		err := m.sync(ctx, r, partitions)
		for err == nil && ctx.Err() == nil {
			time.Sleep(200 * time.Millisecond)
			err = m.coord.Heartbeat(ctx, "g", group.HeartbeatRequest{MemberID: m.id, Generation: r.Generation}).Err
		}
		if err != nil && !errors.Is(err, group.ErrRebalanceInProgress) && ctx.Err() == nil {
			return err
		}
	}
	return m.coord.Leave(context.WithoutCancel(ctx), "g", group.LeaveRequest{Members: []group.Leaver{{MemberID: m.id}}}).Err
}

// A member is closed while a rebalance is on that others hold up. While the group waits for them to join, what it marked is committed at
// once; while it waits for the leader's assignment, as soon as that has come, for until then the group takes no commits.
func TestCloseInTheMiddleOfARebalance(t *testing.T) {
	for _, assignor := range []assignor.Assignor{assignor.Range(), assignor.CooperativeSticky()} {
		for name, late := range map[string]struct{ join, sync, took time.Duration }{
			"waits for a join":           {10 * time.Second, 0, 0},
			"waits for the assignment":   {0, 10 * time.Second, 6 * time.Second},
			"waits for it, and in vain":  {0, 2 * time.Minute, 26 * time.Second}, // until its session ends
			"has its assignment already": {0, 0, 0},
		} {
			t.Run(assignor.Name()+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					eng := engine(t, 2, 3)
					coord, err := group.On(eng)
					require.NoError(t, err)
					none := func() time.Duration { return 0 }
					leader := &remote{coord: coord, assignor: assignor, joins: none, syncs: none}
					require.NoError(t, leader.sync(t.Context(), leader.join(t.Context()), 2))
					c := join(t, eng, group.AssignWith(assignor), group.CommitByHand())
					require.NoError(t, leader.sync(t.Context(), leader.join(t.Context()), 2))
					var got []string
					ended := runs(t, c, &got)
					synctest.Wait()
					require.Len(t, got, 6)
					require.Empty(t, committed(t, eng))

					other := &remote{coord: coord, assignor: assignor, joins: none, syncs: none}
					go other.join(t.Context())
					synctest.Wait()
					again := make(chan error, 1)
					go func() {
						time.Sleep(late.join)
						r := leader.join(t.Context())
						time.Sleep(late.sync)
						again <- leader.sync(t.Context(), r, 2)
					}()
					time.Sleep(4 * time.Second)
					start := time.Now()
					require.NoError(t, c.Shutdown(t.Context()))
					if assignor.Cooperative() { // an eager one has committed when it let go of all, before it joined
						require.Equal(t, late.took, time.Since(start))
					} else {
						require.Zero(t, time.Since(start))
					}
					require.NoError(t, <-ended)
					require.Equal(t, map[topic.TopicPartition]int64{tp("a", 0): 3, tp("a", 1): 3}, committed(t, eng))
					<-again
				})
			})
		}
	}
}

// closeWorld is members that come and are closed at any time, while a remote one makes every rebalance long.
type closeWorld struct {
	mu     sync.Mutex
	fault  error
	marked map[topic.TopicPartition]map[int64]bool
	stored map[topic.TopicPartition]int64
}

func (w *closeWorld) fail(format string, args ...any) {
	if w.fault == nil {
		w.fault = fmt.Errorf(format, args...)
	}
}

func (w *closeWorld) given(b *group.Batch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range b.Records {
		if w.marked[b.TopicPartition()][r.Offset] {
			w.fail("%s: offset %d was marked and came again", b.TopicPartition(), r.Offset)
		}
	}
}

func (w *closeWorld) mark(b *group.Batch, r topic.Record) {
	b.MarkThrough(r.Offset)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.marked[b.TopicPartition()][r.Offset] = true
}

func (w *closeWorld) committed(list []group.PartitionOffset, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range list {
		if err == nil && o.Offset < w.stored[o.TopicPartition] {
			w.fail("%s: committed %d after %d", o.TopicPartition, o.Offset, w.stored[o.TopicPartition])
		}
		if err == nil {
			w.stored[o.TopicPartition] = o.Offset
		}
	}
}

// member is one life: it reads for a while, and is closed in one of the ways there are.
func (w *closeWorld) member(ctx context.Context, eng *topic.Engine, rng *rand.Rand, assignor assignor.Assignor, last bool) error {
	c, err := group.Join(ctx, eng, "g", group.Topics("a"), group.AssignWith(assignor), group.OnCommit(w.committed),
		group.CommitEvery(time.Duration(rng.IntN(3000))*time.Millisecond), group.ReadWith(topic.MaxPollRecords(1+rng.IntN(5))))
	if err != nil {
		return err
	}
	how, span := rng.IntN(3), time.Duration(rng.IntN(15000))*time.Millisecond
	life, cancel := context.WithTimeoutCause(ctx, span, context.Canceled)
	defer cancel()
	if last {
		life = ctx
	} else if how == 0 {
		life = ctx
		time.AfterFunc(span, func() { c.Close() })
	}
	pause := time.Duration(rng.IntN(400)) * time.Millisecond
	work := func(ctx context.Context, b *group.Batch) error {
		w.given(b)
		for _, r := range b.Records {
			time.Sleep(pause)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			w.mark(b, r)
		}
		return nil
	}
	if how == 1 {
		err = c.Run(life, 1+rng.IntN(3), work)
	} else {
		for b, fault := range c.Batches(life) {
			if err = fault; err != nil {
				break
			}
			_ = work(b.Context(), b)
		}
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return c.Shutdown(context.WithoutCancel(ctx))
}

func runClosing(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 5))
	eng := engine(t, 3, 40)
	coord, err := group.On(eng)
	require.NoError(t, err)
	assignor := []assignor.Assignor{assignor.CooperativeSticky(), assignor.Range(), assignor.Sticky()}[seed%3]
	w := &closeWorld{marked: map[topic.TopicPartition]map[int64]bool{}, stored: map[topic.TopicPartition]int64{}}
	for p := range int32(3) {
		w.marked[tp("a", p)] = map[int64]bool{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	faults := make([]error, 4)
	delay := func() time.Duration { return time.Duration(rng.IntN(4000)) * time.Millisecond }
	far := &remote{coord: coord, assignor: assignor, joins: delay, syncs: delay}
	farCtx, farCancel := context.WithCancel(ctx)
	wg.Go(func() { faults[3] = far.live(farCtx, 3) })
	var lives sync.WaitGroup
	for i := range 3 {
		own := rand.New(rand.NewPCG(seed, uint64(6+i)))
		lives.Go(func() {
			for n := 0; n < 3 && faults[i] == nil; n++ {
				time.Sleep(time.Duration(own.IntN(3000)) * time.Millisecond)
				faults[i] = w.member(ctx, eng, own, assignor, false)
			}
		})
	}
	lives.Wait()
	farCancel()
	wg.Wait()
	require.NoError(t, errors.Join(faults...), "seed %d", seed)
	go func() {
		time.Sleep(10 * time.Minute)
		cancel()
	}()
	require.NoError(t, w.member(ctx, eng, rng, assignor, true))
	require.NoError(t, w.fault, "seed %d", seed)
	for p := range int32(3) {
		require.Len(t, w.marked[tp("a", p)], 40, "seed %d", seed)
		require.EqualValues(t, 40, committed(t, eng)[tp("a", p)], "seed %d", seed)
	}
}

var closeSeeds = flag.Int("close.seeds", 50, "how many random histories of members closed in the middle of rebalances")

// Nothing that was marked comes again after a member was closed in good order, wherever the group was, and no commit goes back.
func TestNothingMarkedComesAgainAfterClose(t *testing.T) {
	for seed := range *closeSeeds {
		synctest.Test(t, func(t *testing.T) { runClosing(t, uint64(seed)) })
		if t.Failed() {
			return
		}
	}
}
