package group_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/group/assignor"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

// hangTime is what a call's context gives it, and slack how much later it may return.
const (
	hangTime = time.Second
	slack    = time.Second
)

// onHungDisk is an engine with groups and queues of an earlier one, and those that a call needs.
type onHungDisk struct {
	t        *testing.T
	disk     *vfs.Fault
	eng      *topic.Engine
	coord    *group.Coordinator
	consumer *group.Consumer
	queue    *group.Queue
	router   *group.Router
	open     chan struct{}
}

func (h *onHungDisk) hang(op vfs.Op) {
	h.disk.Add(vfs.Rule{Op: op, Count: vfs.Forever, Hook: func(vfs.Op, string) { <-h.open }})
}

func (h *onHungDisk) goOn() {
	h.disk.Clear()
	close(h.open)
	synctest.Wait()
}

func (h *onHungDisk) append(name string, n int) {
	made, err := h.eng.Topic(h.t.Context(), name)
	require.NoError(h.t, err)
	for i := range n {
		_, err := made.Append(h.t.Context(), topic.Record{Key: fmt.Append(nil, i), Value: []byte("v")}, topic.AppendTo(0))
		require.NoError(h.t, err)
	}
}

func (h *onHungDisk) start() {
	var err error
	h.eng, err = topic.Open("data", topic.On(h.disk))
	require.NoError(h.t, err)
	h.coord, err = group.On(h.eng)
	require.NoError(h.t, err)
}

// newHungDisk has a group with offsets, and a queue with records that are open, done, resting and dead, all closed.
func newHungDisk(t *testing.T) *onHungDisk {
	h := &onHungDisk{t: t, disk: vfs.NewFault(vfs.NewMem()), open: make(chan struct{})}
	h.start()
	h.append("orders", 6)
	h.append("jobs", 6)
	h.append("more", 6)
	h.join()
	require.NoError(t, h.read(3))
	require.NoError(t, h.consumer.Close())
	h.openQueue()
	h.work(func(d *group.Delivery) {
		switch d.Offset {
		case 0:
			d.Ack()
		case 1, 2:
			d.Reject(errors.New("bad"))
		default:
			d.Retry(errors.New("not yet"))
		}
	}, 6)
	require.NoError(t, h.eng.Close())
	h.start()
	return h
}

func (h *onHungDisk) join(opts ...group.JoinOption) {
	var err error
	opts = append(opts, group.Topics("orders", "more"), group.CommitEvery(0), group.ReadWith(topic.MaxPollRecords(1)))
	h.consumer, err = group.Join(h.t.Context(), h.eng, "billing", opts...)
	require.NoError(h.t, err)
}

// joined has a member that has its partitions, and has marked something that is not committed yet.
func (h *onHungDisk) joined(opts ...group.JoinOption) {
	h.join(append(opts, group.CommitByHand())...)
	require.NoError(h.t, h.read(1))
}

func (h *onHungDisk) read(n int) error {
	for b, err := range h.consumer.Batches(h.t.Context()) {
		if err != nil {
			return err
		}
		b.Mark()
		if n--; n == 0 {
			break
		}
	}
	return nil
}

func (h *onHungDisk) openQueue() {
	var err error
	h.queue, err = group.OpenQueue(h.t.Context(), h.eng, "jobs", queueChoices...)
	require.NoError(h.t, err)
}

var queueChoices = []group.QueueOption{
	group.QueueName("q"), group.DeadLetter("dead"), group.Backoff(time.Millisecond, time.Millisecond), group.MaxAttempts(100),
}

// work answers n deliveries.
func (h *onHungDisk) work(answer func(*group.Delivery), n int) {
	for d, err := range h.queue.Deliveries(h.t.Context()) {
		require.NoError(h.t, err)
		answer(d)
		if n--; n == 0 {
			return
		}
	}
}

// worked has an open queue that has records in memory.
func (h *onHungDisk) worked() {
	h.openQueue()
	h.work(func(d *group.Delivery) { d.Release() }, 2)
}

func (h *onHungDisk) openRouter() {
	var err error
	h.router, err = group.OpenRouter(h.t.Context(), h.eng, "routes", group.From("orders"), group.Bind(group.Fanout("copies")))
	require.NoError(h.t, err)
}

// inLoop begins a loop that has come to wait for records.
func inLoop(h *onHungDisk, run func(context.Context) error) {
	go run(h.t.Context())
	synctest.Wait()
}

func (h *onHungDisk) known() { _, _ = h.coord.Offsets(h.t.Context(), "billing") }

// asMember has joined.
func asMember(opts ...group.JoinOption) func(*onHungDisk) {
	return func(h *onHungDisk) { h.joined(opts...) }
}

func handle(context.Context, *group.Batch) error { return nil }

func failOf[T any](_ T, err error) error { return err }

// hungCall is a call that takes a context, and what comes before the disk hangs.
type hungCall struct {
	before func(h *onHungDisk)
	call   func(ctx context.Context, h *onHungDisk) error
}

var ordersParts = []topic.TopicPartition{{Topic: "orders", Partition: 0}}

// hungCalls is every call of the package that takes a context: as the first that needs the disk, and later. The names begin with those of
// the calls.
var hungCalls = map[string]hungCall{
	"Join": {nil, func(ctx context.Context, h *onHungDisk) error {
		return failOf(group.Join(ctx, h.eng, "billing", group.Topics("orders")))
	}},
	"Consumer.Batches": {func(h *onHungDisk) { h.join() }, func(ctx context.Context, h *onHungDisk) error {
		for b, err := range h.consumer.Batches(ctx) {
			if err != nil {
				return err
			}
			b.Mark()
		}
		return ctx.Err()
	}},
	"Consumer.Run": {func(h *onHungDisk) { h.join() }, func(ctx context.Context, h *onHungDisk) error {
		return h.consumer.Run(ctx, 2, handle)
	}},
	"Consumer.Run again": {asMember(), func(ctx context.Context, h *onHungDisk) error {
		return h.consumer.Run(ctx, 2, handle)
	}},
	"Consumer.Run by rank": {func(h *onHungDisk) { h.joined(group.TopicPriority("orders")) }, func(ctx context.Context, h *onHungDisk) error {
		return h.consumer.Run(ctx, 2, handle)
	}},
	"Consumer.Run in a rebalance": {asMember(group.AssignWith(assignor.Range())), func(ctx context.Context, h *onHungDisk) error {
		go group.Join(h.t.Context(), h.eng, "billing", group.Topics("orders"), group.AssignWith(assignor.Range()))
		return h.consumer.Run(ctx, 2, handle)
	}},
	"Consumer.Run from a time": {func(h *onHungDisk) {
		var err error
		h.known()
		h.append("orders", 1)
		from := group.ReadWith(topic.OnOutOfRange(topic.ByDuration(time.Hour)))
		h.consumer, err = group.Join(h.t.Context(), h.eng, "fresh", group.Topics("orders"), from)
		require.NoError(h.t, err)
	}, func(ctx context.Context, h *onHungDisk) error { return h.consumer.Run(ctx, 2, handle) }},
	"Consumer.Run after a failed store": {func(h *onHungDisk) {
		h.joined()
		h.disk.Add(vfs.Rule{Op: vfs.OpWrite, Path: group.OffsetsTopic})
	}, func(ctx context.Context, h *onHungDisk) error {
		_ = h.consumer.Commit(ctx)
		return h.consumer.Run(ctx, 2, handle)
	}},
	"Consumer.RunByKey": {func(h *onHungDisk) { h.join() }, func(ctx context.Context, h *onHungDisk) error {
		return h.consumer.RunByKey(ctx, 2, handle)
	}},
	"Consumer.Commit":   {asMember(), func(ctx context.Context, h *onHungDisk) error { return h.consumer.Commit(ctx) }},
	"Consumer.Shutdown": {asMember(), func(ctx context.Context, h *onHungDisk) error { return h.consumer.Shutdown(ctx) }},
	"Consumer.Shutdown in a loop": {func(h *onHungDisk) {
		h.joined()
		inLoop(h, func(ctx context.Context) error { return h.consumer.Run(ctx, 2, handle) })
	}, func(ctx context.Context, h *onHungDisk) error { return h.consumer.Shutdown(ctx) }},
	"Consumer.Drain": {asMember(), func(ctx context.Context, h *onHungDisk) error { return h.consumer.Drain(ctx) }},
	"Consumer.Drain in a loop": {func(h *onHungDisk) {
		h.joined()
		inLoop(h, func(ctx context.Context) error { return h.consumer.RunByKey(ctx, 2, handle) })
	}, func(ctx context.Context, h *onHungDisk) error { return h.consumer.Drain(ctx) }},
	"Consumer.Run and Close": {asMember(), func(ctx context.Context, h *onHungDisk) error {
		go func() {
			time.Sleep(hangTime / 2)
			_ = h.consumer.Close()
		}()
		return h.consumer.Run(ctx, 2, handle)
	}},

	"Coordinator.Join": {nil, func(ctx context.Context, h *onHungDisk) error {
		return h.coord.Join(ctx, "b", group.JoinRequest{ProtocolType: assignor.ProtocolType, SessionTimeout: 10 * time.Second, RebalanceTimeout: 10 * time.Second, Protocols: []group.Protocol{{Name: "range"}}}).Err
	}},
	"Coordinator.Join later": {(*onHungDisk).known, func(ctx context.Context, h *onHungDisk) error {
		return h.coord.Join(ctx, "billing", group.JoinRequest{ProtocolType: assignor.ProtocolType, SessionTimeout: 10 * time.Second, RebalanceTimeout: 10 * time.Second, Protocols: []group.Protocol{{Name: "range"}}}).Err
	}},
	"Coordinator.Sync": {nil, func(ctx context.Context, h *onHungDisk) error {
		return h.coord.Sync(ctx, "billing", group.SyncRequest{MemberID: "m"}).Err
	}},
	"Coordinator.Heartbeat": {nil, func(ctx context.Context, h *onHungDisk) error {
		return h.coord.Heartbeat(ctx, "billing", group.HeartbeatRequest{MemberID: "m"}).Err
	}},
	"Coordinator.Leave": {nil, func(ctx context.Context, h *onHungDisk) error {
		return h.coord.Leave(ctx, "billing", group.LeaveRequest{Members: []group.Leaver{{MemberID: "m"}}}).Err
	}},
	"Coordinator.ConsumerHeartbeat": {nil, func(ctx context.Context, h *onHungDisk) error {
		return h.coord.ConsumerHeartbeat(ctx, "new", group.ConsumerHeartbeatRequest{
			MemberID: "m", RebalanceTimeout: time.Minute, Topics: []string{"orders"}, Owned: []group.TopicIDPartitions{},
		}).Err
	}},
	"Coordinator.Commit": {(*onHungDisk).known, func(ctx context.Context, h *onHungDisk) error {
		return h.coord.Commit(ctx, "other", group.CommitRequest{Generation: -1, ProducerID: -1, Offsets: []group.PartitionOffset{{TopicPartition: ordersParts[0], Offset: 1}}}).Err
	}},
	"Coordinator.FetchOffsets": {nil, func(ctx context.Context, h *onHungDisk) error {
		return h.coord.FetchOffsets(ctx, "billing", group.FetchOffsetsRequest{Epoch: -1}).Err
	}},
	"Coordinator.DeleteOffsets": {nil, func(ctx context.Context, h *onHungDisk) error {
		return h.coord.DeleteOffsets(ctx, "billing", group.DeleteOffsetsRequest{Partitions: ordersParts}).Err
	}},
	"Coordinator.List": {nil, func(ctx context.Context, h *onHungDisk) error { return failOf(h.coord.List(ctx)) }},
	"Coordinator.Describe": {nil, func(ctx context.Context, h *onHungDisk) error {
		return failOf(h.coord.Describe(ctx, "billing"))
	}},
	"Coordinator.Delete": {(*onHungDisk).known, func(ctx context.Context, h *onHungDisk) error { return h.coord.Delete(ctx, "billing") }},
	"Coordinator.Offsets": {nil, func(ctx context.Context, h *onHungDisk) error {
		return failOf(h.coord.Offsets(ctx, "billing"))
	}},
	"Coordinator.ResetOffsets": {(*onHungDisk).known, func(ctx context.Context, h *onHungDisk) error {
		return failOf(h.coord.ResetOffsets(ctx, "billing", group.ToEarliest()))
	}},
	"Coordinator.ResetOffsets to a time": {(*onHungDisk).known, func(ctx context.Context, h *onHungDisk) error {
		return failOf(h.coord.ResetOffsets(ctx, "billing", group.ToTime(time.Now())))
	}},
	"Coordinator.SetOffsets": {nil, func(ctx context.Context, h *onHungDisk) error {
		return h.coord.SetOffsets(ctx, "billing", []group.PartitionOffset{{TopicPartition: ordersParts[0], Offset: 2}})
	}},
	"Coordinator.Lag": {(*onHungDisk).known, func(ctx context.Context, h *onHungDisk) error { return failOf(h.coord.Lag(ctx, "billing")) }},

	"OpenQueue": {nil, func(ctx context.Context, h *onHungDisk) error {
		q, err := group.OpenQueue(ctx, h.eng, "jobs", queueChoices...)
		if err == nil {
			err = q.Close()
		}
		return err
	}},
	"OpenQueue new": {nil, func(ctx context.Context, h *onHungDisk) error {
		return failOf(group.OpenQueue(ctx, h.eng, "orders", group.QueueName("new"), group.StartAt(topic.Latest)))
	}},
	"OpenQueue others open": {(*onHungDisk).worked, func(ctx context.Context, h *onHungDisk) error {
		return failOf(group.OpenQueue(ctx, h.eng, "later", group.DeadLetter("dead2")))
	}},
	"Queues": {nil, func(ctx context.Context, h *onHungDisk) error { return failOf(group.Queues(ctx, h.eng, "jobs")) }},
	"DeleteQueue": {nil, func(ctx context.Context, h *onHungDisk) error {
		return group.DeleteQueue(ctx, h.eng, "jobs", "q")
	}},
	"DeleteQueue open": {(*onHungDisk).worked, func(ctx context.Context, h *onHungDisk) error {
		return group.DeleteQueue(ctx, h.eng, "jobs", "q")
	}},
	"Queue.Run": {(*onHungDisk).openQueue, func(ctx context.Context, h *onHungDisk) error { return h.queue.Run(ctx, 2, handleOne) }},
	"Queue.Run later": {(*onHungDisk).worked, func(ctx context.Context, h *onHungDisk) error {
		return h.queue.Run(ctx, 2, handleOne)
	}},
	"Queue.Run unopened": {func(h *onHungDisk) {
		h.disk.Add(vfs.Rule{Path: "jobs-0", Count: vfs.Forever})
		h.openQueue()
		h.disk.Clear()
	}, func(ctx context.Context, h *onHungDisk) error { return h.queue.Run(ctx, 2, handleOne) }},
	"Queue.Run of dead ones": {(*onHungDisk).worked, func(ctx context.Context, h *onHungDisk) error {
		return h.queue.Run(ctx, 2, func(context.Context, *group.Delivery) error { return group.Reject(errors.New("bad")) })
	}},
	"Queue.Run grown": {(*onHungDisk).worked, func(ctx context.Context, h *onHungDisk) error {
		go h.eng.AlterTopic(h.t.Context(), "jobs", topic.Partitions(3))
		return h.queue.Run(ctx, 2, handleOne)
	}},
	"Queue.Deliveries": {(*onHungDisk).worked, func(ctx context.Context, h *onHungDisk) error {
		for d, err := range h.queue.Deliveries(ctx) {
			if err != nil {
				return err
			}
			d.Ack()
		}
		return ctx.Err()
	}},
	"Queue.Peek":    {(*onHungDisk).openQueue, func(ctx context.Context, h *onHungDisk) error { return failOf(h.queue.Peek(ctx, 10)) }},
	"Queue.Entries": {(*onHungDisk).openQueue, func(ctx context.Context, h *onHungDisk) error { return lookAtAll(ctx, h) }},
	"Queue.Redrive": {(*onHungDisk).openQueue, func(ctx context.Context, h *onHungDisk) error {
		return failOf(h.queue.Redrive(ctx, nil))
	}},
	"Queue.Shutdown": {(*onHungDisk).worked, func(ctx context.Context, h *onHungDisk) error { return h.queue.Shutdown(ctx) }},
	"Queue.Shutdown in a loop": {func(h *onHungDisk) {
		h.worked()
		inLoop(h, func(ctx context.Context) error { return h.queue.Run(ctx, 2, handleOne) })
	}, func(ctx context.Context, h *onHungDisk) error { return h.queue.Shutdown(ctx) }},
	"Queue.Drain": {(*onHungDisk).worked, func(ctx context.Context, h *onHungDisk) error { return h.queue.Drain(ctx) }},
	"Queue.Drain at work": {(*onHungDisk).worked, func(ctx context.Context, h *onHungDisk) error {
		go h.queue.Run(h.t.Context(), 2, handleOne)
		time.Sleep(hangTime / 2)
		return h.queue.Drain(ctx)
	}},

	"OpenRouter": {nil, func(ctx context.Context, h *onHungDisk) error {
		return failOf(group.OpenRouter(ctx, h.eng, "routes", group.From("orders"), group.Bind(group.Fanout("copies"))))
	}},
	"Router.Bind": {(*onHungDisk).openRouter, func(ctx context.Context, h *onHungDisk) error {
		return h.router.Bind(ctx, group.ByKey("k", "elsewhere"))
	}},
	"Router.Run":      {(*onHungDisk).openRouter, func(ctx context.Context, h *onHungDisk) error { return h.router.Run(ctx, 2) }},
	"Router.Shutdown": {(*onHungDisk).openRouter, func(ctx context.Context, h *onHungDisk) error { return h.router.Shutdown(ctx) }},
	"Router.Shutdown at work": {(*onHungDisk).openRouter, func(ctx context.Context, h *onHungDisk) error {
		go h.router.Run(h.t.Context(), 2)
		time.Sleep(hangTime / 2)
		return h.router.Shutdown(ctx)
	}},
	"Router.Drain": {(*onHungDisk).openRouter, func(ctx context.Context, h *onHungDisk) error {
		go h.router.Run(h.t.Context(), 2)
		time.Sleep(hangTime / 2)
		return h.router.Drain(ctx)
	}},
}

func handleOne(context.Context, *group.Delivery) error { return nil }

func lookAtAll(ctx context.Context, h *onHungDisk) error {
	for _, err := range h.queue.Entries(ctx) {
		if err != nil {
			return err
		}
	}
	return nil
}

// TestHungDiskCallsAreAll: no method that takes a context is missing above.
func TestHungDiskCallsAreAll(t *testing.T) {
	for _, handle := range []any{&group.Consumer{}, &group.Coordinator{}, &group.Queue{}, &group.Router{}, &group.Delivery{}, &group.Batch{}} {
		v := reflect.TypeOf(handle)
		for i := range v.NumMethod() {
			m := v.Method(i)
			if m.Type.NumIn() < 2 || m.Type.In(1) != reflect.TypeFor[context.Context]() {
				continue
			}
			name := v.Elem().Name() + "." + m.Name
			assert.True(t, slices.ContainsFunc(slices.Collect(maps.Keys(hungCalls)), func(known string) bool {
				return known == name || strings.HasPrefix(known, name+" ")
			}), name)
		}
	}
}

// TestHungDiskEndsNoCall hangs each kind of call of the disk, and all, under each call of the package that takes a context: it returns soon
// after it. When the disk goes on, so do groups and queues.
func TestHungDiskEndsNoCall(t *testing.T) {
	ops := []vfs.Op{vfs.OpAny, vfs.OpWrite, vfs.OpSync, vfs.OpRead, vfs.OpOpen, vfs.OpOpenRead, vfs.OpCreate, vfs.OpRename, vfs.OpSyncDir, vfs.OpStat, vfs.OpList}
	if testing.Short() {
		ops = ops[:3]
	}
	for _, name := range slices.Sorted(maps.Keys(hungCalls)) {
		t.Run(name, func(t *testing.T) {
			for _, op := range ops {
				synctest.Test(t, func(t *testing.T) { hangUnder(t, op, name) })
			}
		})
	}
}

func hangUnder(t *testing.T, op vfs.Op, name string) {
	h, c := newHungDisk(t), hungCalls[name]
	if c.before != nil {
		c.before(h)
	}
	h.hang(op)
	ctx, cancel := context.WithTimeout(t.Context(), hangTime)
	defer cancel()
	began, got := time.Now(), make(chan error, 2)
	for range 2 {
		go func() { got <- c.call(ctx, h) }()
	}
	for range 2 {
		err := <-got
		assert.LessOrEqual(t, time.Since(began), hangTime+slack, "%v", op)
		used := errors.Is(err, topic.ErrConcurrentUse) // by the other of the two, which ends at the same time
		if err != nil && time.Since(began) >= hangTime && !used && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v: %v", op, err)
		}
	}
	h.looked(op)
	h.goOn()
	h.goesOn(op)
}

// looked takes looks that have no context: they end while the disk hangs.
func (h *onHungDisk) looked(op vfs.Op) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if h.queue != nil {
			h.queue.Metrics()
		}
		if h.consumer != nil {
			h.consumer.Metrics()
			h.consumer.Assignment()
		}
	}()
	select {
	case <-done:
	case <-time.After(time.Second):
		assert.Fail(h.t, "a look hangs", "%v", op)
	}
}

// goesOn uses everything once more.
func (h *onHungDisk) goesOn(op vfs.Op) {
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	h.append("orders", 1)
	c, err := group.Join(ctx, h.eng, "after", group.Topics("orders"), group.CommitByHand())
	require.NoError(h.t, err, "%v", op)
	for b, err := range c.Batches(ctx) {
		require.NoError(h.t, err, "%v", op)
		b.Mark()
		if b.Records[len(b.Records)-1].Offset >= 6 {
			break
		}
	}
	require.NoError(h.t, c.Commit(ctx), "%v", op)
	_, err = h.coord.List(ctx)
	require.NoError(h.t, err, "%v", op)
	if h.queue != nil {
		_ = h.queue.Close()
	}
	q, err := group.OpenQueue(ctx, h.eng, "jobs", queueChoices...)
	require.NoError(h.t, err, "%v", op)
	h.append("jobs", 1)
	for d, err := range q.Deliveries(ctx) {
		require.NoError(h.t, err, "%v", op)
		d.Ack()
		if d.Offset == 6 {
			break
		}
	}
	require.NoError(h.t, q.Close(), "%v", op)
	require.NoError(h.t, ctx.Err(), "%v", op)
	require.NoError(h.t, h.eng.Close(), "%v", op)
	report, err := topic.VerifyDirectory(h.t.Context(), h.disk, "data", topic.VerifyOptions{})
	require.NoError(h.t, err)
	require.Empty(h.t, report.Faults, "%v", op)
}

// TestHungDiskUnderShutdown: the engine's Shutdown returns within a second of its context while a consumer, a queue and a router are at work;
// all of them end when the disk goes on, and what was answered for is not delivered again.
func TestHungDiskUnderShutdown(t *testing.T) {
	for _, op := range []vfs.Op{vfs.OpAny, vfs.OpSync, vfs.OpWrite} {
		synctest.Test(t, func(t *testing.T) {
			h := newHungDisk(t)
			h.joined()
			h.openQueue()
			h.openRouter()
			ends := make(chan error, 3)
			h.hang(op)
			go func() { ends <- h.consumer.Run(t.Context(), 2, handle) }()
			go func() { ends <- h.queue.Run(t.Context(), 2, handleOne) }()
			go func() { ends <- h.router.Run(t.Context(), 2) }()
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), hangTime)
			defer cancel()
			began := time.Now()
			require.ErrorIs(t, h.eng.Shutdown(ctx), context.DeadlineExceeded)
			require.LessOrEqual(t, time.Since(began), hangTime+time.Second)
			h.goOn()
			_ = h.eng.Close()
			for range 3 {
				<-ends
			}
			h.start()
			h.queue, h.router, h.consumer = nil, nil, nil
			h.open = make(chan struct{})
			h.goesOn(op)
		})
	}
}
