package group_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/group/assignor"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

// engine opens an engine in memory with topic "a" of so many partitions; partition p of it holds so many records.
func engine(t *testing.T, partitions, records int) *topic.Engine {
	t.Helper()
	eng := open(t, vfs.NewMem())
	fill(t, eng, "a", partitions, records)
	return eng
}

func open(t *testing.T, fs vfs.FS) *topic.Engine {
	t.Helper()
	eng, err := topic.Open("data", topic.On(fs))
	require.NoError(t, err)
	t.Cleanup(func() { eng.Close() })
	return eng
}

func fill(t *testing.T, eng *topic.Engine, name string, partitions, records int) {
	t.Helper()
	tp, err := eng.Topic(t.Context(), name, topic.Partitions(partitions))
	require.NoError(t, err)
	for p := range partitions {
		var recs []topic.Record
		for i := range records {
			recs = append(recs, topic.Record{Value: fmt.Appendf(nil, "%s/%d/%d", name, p, i)})
		}
		if records > 0 {
			_, err = tp.AppendBatch(t.Context(), recs, topic.AppendTo(int32(p)))
			require.NoError(t, err)
		}
	}
}

func tp(name string, p int32) topic.TopicPartition {
	return topic.TopicPartition{Topic: name, Partition: p}
}

func join(t *testing.T, eng *topic.Engine, opts ...group.JoinOption) *group.Consumer {
	t.Helper()
	c, err := group.Join(t.Context(), eng, "g", append([]group.JoinOption{group.Topics("a")}, opts...)...)
	require.NoError(t, err)
	return c
}

// take loops until so many records have come, marks them, and gives their values.
func take(t *testing.T, c *group.Consumer, n int) (values []string) {
	t.Helper()
	for b, err := range c.Batches(t.Context()) {
		require.NoError(t, err)
		for _, r := range b.Records {
			values = append(values, string(r.Value))
		}
		b.Mark()
		if len(values) >= n {
			break
		}
	}
	return values
}

func committed(t *testing.T, eng *topic.Engine) map[topic.TopicPartition]int64 {
	t.Helper()
	coord, err := group.On(eng)
	require.NoError(t, err)
	r := coord.FetchOffsets(t.Context(), "g", group.FetchOffsetsRequest{Epoch: -1})
	require.NoError(t, r.Err)
	m := map[topic.TopicPartition]int64{}
	for _, o := range r.Offsets {
		m[o.TopicPartition] = o.Offset
	}
	return m
}

func TestOneMemberReadsAllAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		eng := open(t, fs)
		fill(t, eng, "a", 2, 3)
		start := time.Now()
		c := join(t, eng)
		require.Len(t, take(t, c, 6), 6)
		require.Equal(t, []topic.TopicPartition{tp("a", 0), tp("a", 1)}, c.Assignment())
		require.Zero(t, time.Since(start), "members of this process wait for nobody")
		require.NoError(t, c.Close())
		require.Equal(t, map[topic.TopicPartition]int64{tp("a", 0): 3, tp("a", 1): 3}, committed(t, eng))
		require.NoError(t, eng.Close())

		eng = open(t, fs)
		fill(t, eng, "a", 2, 1)
		c = join(t, eng)
		require.ElementsMatch(t, []string{"a/0/0", "a/1/0"}, take(t, c, 2), "nothing that was marked comes again")
		require.Zero(t, time.Since(start))
		require.NoError(t, c.Close())
		require.NoError(t, c.Close())
		require.ErrorIs(t, c.Commit(t.Context()), topic.ErrClosed)
	})
}

// Only what a member was given can be marked; after a Seek what is marked may move the committed offset back.
func TestMarksAreOfWhatWasGiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := engine(t, 1, 5)
		c := join(t, eng, group.CommitByHand())
		defer c.Close()
		for b, err := range c.Batches(t.Context()) {
			require.NoError(t, err)
			require.Len(t, b.Records, 5)
			for _, offset := range []int64{5, 6, 1 << 40} {
				c.Mark(topic.Record{Topic: "a", Offset: offset})
			}
			require.NoError(t, c.Commit(t.Context()))
			require.Empty(t, committed(t, eng))
			c.Mark(b.Records[4])
			require.NoError(t, c.Commit(t.Context()))
			require.EqualValues(t, 5, committed(t, eng)[tp("a", 0)])
			break
		}
		require.NoError(t, c.Seek(tp("a", 0), 1))
		for b, err := range c.Batches(t.Context()) {
			require.NoError(t, err)
			c.Mark(b.Records[0])
			break
		}
		require.NoError(t, c.Commit(t.Context()))
		require.EqualValues(t, 2, committed(t, eng)[tp("a", 0)])
	})
}

// runs has a member loop in a goroutine until it is closed; every record is marked.
func runs(t *testing.T, c *group.Consumer, got *[]string) (ended chan error) {
	ended = make(chan error, 1)
	go func() {
		var fault error
		for b, err := range c.Batches(t.Context()) {
			if err != nil {
				fault = err
				break
			}
			for _, r := range b.Records {
				*got = append(*got, string(r.Value))
			}
			b.Mark()
		}
		ended <- fault
	}()
	return ended
}

func TestMembersShareAndHandOver(t *testing.T) {
	for _, a := range []assignor.Assignor{assignor.CooperativeSticky(), assignor.Range(), assignor.Sticky(), assignor.RoundRobin()} {
		t.Run(a.Name(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				eng := engine(t, 4, 1)
				told := map[string][]string{}
				var mu sync.Mutex
				tell := func(who, what string) group.Callback {
					return func(_ context.Context, parts []topic.TopicPartition) error {
						mu.Lock()
						defer mu.Unlock()
						told[who] = append(told[who], fmt.Sprint(what, " ", len(parts)))
						return nil
					}
				}
				member := func(who string) *group.Consumer {
					return join(t, eng, group.AssignWith(a), group.CommitByHand(), group.OnAssign(tell(who, "got")), group.OnRevoke(tell(who, "gave")),
						group.OnLost(tell(who, "lost")))
				}
				start := time.Now()
				one := member("1")
				var first, second []string
				endOne := runs(t, one, &first)
				synctest.Wait()
				require.Len(t, first, 4)
				require.Empty(t, committed(t, eng))
				two := member("2")
				endTwo := runs(t, two, &second)
				synctest.Wait()
				require.Len(t, one.Assignment(), 2)
				require.Len(t, two.Assignment(), 2)
				require.Empty(t, second, "what was marked was committed before it was handed over")
				fill(t, eng, "a", 4, 1)
				synctest.Wait()
				require.Len(t, first, 6)
				require.Len(t, second, 2)

				require.NoError(t, one.Shutdown(t.Context()))
				require.NoError(t, <-endOne)
				synctest.Wait()
				require.Len(t, two.Assignment(), 4)
				require.Len(t, second, 2, "nothing that was marked comes again")
				require.NoError(t, two.Close())
				require.NoError(t, <-endTwo)
				require.Zero(t, time.Since(start))
				want := map[string][]string{"1": {"got 4", "gave 4", "got 2", "gave 2"}, "2": {"got 2", "gave 2", "got 4", "gave 4"}}
				if a.Cooperative() {
					want = map[string][]string{"1": {"got 4", "gave 2", "gave 2"}, "2": {"got 2", "got 2", "gave 4"}}
				}
				require.Equal(t, want, told)
			})
		})
	}
}

func TestRevocationCancelsAndAwaitsTheHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := engine(t, 1, 2)
		one := join(t, eng, group.StaticMember("z"), group.AssignWith(assignor.Range()), group.ReadWith(topic.MaxPollRecords(1)))
		start := time.Now()
		var why error
		var freed time.Duration
		go func() {
			for b, err := range one.Batches(t.Context()) {
				if err != nil {
					return
				}
				<-b.Context().Done()
				why = context.Cause(b.Context())
				time.Sleep(10 * time.Second) // it takes its time to end
				b.Mark()
				freed = time.Since(start)
			}
		}()
		synctest.Wait()
		// Static members come first in the range assignor's order: "a" before "z".
		two := join(t, eng, group.StaticMember("a"), group.AssignWith(assignor.Range()))
		require.Equal(t, []string{"a/0/1"}, take(t, two, 1), "from where the first one came to")
		require.Equal(t, 10*time.Second, freed)
		require.Equal(t, 10*time.Second, time.Since(start))
		require.ErrorIs(t, why, group.ErrRevoked)
		require.NoError(t, one.Shutdown(t.Context()))
		require.NoError(t, two.Close())
	})
}

func TestMemberThatDoesNotComeBackLosesItsPartitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := engine(t, 1, 1)
		start := time.Now()
		var lost time.Duration
		stalled := join(t, eng, group.MaxPollInterval(time.Minute), group.OnLost(func(context.Context, []topic.TopicPartition) error {
			lost = time.Since(start)
			return errors.New("enough")
		}))
		fault := make(chan error, 1)
		go func() {
			for b, err := range stalled.Batches(t.Context()) {
				if err != nil {
					fault <- err
					return
				}
				<-b.Context().Done()
				if !errors.Is(context.Cause(b.Context()), group.ErrLate) {
					fault <- context.Cause(b.Context())
				}
				time.Sleep(time.Hour)
				b.Mark() // too late
			}
		}()
		synctest.Wait()
		other := join(t, eng)
		require.Equal(t, []string{"a/0/0"}, take(t, other, 1))
		require.Equal(t, time.Minute, time.Since(start))
		require.ErrorContains(t, <-fault, "enough")
		require.Equal(t, time.Hour+time.Minute, lost)
		require.NoError(t, stalled.Close())
		require.NoError(t, other.Close())
		require.EqualValues(t, 1, committed(t, eng)[tp("a", 0)])
	})
}

func TestCommitsInTheBackgroundComeInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := engine(t, 1, 3)
		c := join(t, eng, group.ReadWith(topic.MaxPollRecords(1)))
		for b, err := range c.Batches(t.Context()) {
			require.NoError(t, err)
			b.Mark()
			if b.Records[0].Offset == 2 {
				break
			}
			time.Sleep(2 * time.Second)
		}
		synctest.Wait()
		require.Empty(t, committed(t, eng), "four seconds are over")
		time.Sleep(time.Second)
		synctest.Wait()
		require.EqualValues(t, 3, committed(t, eng)[tp("a", 0)])
		require.NoError(t, c.Close())
	})
}

func TestTopicsThatComeGrowAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := engine(t, 1, 1)
		var got []string
		var lost []topic.TopicPartition
		c, err := group.Join(t.Context(), eng, "g", group.TopicsMatching("a|b.*"), group.OnLost(
			func(_ context.Context, parts []topic.TopicPartition) error { lost = append(lost, parts...); return nil }))
		require.NoError(t, err)
		ended := runs(t, c, &got)
		synctest.Wait()
		fill(t, eng, "b1", 1, 1)
		fill(t, eng, "c", 1, 1)
		synctest.Wait()
		require.NoError(t, eng.AlterTopic(t.Context(), "a", topic.Partitions(2)))
		tpc, err := eng.Partition("a", 1)
		require.NoError(t, err)
		_, err = tpc.Append(t.Context(), topic.Record{Value: []byte("grown")})
		require.NoError(t, err)
		synctest.Wait()
		require.ElementsMatch(t, []string{"a/0/0", "b1/0/0", "grown"}, got)
		require.NoError(t, c.Commit(t.Context()))
		require.NoError(t, eng.DeleteTopic(t.Context(), "b1"))
		synctest.Wait()
		require.Equal(t, []topic.TopicPartition{tp("b1", 0)}, lost)
		require.NotContains(t, committed(t, eng), tp("b1", 0))
		fill(t, eng, "b1", 1, 2)
		synctest.Wait()
		require.ElementsMatch(t, []string{"a/0/0", "b1/0/0", "grown", "b1/0/0", "b1/0/1"}, got)
		require.NoError(t, c.Shutdown(t.Context()))
		require.NoError(t, <-ended)
	})
}

func TestSeekPauseAndPositionsOutOfRange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := engine(t, 2, 3)
		coord, err := group.On(eng)
		require.NoError(t, err)
		r := coord.Commit(t.Context(), "g", group.CommitRequest{Generation: -1, ProducerID: -1,
			Offsets: []group.PartitionOffset{{TopicPartition: tp("a", 0), Offset: 100}}})
		require.NoError(t, r.Err)
		c := join(t, eng)
		var got []string
		ended := runs(t, c, &got)
		synctest.Wait()
		require.ElementsMatch(t, []string{"a/0/0", "a/0/1", "a/0/2", "a/1/0", "a/1/1", "a/1/2"}, got, "beyond the end begins anew")
		require.NoError(t, c.Commit(t.Context()))
		require.EqualValues(t, 3, committed(t, eng)[tp("a", 0)])
		got = nil
		require.NoError(t, c.Pause(tp("a", 0)))
		require.NoError(t, c.Seek(tp("a", 0), 1))
		require.NoError(t, c.Seek(tp("a", 1), 2))
		require.ErrorIs(t, c.Seek(tp("b", 1), 2), topic.ErrInvalid)
		require.ErrorIs(t, c.Pause(tp("b", 1)), topic.ErrInvalid)
		synctest.Wait()
		require.Equal(t, []string{"a/1/2"}, got)
		require.NoError(t, c.Resume(tp("a", 0)))
		synctest.Wait()
		require.Equal(t, []string{"a/1/2", "a/0/1", "a/0/2"}, got)
		require.NoError(t, c.Shutdown(t.Context()))
		require.NoError(t, <-ended)
	})
}

func TestRunKeepsOrderAndEndsWithTheFirstError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := engine(t, 4, 10)
		c := join(t, eng, group.ReadWith(topic.MaxPollRecords(3)))
		var next [4]int64
		var at, most int
		var mu sync.Mutex
		slow := func(_ context.Context, b *group.Batch) error {
			mu.Lock()
			at++
			most = max(most, at)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			defer mu.Unlock()
			at--
			for _, r := range b.Records {
				require.Equal(t, next[r.Partition], r.Offset)
				next[r.Partition]++
			}
			if slices.Min(next[:]) == 10 {
				return errors.New("done")
			}
			return nil
		}
		require.ErrorContains(t, c.Run(t.Context(), 3, slow), "done")
		require.Equal(t, 3, most)
		require.ErrorContains(t, c.Run(t.Context(), 3, func(context.Context, *group.Batch) error { panic("ouch") }), "ouch")
		require.ErrorIs(t, c.Run(t.Context(), 0, slow), topic.ErrInvalid)
		require.NoError(t, c.Close())
	})
}
