package group_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/group/assignor"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

// keyed opens an engine with topic "a" of one partition; its records have the keys given, "" being none, and their number as value.
func keyed(t *testing.T, keys ...string) *topic.Engine {
	t.Helper()
	eng := open(t, vfs.NewMem())
	appendKeys(t, eng, keys...)
	return eng
}

func appendKeys(t *testing.T, eng *topic.Engine, keys ...string) {
	t.Helper()
	at, err := eng.Topic(t.Context(), "a", topic.Partitions(1))
	require.NoError(t, err)
	for i, k := range keys {
		rec := topic.Record{Value: fmt.Appendf(nil, "%s%d", k, i)}
		if k != "" {
			rec.Key = []byte(k)
		}
		_, err := at.Append(t.Context(), rec)
		require.NoError(t, err)
	}
}

// diary is what happened when, in seconds since it was begun.
type diary struct {
	mu    sync.Mutex
	start time.Time
	lines []string
}

func (d *diary) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, fmt.Sprintf("%v %s", time.Since(d.start).Seconds(), fmt.Sprintf(format, args...)))
}

func (d *diary) all() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.lines)
}

func TestRunByKeyKeepsOrderAndLetsKeysGoAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := keyed(t, "a", "b", "a", "", "c", "", "b")
		c := join(t, eng)
		d := &diary{start: time.Now()}
		took := map[byte]time.Duration{'a': time.Second, 'b': 4 * time.Second, 'c': 2 * time.Second}
		ended := make(chan error, 1)
		go func() {
			ended <- c.RunByKey(t.Context(), 5, func(_ context.Context, b *group.Batch) error {
				for _, r := range b.Records {
					if r.Key != nil {
						time.Sleep(took[r.Key[0]])
					}
					d.note("%s", r.Value)
				}
				return nil
			})
		}()
		time.Sleep(time.Minute)
		require.ElementsMatch(t, []string{"0 3", "0 5", "1 a0", "2 a2", "2 c4", "4 b1", "8 b6"}, d.all())
		require.EqualValues(t, 7, committed(t, eng)[tp("a", 0)])
		appendKeys(t, eng, "a")
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, "61 a0", d.all()[7])
		require.NoError(t, c.Shutdown(t.Context()))
		require.NoError(t, <-ended)
	})
}

// A slow key holds back what is committed, and after ReadAhead records the reading; nothing else.
func TestRunByKeySlowKeyHoldsBackItselfOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := []string{"slow", "slow"}
		for i := range 48 {
			keys = append(keys, fmt.Sprint(i%7))
		}
		eng := keyed(t, keys...)
		c := join(t, eng, group.ReadAhead(20), group.MaxPollInterval(24*time.Hour), group.ReadWith(topic.MaxPollRecords(5)), group.CommitEvery(0))
		start := time.Now()
		var done atomic.Int64
		ended := make(chan error, 1)
		go func() {
			ended <- c.RunByKey(t.Context(), 2, func(_ context.Context, b *group.Batch) error {
				if string(b.Records[0].Key) == "slow" {
					for _, r := range b.Records {
						time.Sleep(time.Hour)
						c.Mark(r)
					}
					return nil
				}
				done.Add(int64(len(b.Records)))
				return nil
			})
		}()
		synctest.Wait()
		require.EqualValues(t, 18, done.Load(), "twenty are in hand, two of them the slow key's")
		require.Empty(t, committed(t, eng))
		time.Sleep(time.Hour)
		synctest.Wait()
		require.EqualValues(t, 1, committed(t, eng)[tp("a", 0)], "the next of the slow key is not done")
		require.EqualValues(t, 23, done.Load(), "one place was free, and one read goes beyond")
		time.Sleep(time.Hour)
		synctest.Wait()
		require.EqualValues(t, 48, done.Load())
		require.EqualValues(t, 50, committed(t, eng)[tp("a", 0)])
		require.Equal(t, 2*time.Hour, time.Since(start))
		require.NoError(t, c.Shutdown(t.Context()))
		require.NoError(t, <-ended)
	})
}

func TestRunByKeyHandsOverInTheMiddleOfItsWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := keyed(t, "a", "b", "c", "a", "d", "b")
		start := time.Now()
		d := &diary{start: start}
		one := join(t, eng, group.StaticMember("z"), group.AssignWith(assignor.Range()), group.OnRevoke(
			func(context.Context, []topic.TopicPartition) error { d.note("revoked"); return nil }))
		ended := make(chan error, 1)
		go func() {
			ended <- one.RunByKey(t.Context(), 3, func(ctx context.Context, b *group.Batch) error {
				switch string(b.Records[0].Key) {
				case "a": // done with its first record, in the middle of the second
					b.MarkThrough(0)
					<-ctx.Done()
					d.note("a: %v", context.Cause(ctx))
					time.Sleep(3 * time.Second)
					return ctx.Err()
				case "b": // ends its work in spite of all
					<-ctx.Done()
					time.Sleep(7 * time.Second)
					d.note("b")
				}
				return nil
			})
		}()
		time.Sleep(time.Second)
		two := join(t, eng, group.StaticMember("a"), group.AssignWith(assignor.Range()))
		var got []string
		endTwo := runs(t, two, &got)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, []string{"1 a: group: partition revoked", "8 b", "8 revoked"}, d.all())
		require.Equal(t, []string{"a3"}, got, "what was not done")
		require.EqualValues(t, 6, committed(t, eng)[tp("a", 0)])
		require.NoError(t, one.Shutdown(t.Context()))
		require.NoError(t, <-ended)
		require.NoError(t, two.Shutdown(t.Context()))
		require.NoError(t, <-endTwo)
	})
}

// A rebalance does not wait for handlers of partitions that stay, even if all workers are at work on those.
func TestRebalanceDoesNotWaitForOtherPartitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := engine(t, 2, 0)
		one := join(t, eng, group.CommitEvery(0))
		ended := make(chan error, 1)
		go func() {
			ended <- one.Run(t.Context(), 1, func(context.Context, *group.Batch) error {
				time.Sleep(time.Minute)
				return nil
			})
		}()
		first, err := eng.Partition("a", 0)
		require.NoError(t, err)
		_, err = first.Append(t.Context(), topic.Record{Value: []byte("long")})
		require.NoError(t, err)
		synctest.Wait()
		start := time.Now()
		two := join(t, eng)
		var got []string
		endTwo := runs(t, two, &got)
		synctest.Wait()
		require.Equal(t, []topic.TopicPartition{tp("a", 0)}, one.Assignment())
		require.Equal(t, []topic.TopicPartition{tp("a", 1)}, two.Assignment(), "the partition at rest went over at once")
		require.Zero(t, time.Since(start))
		require.NoError(t, two.Shutdown(t.Context()))
		require.NoError(t, <-endTwo)
		require.NoError(t, one.Shutdown(t.Context()))
		require.NoError(t, <-ended)
	})
}

func TestRunByKeyEndsWithTheFirstError(t *testing.T) {
	ouch := errors.New("ouch")
	for name, fail := range map[string]func() error{
		"error": func() error { return ouch },
		"panic": func() error { panic("ouch") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				eng := keyed(t, "a", "b", "a", "c", "b", "d")
				c := join(t, eng, group.ReadWith(topic.MaxPollRecords(3)))
				d := &diary{start: time.Now()}
				err := c.RunByKey(t.Context(), 4, func(ctx context.Context, b *group.Batch) error {
					key := string(b.Records[0].Key)
					if key == "c" {
						d.note("c done")
						return nil
					}
					if key == "a" {
						b.MarkThrough(b.Records[0].Offset)
						time.Sleep(time.Second)
						return fail()
					}
					<-ctx.Done()
					d.note("%s gives up", key)
					return ctx.Err()
				})
				require.ErrorContains(t, err, "ouch")
				if name == "error" {
					require.ErrorIs(t, err, ouch)
				}
				require.ElementsMatch(t, []string{"0 c done", "1 b gives up", "1 d gives up"}, d.all())
				require.NoError(t, c.Commit(t.Context()))
				require.EqualValues(t, 1, committed(t, eng)[tp("a", 0)])
				var got []string
				ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, context.Canceled)
				defer cancel()
				err = c.RunByKey(ctx, 1, func(_ context.Context, b *group.Batch) error {
					for _, r := range b.Records {
						got = append(got, string(r.Value))
					}
					return nil
				})
				require.ErrorIs(t, err, context.Canceled)
				require.ElementsMatch(t, []string{"b1", "a2", "b4", "d5"}, got, "what was not done")
				require.NoError(t, c.Close())
				require.EqualValues(t, 6, committed(t, eng)[tp("a", 0)])
			})
		})
	}
}

// The three loops take over from each other without a gap, whatever was read ahead.
func TestLoopsTakeOverFromEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := keyed(t, "a", "b", "c", "a", "b", "c")
		c := join(t, eng, group.ReadWith(topic.MaxPollRecords(2)))
		require.Equal(t, []string{"a0", "b1"}, take(t, c, 1))
		stop := errors.New("stop")
		var got []string
		err := c.RunByKey(t.Context(), 1, func(_ context.Context, b *group.Batch) error {
			got = append(got, string(b.Records[0].Value))
			if len(got) == 3 {
				return stop
			}
			return nil
		})
		require.ErrorIs(t, err, stop)
		require.Equal(t, []string{"c2", "a3", "b4"}, got)
		require.Equal(t, []string{"b4", "c5"}, take(t, c, 2), "what was not done")
		require.NoError(t, c.Close())
	})
}

func TestRunByKeySeeksPausesAndIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := keyed(t, "a", "b", "a", "b")
		c := join(t, eng, group.MaxPollInterval(time.Minute))
		d := &diary{start: time.Now()}
		var stall atomic.Bool
		ended := make(chan error, 1)
		go func() {
			ended <- c.RunByKey(t.Context(), 4, func(_ context.Context, b *group.Batch) error {
				for _, r := range b.Records {
					time.Sleep(time.Second)
					d.note("%s", r.Value)
				}
				if string(b.Records[0].Key) == "a" && stall.CompareAndSwap(true, false) {
					time.Sleep(10 * time.Minute)
				}
				return nil
			})
		}()
		time.Sleep(1500 * time.Millisecond)
		require.NoError(t, c.Seek(tp("a", 0), 1))
		time.Sleep(8500 * time.Millisecond)
		require.ElementsMatch(t, []string{"1 a0", "1 b1", "2 a2", "2 b3", "3 a2", "3 b1", "4 b3"}, d.all(),
			"after a Seek what is at work ends before the key goes on")
		require.NoError(t, c.Pause(tp("a", 0)))
		appendKeys(t, eng, "a", "b")
		time.Sleep(10 * time.Second)
		require.Len(t, d.all(), 7)
		stall.Store(true)
		require.NoError(t, c.Resume(tp("a", 0)))
		time.Sleep(90 * time.Second)
		require.ElementsMatch(t, []string{"21 a0", "21 b1"}, d.all()[7:])
		require.EqualValues(t, 4, committed(t, eng)[tp("a", 0)])
		time.Sleep(time.Hour) // the member was in the group again long ago; when the stalled handler is back, all is done again
		require.ElementsMatch(t, []string{"622 a0", "622 b1"}, d.all()[9:])
		require.EqualValues(t, 6, committed(t, eng)[tp("a", 0)])
		require.NoError(t, c.Shutdown(t.Context()))
		require.NoError(t, <-ended)
	})
}

// What is finished beyond a gap survives the member and the engine, for whatever loop comes next; metadata of others is left alone.
func TestFinishedRecordsBeyondAGapStayFinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		eng := open(t, fs)
		appendKeys(t, eng, "a", "b", "c", "a", "c", "b", "d")
		coord, err := group.On(eng)
		require.NoError(t, err)
		theirs := group.PartitionOffset{TopicPartition: tp("a", 0), LeaderEpoch: -1, Metadata: "theirs"}
		require.NoError(t, coord.SetOffsets(t.Context(), "g", []group.PartitionOffset{theirs}))
		c := join(t, eng)
		for range c.Batches(t.Context()) {
			break // nothing is done
		}
		require.NoError(t, c.Close())
		list, err := coord.Offsets(t.Context(), "g")
		require.NoError(t, err)
		require.Equal(t, []group.PartitionOffset{theirs}, list)

		c = join(t, eng)
		ended := make(chan error, 1)
		go func() {
			ended <- c.RunByKey(t.Context(), 4, func(ctx context.Context, b *group.Batch) error {
				if string(b.Records[0].Key) != "a" {
					return nil
				}
				<-ctx.Done()
				return ctx.Err()
			})
		}()
		synctest.Wait()
		require.NoError(t, c.Shutdown(t.Context()))
		require.NoError(t, <-ended)
		list, err = coord.Offsets(t.Context(), "g")
		require.NoError(t, err)
		require.Zero(t, list[0].Offset)
		require.Equal(t, "done1:AQIBAw", list[0].Metadata, "1 and 2, 4 to 6")
		require.NoError(t, eng.Close())

		eng = open(t, fs)
		appendKeys(t, eng, "e")
		c = join(t, eng)
		require.Equal(t, []string{"a0", "a3", "e0"}, take(t, c, 3))
		require.Equal(t, []group.PartitionLag{lag("a", 0, 8, 0, 8, 0)}, c.Lag())
		require.NoError(t, c.Close())
		require.EqualValues(t, 8, committed(t, eng)[tp("a", 0)])
	})
}
