package topic_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

// hangTime is what a call's context gives it, and slack how much later it may return.
const (
	hangTime = time.Second
	slack    = 250 * time.Millisecond
)

// onHungDisk is an engine with two topics of some segments, and the topics.
type onHungDisk struct {
	disk   *vfs.Fault
	eng    *topic.Engine
	orders *topic.Topic
	unused *topic.Topic // of which no partition was opened
	sealed record.Batch
	open   chan struct{}
}

func (h *onHungDisk) hang(op vfs.Op) { h.hangFrom(op, 1) }

// hangFrom lets the first calls of a kind through.
func (h *onHungDisk) hangFrom(op vfs.Op, k int) {
	h.disk.Add(vfs.Rule{Op: op, K: k, Count: vfs.Forever, Hook: func(vfs.Op, string) { <-h.open }})
}

func newHungDisk(t *testing.T) *onHungDisk {
	h := &onHungDisk{disk: vfs.NewFault(vfs.NewMem()), open: make(chan struct{})}
	eng, err := topic.Open("data", topic.On(h.disk))
	require.NoError(t, err)
	for _, name := range []string{"orders", "unused"} {
		made, err := eng.Topic(t.Context(), name, topic.SegmentBytes(400), topic.CleanupWith(topic.CleanupCompact))
		require.NoError(t, err)
		for i := range 8 {
			_, err := made.Append(t.Context(), topic.Record{Key: []byte("k"), Value: fmt.Append(make([]byte, 100), i)})
			require.NoError(t, err)
		}
	}
	_, err = eng.Backup(t.Context(), "backup", topic.BackupOptions{})
	require.NoError(t, err)
	require.NoError(t, eng.Close())
	h.eng, err = topic.Open("data", topic.On(h.disk))
	require.NoError(t, err)
	h.orders, err = h.eng.Topic(t.Context(), "orders")
	require.NoError(t, err)
	h.unused, err = h.eng.Topic(t.Context(), "unused")
	require.NoError(t, err)
	_, err = h.orders.Append(t.Context(), topic.Record{Key: []byte("k"), Value: []byte("warm")})
	require.NoError(t, err)
	b := record.NewBuilder(record.BuilderConfig{})
	require.NoError(t, b.Add(&record.Record{Timestamp: time.Now().UnixMilli(), Key: []byte("k"), Value: []byte("raw")}))
	h.eng.Metrics() // reads the sizes of segments
	h.sealed, err = b.Seal()
	require.NoError(t, err)
	return h
}

func first(t *topic.Topic) *topic.Partition {
	p, err := t.Partition(0)
	if err != nil {
		panic(err)
	}
	return p
}

func failOf[T any](_ T, err error) error { return err }

// hungCalls is every call of the engine that takes a context.
var hungCalls = map[string]func(ctx context.Context, h *onHungDisk) error{
	"Topic.Append": func(ctx context.Context, h *onHungDisk) error {
		return failOf(h.orders.Append(ctx, topic.Record{Key: []byte("k")}))
	},
	"Topic.Append first use": func(ctx context.Context, h *onHungDisk) error {
		return failOf(h.unused.Append(ctx, topic.Record{Key: []byte("k")}))
	},
	"Topic.AppendBatch": func(ctx context.Context, h *onHungDisk) error {
		return failOf(h.orders.AppendBatch(ctx, []topic.Record{{Key: []byte("k")}, {Key: []byte("l")}}))
	},
	"Topic.Append later": func(ctx context.Context, h *onHungDisk) error {
		return failOf(h.orders.Append(ctx, topic.Record{Key: []byte("k")}, topic.DeliverAfter(time.Hour)))
	},
	"Partition.Append": func(ctx context.Context, h *onHungDisk) error {
		return failOf(first(h.orders).Append(ctx, topic.Record{Key: []byte("k")}))
	},
	"Partition.AppendRaw": func(ctx context.Context, h *onHungDisk) error {
		return failOf(first(h.orders).AppendRaw(ctx, slices.Clone(h.sealed), topic.RawAppend{}))
	},
	"Partition.Commit": func(ctx context.Context, h *onHungDisk) error { return first(h.orders).Commit(ctx, 9) },
	"Partition.Flush":  func(ctx context.Context, h *onHungDisk) error { return first(h.unused).Flush(ctx) },
	"Partition.Warm":   func(ctx context.Context, h *onHungDisk) error { return first(h.unused).Warm(ctx) },
	"Partition.Wait": func(ctx context.Context, h *onHungDisk) error {
		return first(h.unused).Wait(ctx, 0, topic.ReadUncommitted)
	},
	"Partition.Get": func(ctx context.Context, h *onHungDisk) error { return failOf(first(h.orders).Get(ctx, 1)) },
	"Partition.View": func(ctx context.Context, h *onHungDisk) error {
		return first(h.unused).View(ctx, 1, func(*record.Record) error { return nil })
	},
	"Partition.FetchRaw": func(ctx context.Context, h *onHungDisk) error {
		s, err := first(h.orders).FetchRaw(ctx, 0, topic.Fetch{MinBytes: 1000, MaxWait: time.Minute})
		if err == nil {
			s.Release()
		}
		return err
	},
	"Partition.OffsetForTime": func(ctx context.Context, h *onHungDisk) error {
		_, _, _, err := first(h.orders).OffsetForTime(ctx, time.Now().Add(-time.Minute))
		return err
	},
	"Partition.DeleteRecords": func(ctx context.Context, h *onHungDisk) error {
		return failOf(first(h.orders).DeleteRecords(ctx, 3))
	},
	"Partition.Compact":        func(ctx context.Context, h *onHungDisk) error { return failOf(first(h.orders).Compact(ctx)) },
	"Partition.ApplyRetention": func(ctx context.Context, h *onHungDisk) error { return failOf(first(h.orders).ApplyRetention(ctx)) },
	"Partition.RebuildIndexes": func(ctx context.Context, h *onHungDisk) error { return first(h.orders).RebuildIndexes(ctx) },
	"Partition.Redact": func(ctx context.Context, h *onHungDisk) error {
		return first(h.orders).Redact(ctx, 8, topic.RedactOptions{})
	},
	"Topic.Read": func(ctx context.Context, h *onHungDisk) error {
		for _, err := range h.orders.Read(ctx, topic.UntilEnd()) {
			if err != nil {
				return err
			}
		}
		return ctx.Err()
	},
	"Topic.Batches": func(ctx context.Context, h *onHungDisk) error {
		for _, err := range h.unused.Batches(ctx, 0, topic.UntilEnd(), topic.FromTime(time.Unix(5, 0))) {
			if err != nil {
				return err
			}
		}
		return ctx.Err()
	},
	"Topic.Scheduled": func(ctx context.Context, h *onHungDisk) error {
		for _, err := range h.orders.Scheduled(ctx) {
			return err
		}
		return ctx.Err()
	},
	"Topic.Recur": func(ctx context.Context, h *onHungDisk) error {
		return h.orders.Recur(ctx, "daily", topic.Record{Key: []byte("k")}, topic.Every(time.Hour))
	},
	"Topic.StopRecurring": func(ctx context.Context, h *onHungDisk) error { return failOf(h.orders.StopRecurring(ctx, "daily")) },
	"Consumer.Poll": func(ctx context.Context, h *onHungDisk) error {
		c, err := h.eng.NewConsumer()
		if err == nil {
			err = c.Assign(topic.TopicPartition{Topic: "orders"}, topic.TopicPartition{Topic: "unused"})
		}
		if err != nil {
			return err
		}
		return failOf(c.Poll(ctx))
	},
	"Consumer.PollFromWithin": func(ctx context.Context, h *onHungDisk) error {
		c, err := h.eng.NewConsumer()
		if err == nil {
			err = c.Assign(topic.TopicPartition{Topic: "orders"})
		}
		if err != nil {
			return err
		}
		return failOf(c.PollFromWithin(ctx, topic.TopicPartition{Topic: "orders"}))
	},
	"Producer.SendSync": func(ctx context.Context, h *onHungDisk) error {
		p, err := h.eng.NewProducer()
		if err != nil {
			return err
		}
		return failOf(p.SendSync(ctx, "orders", topic.Record{Key: []byte("k")}))
	},
	"Producer.Flush": func(ctx context.Context, h *onHungDisk) error {
		p, err := h.eng.NewProducer()
		if err == nil {
			err = p.Send(ctx, "unused", topic.Record{Key: []byte("k")}, nil)
		}
		if err != nil {
			return err
		}
		return p.Flush(ctx)
	},
	"CreateTopic": func(ctx context.Context, h *onHungDisk) error { return failOf(h.eng.CreateTopic(ctx, "new")) },
	"CreateTopics": func(ctx context.Context, h *onHungDisk) error {
		return failOf(h.eng.CreateTopics(ctx, topic.NewTopic{Name: "a"}, topic.NewTopic{Name: "b"}))
	},
	"Topic": func(ctx context.Context, h *onHungDisk) error { return failOf(h.eng.Topic(ctx, "other")) },
	"AlterTopic": func(ctx context.Context, h *onHungDisk) error {
		return h.eng.AlterTopic(ctx, "orders", topic.Partitions(3))
	},
	"DeleteTopic": func(ctx context.Context, h *onHungDisk) error { return h.eng.DeleteTopic(ctx, "unused") },
	"Flush":       func(ctx context.Context, h *onHungDisk) error { return h.eng.Flush(ctx) },
	"Checkpoint":  func(ctx context.Context, h *onHungDisk) error { return h.eng.Checkpoint(ctx) },
	"Tick": func(ctx context.Context, h *onHungDisk) error {
		return h.eng.Tick(ctx, time.Now().Add(time.Hour))
	},
	"Compact":        func(ctx context.Context, h *onHungDisk) error { return h.eng.Compact(ctx) },
	"ApplyRetention": func(ctx context.Context, h *onHungDisk) error { return h.eng.ApplyRetention(ctx) },
	"RebuildIndexes": func(ctx context.Context, h *onHungDisk) error { return h.eng.RebuildIndexes(ctx) },
	"Scrub":          func(ctx context.Context, h *onHungDisk) error { return failOf(h.eng.Scrub(ctx, topic.ScrubOptions{})) },
	"Verify": func(ctx context.Context, h *onHungDisk) error {
		return failOf(h.eng.Verify(ctx, topic.VerifyOptions{}))
	},
	"VerifyDirectory": func(ctx context.Context, h *onHungDisk) error {
		return failOf(topic.VerifyDirectory(ctx, h.disk, "data", topic.VerifyOptions{}))
	},
	"Backup": func(ctx context.Context, h *onHungDisk) error {
		return failOf(h.eng.Backup(ctx, "again", topic.BackupOptions{}))
	},
	"Restore": func(ctx context.Context, h *onHungDisk) error {
		return failOf(topic.Restore(ctx, "backup", "restored", topic.RestoreOptions{FS: h.disk}))
	},
	"Repair": func(ctx context.Context, h *onHungDisk) error {
		return failOf(topic.Repair(ctx, "backup", topic.RepairOptions{FS: h.disk}))
	},
}

// TestHungDiskEndsNoCall hangs each kind of call of the disk, and all, under each call of the engine that takes a context,
// three at once: they return with it. When the disk goes on, so does the engine.
func TestHungDiskEndsNoCall(t *testing.T) {
	ops := []vfs.Op{vfs.OpAny, vfs.OpWrite, vfs.OpSync, vfs.OpRead, vfs.OpOpen, vfs.OpOpenRead, vfs.OpCreate, vfs.OpRename, vfs.OpSyncDir, vfs.OpStat, vfs.OpList}
	if testing.Short() {
		ops = ops[:3]
	}
	for _, name := range slices.Sorted(maps.Keys(hungCalls)) {
		t.Run(name, func(t *testing.T) {
			for _, op := range ops {
				synctest.Test(t, func(t *testing.T) { hangUnder(t, op, 1, name) })
			}
			for k := 2; k <= 4; k++ { // behind the first files that the call makes
				synctest.Test(t, func(t *testing.T) { hangUnder(t, vfs.OpRename, k, name) })
			}
		})
	}
}

func hangUnder(t *testing.T, op vfs.Op, k int, name string) {
	h := newHungDisk(t)
	h.hangFrom(op, k)
	ctx, cancel := context.WithTimeout(t.Context(), hangTime)
	defer cancel()
	began, got := time.Now(), make(chan error, 3)
	for range 3 {
		go func() { got <- hungCalls[name](ctx, h) }()
	}
	for range 3 {
		err := <-got
		assert.LessOrEqual(t, time.Since(began), hangTime+slack, "%v", op)
		if err != nil && time.Since(began) >= hangTime && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v: %v", op, err)
		}
	}
	h.looked(t, op)
	h.disk.Clear()
	close(h.open)
	synctest.Wait()
	if _, err := h.orders.Append(t.Context(), topic.Record{Key: []byte("k"), Value: []byte("after")}); err != nil {
		t.Errorf("%v: append after the disk went on: %v", op, err)
	}
	made, err := h.eng.Topic(t.Context(), "more")
	require.NoError(t, err)
	_, err = made.Append(t.Context(), topic.Record{Value: []byte("after")})
	require.NoError(t, err)
	require.NoError(t, h.eng.Close())
	report, err := topic.VerifyDirectory(t.Context(), h.disk, "data", topic.VerifyOptions{})
	require.NoError(t, err)
	require.Empty(t, report.Faults, "%v", op)
}

// TestHungDiskEndsNoDelayedCall: many calls for delayed messages at once, each waiting for another at another step, return with
// their contexts.
func TestHungDiskEndsNoDelayedCall(t *testing.T) {
	for _, op := range []vfs.Op{vfs.OpAny, vfs.OpWrite, vfs.OpSync, vfs.OpRename} {
		for _, used := range []bool{false, true} { // the delayed topic
			synctest.Test(t, func(t *testing.T) {
				h := newHungDisk(t)
				later := func(ctx context.Context) error {
					return failOf(h.orders.Append(ctx, topic.Record{Key: []byte("k")}, topic.DeliverAfter(time.Hour)))
				}
				if used {
					require.NoError(t, later(t.Context()))
				}
				h.hang(op)
				ctx, cancel := context.WithTimeout(t.Context(), hangTime)
				defer cancel()
				began, got := time.Now(), make(chan error, 64)
				for range 64 {
					go func() { got <- later(ctx) }()
				}
				for range 64 {
					if err := <-got; err != nil { // not all have to rename anything
						assert.ErrorIs(t, err, context.DeadlineExceeded, "%v", op)
					}
					require.LessOrEqual(t, time.Since(began), hangTime+slack, "%v", op)
				}
				h.looked(t, op)
				h.disk.Clear()
				close(h.open)
				require.NoError(t, later(t.Context()))
				require.NoError(t, h.eng.Close())
			})
		}
	}
}

// TestHungDiskLeavesTheOutcomeUnknown: a change that goes on when its caller has left may yet be made, and the error says so.
func TestHungDiskLeavesTheOutcomeUnknown(t *testing.T) {
	for name, change := range map[string]func(ctx context.Context, h *onHungDisk) error{
		"create": func(ctx context.Context, h *onHungDisk) error { return failOf(h.eng.CreateTopic(ctx, "new")) },
		"alter":  func(ctx context.Context, h *onHungDisk) error { return h.eng.AlterTopic(ctx, "orders", topic.NoSync()) },
		"delete": func(ctx context.Context, h *onHungDisk) error { return h.eng.DeleteTopic(ctx, "unused") },
		"delay":  hungCalls["Topic.Append later"],
		"append": hungCalls["Topic.Append"],
	} {
		synctest.Test(t, func(t *testing.T) {
			h := newHungDisk(t)
			require.NoError(t, hungCalls["Topic.Append later"](t.Context(), h))
			h.hang(vfs.OpWrite)
			ctx, cancel := context.WithTimeout(t.Context(), hangTime)
			defer cancel()
			err := change(ctx, h)
			require.ErrorIs(t, err, topic.ErrUncertain, name)
			require.ErrorIs(t, err, context.DeadlineExceeded, name)
			h.disk.Clear()
			close(h.open)
			require.NoError(t, h.eng.Close())
		})
	}
}

// TestHungDiskBesideDelayedCalls: a disk that hangs while calls for delayed messages are at any step.
func TestHungDiskBesideDelayedCalls(t *testing.T) {
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			h := newHungDisk(t)
			ctx, cancel := context.WithTimeout(t.Context(), hangTime)
			defer cancel()
			const callers = 16
			under, got := make(chan struct{}, callers), make(chan error, callers)
			began := time.Now()
			for range callers {
				go func() {
					for {
						_, err := h.orders.Append(ctx, topic.Record{Key: []byte("k")}, topic.DeliverAfter(time.Hour))
						if err != nil {
							got <- err
							return
						}
						select {
						case under <- struct{}{}:
						default:
						}
					}
				}()
			}
			<-under
			h.hang(vfs.OpAny)
			for range callers {
				assert.ErrorIs(t, <-got, context.DeadlineExceeded)
				assert.LessOrEqual(t, time.Since(began), hangTime+slack)
			}
			h.disk.Clear()
			close(h.open)
			require.NoError(t, h.eng.Close())
		})
	}
}

// looked takes looks that have no context: they end while the disk hangs.
func (h *onHungDisk) looked(t *testing.T, op vfs.Op) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.eng.Metrics()
		p := first(h.orders)
		for _, look := range []func() (int64, error){p.Start, p.End, p.High, p.Stable, p.Size} {
			_, err := look()
			assert.NoError(t, err)
		}
		_, err := p.Offsets()
		assert.NoError(t, err)
		assert.NoError(t, p.Fenced())
		assert.NoError(t, p.Uncleanable())
		assert.True(t, p.Opened())
		p.Recovered()
	}()
	select {
	case <-done:
	case <-time.After(time.Second):
		assert.Fail(t, "a look hangs", "%v", op)
	}
}

// TestHungDiskUnderShutdown: Shutdown returns within a second of its context, and the engine ends when the disk goes on.
func TestHungDiskUnderShutdown(t *testing.T) {
	for _, op := range []vfs.Op{vfs.OpAny, vfs.OpSync, vfs.OpWrite} {
		synctest.Test(t, func(t *testing.T) {
			h := newHungDisk(t)
			p, err := h.eng.NewProducer()
			require.NoError(t, err)
			h.hang(op)
			told := make(chan error, 1)
			require.NoError(t, p.Send(t.Context(), "orders", topic.Record{Key: []byte("k")}, func(_ topic.Position, err error) { told <- err }))
			ctx, cancel := context.WithTimeout(t.Context(), hangTime)
			defer cancel()
			began := time.Now()
			require.ErrorIs(t, h.eng.Shutdown(ctx), context.DeadlineExceeded)
			require.LessOrEqual(t, time.Since(began), hangTime+time.Second)
			h.disk.Clear()
			close(h.open)
			_ = h.eng.Close()
			<-told
			again, err := topic.Open("data", topic.On(h.disk))
			require.NoError(t, err)
			require.NoError(t, again.Close())
		})
	}
}
