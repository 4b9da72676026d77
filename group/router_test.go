package group_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
	"github.com/quirelog/quire/topic/topictest"
)

func openRouter(t testing.TB, e *topictest.Engine, opts ...group.RouterOption) *group.Router {
	t.Helper()
	r, err := group.OpenRouter(t.Context(), e.Engine, "router", append([]group.RouterOption{group.From("orders")}, opts...)...)
	require.NoError(t, err)
	return r
}

// start runs a router until it ends.
func start(t testing.TB, r *group.Router) (ended chan error) {
	ended = make(chan error, 1)
	go func() { ended <- r.Run(t.Context(), 2) }()
	synctest.Wait()
	return ended
}

// routed lets a router run until it has nothing to do, and closes it.
func routed(t testing.TB, r *group.Router) group.RouterMetrics {
	t.Helper()
	ended := start(t, r)
	require.NoError(t, r.Shutdown(t.Context()))
	require.NoError(t, <-ended)
	return r.Metrics()
}

// orders appends records whose keys and values are given as "key=value", or "value" for a record without a key.
func orders(t testing.TB, e *topictest.Engine, list ...string) {
	t.Helper()
	tp := e.OpenTopic("orders")
	for _, text := range list {
		_, err := tp.Append(t.Context(), order(text))
		require.NoError(t, err)
	}
}

func order(text string) topic.Record {
	if key, value, ok := strings.Cut(text, "="); ok {
		return topic.Record{Key: []byte(key), Value: []byte(value)}
	}
	return topic.Record{Value: []byte(text)}
}

// values are those of a topic's records, "" for a topic that is not there.
func values(t testing.TB, e *topictest.Engine, name string) string {
	t.Helper()
	p, err := e.Partition(name, 0)
	if errors.Is(err, topic.ErrNotFound) {
		return ""
	}
	require.NoError(t, err)
	var list []string
	for _, r := range topictest.Records(t, p.Topic()) {
		list = append(list, string(r.Value))
	}
	return strings.Join(list, " ")
}

func TestRouterCopiesByEveryKindOfBinding(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		at := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
		one := topic.Record{
			Key: []byte("paid.eu.7"), Value: []byte("one"), Time: at,
			Headers: []topic.Header{{Key: "type", Value: []byte("card")}, {Key: "trace"}, {Key: "type", Value: []byte{}}},
		}
		_, err := e.OpenTopic("orders").AppendBatch(t.Context(), []topic.Record{one, {Key: []byte{}, Value: nil}, {Value: []byte("three")}})
		require.NoError(t, err)
		card := []topic.Header{{Key: "type", Value: []byte("card")}}
		r := openRouter(t, e, group.Bind(
			group.ByKey("paid.eu.7", "exact"), group.ByPattern("*.eu.#", "europe"), group.ByPattern("paid.#", "europe"),
			group.ByHeaders(append(card, topic.Header{Key: "trace"}), "cards"), group.ByAnyHeader(append(card, topic.Header{Key: "none"}), "cards"),
			group.Fanout("audit")))
		m := routed(t, r)
		require.Equal(t, group.RouterMetrics{Records: 3, Copies: 6, Created: 4, Bindings: 6}, m)
		for _, name := range []string{"exact", "europe", "cards"} {
			got := topictest.Records(t, e.OpenTopic(name))
			require.Len(t, got, 1, name)
			c := got[0]
			assert.Equal(t, one.Key, c.Key)
			assert.Equal(t, one.Value, c.Value)
			assert.True(t, at.Equal(c.Time), "%v", c.Time)
			require.Equal(t, one.Headers, c.Headers[:3])
			require.Equal(t, []topic.Header{{Key: "quire.route.source", Value: []byte("orders/0@0")}, {Key: "quire.route.hops", Value: []byte("1")}}, c.Headers[3:])
			from, ok := group.ParseRouted(*c)
			require.True(t, ok)
			source := topic.Position{Topic: "orders", Offset: 0, Epoch: -1}
			require.Equal(t, group.Routed{Source: source, Origin: source, Hops: 1}, from)
		}
		all := topictest.Records(t, e.OpenTopic("audit"))
		require.Len(t, all, 3)
		require.NotNil(t, all[1].Key)
		require.Nil(t, all[1].Value)
		require.Nil(t, all[2].Key)
		_, ok := group.ParseRouted(one)
		require.False(t, ok)
	})
}

func TestRouterKeepsOrderAndPartitions(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		src := e.OpenTopic("orders", topic.Partitions(3))
		e.OpenTopic("copies", topic.Partitions(4))
		for i := range 600 {
			rec := topic.Record{Value: fmt.Append(nil, i)}
			if i%2 == 0 {
				rec.Key = fmt.Append(nil, "k", i%22)
			}
			_, err := src.Append(t.Context(), rec)
			require.NoError(t, err)
		}
		r := openRouter(t, e, group.Bind(group.Fanout("copies")), group.JoinWith(group.ReadWith(topic.MaxPollRecords(7))))
		require.EqualValues(t, 600, routed(t, r).Copies)
		last := map[[2]int32]int64{}
		for _, rec := range topictest.Records(t, e.OpenTopic("copies")) {
			from, ok := group.ParseRouted(*rec)
			require.True(t, ok)
			if rec.Key == nil {
				require.Equal(t, from.Source.Partition, rec.Partition)
			} else {
				require.Equal(t, topic.PartitionForKey(rec.Key, 4), rec.Partition)
			}
			line := [2]int32{from.Source.Partition, rec.Partition}
			before, ok := last[line]
			require.True(t, !ok || before < from.Source.Offset, "%v after %d", from.Source, before)
			last[line] = from.Source.Offset
		}
	})
}

func TestRouterUnroutable(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		orders(t, e, "a.x=1", "b.x=2", "3")
		bind := group.Bind(group.ByPattern("a.*", "as"), group.ByFunc("none", func(topic.Record) ([]topic.Record, error) { return nil, nil }))
		m := routed(t, openRouter(t, e, bind))
		require.EqualValues(t, 2, m.Unroutable)
		require.Equal(t, "1", values(t, e, "as"))

		orders(t, e, "a.y=4", "b.y=5")
		m = routed(t, openRouter(t, e, bind, group.Alternate("rest")))
		require.EqualValues(t, 1, m.Unroutable)
		require.Equal(t, "1 4", values(t, e, "as"))
		require.Equal(t, "5", values(t, e, "rest"))
		from, _ := group.ParseRouted(*topictest.Records(t, e.OpenTopic("rest"))[0])
		require.Equal(t, "no binding", from.Reason)
		require.Equal(t, "orders/0@4", from.Source.String())
	})
}

func TestRouterByWhatIsTheKey(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		_, err := e.OpenTopic("orders").Append(t.Context(), topic.Record{Key: []byte("7"), Value: []byte("v"), Headers: []topic.Header{{Key: "route", Value: []byte("a.b")}}})
		require.NoError(t, err)
		routed(t, openRouter(t, e, group.RoutingHeader("route"), group.Bind(group.ByPattern("a.*", "as"), group.ByKey("7", "sevens"))))
		require.Equal(t, "v", values(t, e, "as"))
		require.Empty(t, values(t, e, "sevens"))

		r, err := group.OpenRouter(t.Context(), e.Engine, "other", group.From("orders"),
			group.RoutingKey(func(*topic.Record) []byte { panic("no key") }), group.Bind(group.Fanout("all")))
		require.NoError(t, err)
		err = r.Run(t.Context(), 1)
		var panicked *group.PanicError
		require.ErrorAs(t, err, &panicked)
		require.NoError(t, r.Close())
	})
}

func TestRouterFunctions(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		orders(t, e, "k=abc")
		split := func(rec topic.Record) ([]topic.Record, error) {
			var list []topic.Record
			for i := range rec.Value {
				part := rec
				part.Topic, part.Value = "letters", rec.Value[i:i+1]
				list = append(list, part)
			}
			return append(list, topic.Record{Topic: "sizes", Value: fmt.Append(nil, len(rec.Value))}), nil
		}
		m := routed(t, openRouter(t, e, group.Bind(group.ByFunc("split", split), group.Fanout("letters"))))
		require.EqualValues(t, 5, m.Copies)
		require.Equal(t, "abc a b c", values(t, e, "letters"), "bindings first, then functions")
		require.Equal(t, "3", values(t, e, "sizes"))

		why := errors.New("no rule")
		for name, c := range map[string]struct {
			f    group.RouteFunc
			want error
		}{
			"error":   {func(topic.Record) ([]topic.Record, error) { return nil, why }, why},
			"loop":    {func(rec topic.Record) ([]topic.Record, error) { return []topic.Record{rec}, nil }, group.ErrLoop},
			"name":    {func(topic.Record) ([]topic.Record, error) { return []topic.Record{{Topic: "a b"}}, nil }, topic.ErrInvalid},
			"no name": {func(topic.Record) ([]topic.Record, error) { return []topic.Record{{}}, nil }, topic.ErrInvalid},
			"own":     {func(topic.Record) ([]topic.Record, error) { return []topic.Record{{Topic: "__consumer_offsets"}}, nil }, topic.ErrInvalid},
		} {
			orders(t, e, "k=x")
			r := openRouter(t, e, group.Bind(group.ByFunc("f", c.f)))
			err := r.Run(t.Context(), 1)
			require.ErrorIs(t, err, c.want, name)
			var at *group.RouteError
			require.ErrorAs(t, err, &at)
			require.Equal(t, "orders/0@1", at.Source.String(), "the record stays until it can be routed")
			require.NoError(t, r.Bind(t.Context(), group.ByFunc("f", func(topic.Record) ([]topic.Record, error) { return nil, nil })))
			require.Len(t, r.Bindings(), 1, "the function was replaced")
			require.NoError(t, r.Close())
		}
	})
}

func TestRouterRebindsWhileItRuns(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		r := openRouter(t, e)
		ended := start(t, r)
		orders(t, e, "a=1")
		synctest.Wait()
		require.NoError(t, r.Bind(t.Context(), group.ByKey("a", "as"), group.ByPattern("#", "all")))
		orders(t, e, "a=2")
		synctest.Wait()
		require.True(t, r.Unbind(group.ByKey("a", "as")))
		require.False(t, r.Unbind(group.ByKey("a", "as")))
		orders(t, e, "a=3")
		synctest.Wait()
		require.Equal(t, []group.Binding{group.ByPattern("#", "all")}, r.Bindings())
		require.NoError(t, r.Shutdown(t.Context()))
		require.NoError(t, <-ended)
		require.Equal(t, "2", values(t, e, "as"))
		require.Equal(t, "2 3", values(t, e, "all"))
		require.EqualValues(t, 1, r.Metrics().Unroutable)
	})
}

func TestRouterOptionsAreChecked(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		e.OpenTopic("orders")
		f := func(topic.Record) ([]topic.Record, error) { return nil, nil }
		for name, c := range map[string]struct {
			want error
			opts []group.RouterOption
		}{
			"no source":       {topic.ErrInvalid, nil},
			"hops":            {topic.ErrInvalid, []group.RouterOption{group.From("a"), group.MaxHops(0)}},
			"rests":           {topic.ErrInvalid, []group.RouterOption{group.From("a"), group.RetryCopies(2, 1)}},
			"loop":            {group.ErrLoop, []group.RouterOption{group.From("a"), group.Bind(group.Fanout("a"))}},
			"loop by pattern": {group.ErrLoop, []group.RouterOption{group.FromMatching("a.*"), group.Bind(group.ByKey("k", "abc"))}},
			"alternate loop":  {group.ErrLoop, []group.RouterOption{group.From("a"), group.Alternate("a")}},
			"topic":           {topic.ErrInvalid, []group.RouterOption{group.From("a"), group.Bind(group.Fanout("a b"))}},
			"internal":        {topic.ErrInvalid, []group.RouterOption{group.From("a"), group.Bind(group.Fanout("__b"))}},
			"no headers":      {topic.ErrInvalid, []group.RouterOption{group.From("a"), group.Bind(group.ByAnyHeader(nil, "b"))}},
			"no function":     {topic.ErrInvalid, []group.RouterOption{group.From("a"), group.Bind(group.ByFunc("f", nil))}},
			"no name":         {topic.ErrInvalid, []group.RouterOption{group.From("a"), group.Bind(group.ByFunc("", f))}},
			"kind":            {topic.ErrInvalid, []group.RouterOption{group.From("a"), group.Bind(group.Binding{To: "b"})}},
			"missing":         {topic.ErrNotFound, []group.RouterOption{group.From("a"), group.MustExist(), group.Bind(group.Fanout("b"))}},
			"missing rest":    {topic.ErrNotFound, []group.RouterOption{group.From("a"), group.MustExist(), group.Alternate("b")}},
			"topic settings":  {topic.ErrInvalid, []group.RouterOption{group.From("a"), group.CreateWith(topic.Partitions(-1)), group.Bind(group.Fanout("b"))}},
		} {
			_, err := group.OpenRouter(t.Context(), e.Engine, "r", c.opts...)
			require.ErrorIs(t, err, c.want, name)
		}
		_, err := e.Partition("b", 0)
		require.ErrorIs(t, err, topic.ErrNotFound, "nothing was created")
		_, err = group.OpenRouter(t.Context(), e.Engine, "", group.From("a"))
		require.ErrorIs(t, err, topic.ErrInvalid)

		r := openRouter(t, e, group.CreateWith(topic.Partitions(5)), group.MaxHops(3))
		require.ErrorIs(t, r.Bind(t.Context(), group.Fanout("good"), group.Fanout("orders")), group.ErrLoop)
		require.Empty(t, r.Bindings(), "all or none")
		require.NoError(t, r.Bind(t.Context(), group.Fanout("good")))
		require.Equal(t, 5, e.OpenTopic("good").Partitions())
		require.Equal(t, "router", r.Name())
		require.NoError(t, r.Close())
		require.ErrorIs(t, r.Run(t.Context(), 1), topic.ErrClosed)
	})
}

func TestRouterWaitsForRoomOnTheDisk(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		orders(t, e, "a=1", "b=2", "c=3")
		r := openRouter(t, e, group.Bind(group.Fanout("x"), group.Fanout("y")), group.JoinWith(group.CommitByHand()), group.RetryCopies(time.Second, time.Second))
		began := time.Now()
		e.FailWrites(0)
		ended := start(t, r)
		time.Sleep(time.Minute)
		m := r.Metrics()
		require.Zero(t, m.Copies)
		require.Greater(t, m.Retries, int64(59), "once in a second or sooner")
		require.Less(t, m.Retries, int64(300), "a rest is half a second at least, of each of two topics")
		e.Heal()
		time.Sleep(time.Second)
		require.NoError(t, r.Shutdown(t.Context()))
		require.NoError(t, <-ended)
		require.Equal(t, time.Minute+time.Second, time.Since(began))
		require.Equal(t, "1 2 3", values(t, e, "x"))
		require.Equal(t, "1 2 3", values(t, e, "y"))
	})
}

// A topic that has no room holds up no other within the batch, and when it has room again it gets what it has not got yet.
func TestRouterWaitsForRoomInOneTopic(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		orders(t, e, "a=1", "b=2")
		r := openRouter(t, e, group.Bind(group.Fanout("x"), group.Fanout("y")))
		for _, op := range []vfs.Op{vfs.OpWrite, vfs.OpPreallocate} {
			e.Disk().Add(vfs.Rule{Op: op, Path: "data/x-0", Count: vfs.Forever, Err: syscall.ENOSPC})
		}
		ended := start(t, r)
		time.Sleep(59 * time.Minute)
		require.EqualValues(t, 2, r.Metrics().Copies)
		require.Equal(t, "1 2", values(t, e, "y"))
		e.Heal()
		time.Sleep(10 * time.Second)
		require.Equal(t, "1 2", values(t, e, "x"))
		orders(t, e, "c=3")
		require.NoError(t, r.Shutdown(t.Context()))
		require.NoError(t, <-ended)
		routed(t, openRouter(t, e, group.Bind(group.Fanout("x"), group.Fanout("y"))))
		require.Equal(t, "1 2 3", values(t, e, "x"))
		require.Equal(t, "1 2 3", values(t, e, "y"))
	})
}

func TestRouterGivesUpOnAFullDiskWhenToldTo(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		orders(t, e, "a=1")
		r := openRouter(t, e, group.Bind(group.Fanout("x")))
		e.FailWrites(0)
		ended := start(t, r)
		time.Sleep(time.Second)
		began := time.Now()
		require.NoError(t, r.Shutdown(t.Context()))
		require.NoError(t, <-ended)
		require.Zero(t, time.Since(began))
		e.Heal()
		require.Empty(t, values(t, e, "x"))
		routed(t, openRouter(t, e, group.Bind(group.Fanout("x"))))
		require.Equal(t, "1", values(t, e, "x"), "it was not lost")
	})
}

func TestRouterWhoseDestinationIsDeleted(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		r := openRouter(t, e, group.Bind(group.Fanout("x"), group.Fanout("y")))
		ended := start(t, r)
		orders(t, e, "a=1")
		synctest.Wait()
		require.NoError(t, e.DeleteTopic(t.Context(), "x"))
		orders(t, e, "a=2")
		synctest.Wait()
		require.NoError(t, r.Shutdown(t.Context()))
		require.NoError(t, <-ended)
		require.Equal(t, "2", values(t, e, "x"), "created again")
		require.Equal(t, "1 2", values(t, e, "y"))

		r = openRouter(t, e, group.MustExist(), group.Bind(group.Fanout("x"), group.Fanout("y")))
		require.NoError(t, e.DeleteTopic(t.Context(), "x"))
		orders(t, e, "a=3")
		err := r.Run(t.Context(), 1)
		require.ErrorIs(t, err, topic.ErrNotFound)
		var at *group.RouteError
		require.ErrorAs(t, err, &at)
		require.Equal(t, "x", at.To)
		require.True(t, r.Unbind(group.Fanout("x")))
		routed(t, r)
		require.Contains(t, values(t, e, "y"), "3")
	})
}

// deleteUnder deletes a topic while what begin has appended to it waits behind another append's fsync: its outcome is unknown.
func deleteUnder(t *testing.T, e *topictest.Engine, name string, begin func()) {
	t.Helper()
	hung, first := make(chan struct{}), make(chan error)
	e.Disk().Add(vfs.Rule{Op: vfs.OpSync, Path: "data/" + name + "-0/*.log", Done: true, Hook: func(vfs.Op, string) { <-hung }})
	to := e.OpenTopic(name)
	go func() {
		_, err := to.Append(t.Context(), topic.Record{Value: []byte("first")})
		first <- err
	}()
	synctest.Wait()
	begin()
	synctest.Wait()
	require.NoError(t, e.DeleteTopic(t.Context(), name))
	close(hung)
	require.NoError(t, <-first)
}

func TestRouterWhoseDestinationIsDeletedUnderACopy(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		r := openRouter(t, e, group.Bind(group.Fanout("x"), group.Fanout("y")))
		ended := start(t, r)
		orders(t, e, "a=1")
		synctest.Wait()
		deleteUnder(t, e, "x", func() { orders(t, e, "a=2") })
		time.Sleep(time.Minute)
		require.NoError(t, r.Shutdown(t.Context()))
		require.NoError(t, <-ended)
		require.Equal(t, "2", values(t, e, "x"), "created again")
		require.Equal(t, "1 2", values(t, e, "y"))
	})
}

func TestRouterWhoseDestinationIsDeletedAgainAndAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		r := openRouter(t, e, group.Bind(group.Fanout("x"), group.Fanout("y")))
		ended := start(t, r)
		over := make(chan struct{})
		go func() {
			defer close(over)
			for range 50 {
				_ = e.DeleteTopic(t.Context(), "x") // it may be gone already
			}
		}()
		for i := range 50 {
			orders(t, e, fmt.Sprint("k=", i))
		}
		<-over
		orders(t, e, "k=last")
		time.Sleep(time.Minute)
		require.NoError(t, r.Shutdown(t.Context()))
		require.NoError(t, <-ended)
		require.Contains(t, values(t, e, "x"), "last")
		require.Len(t, topictest.Records(t, e.OpenTopic("y")), 51)
	})
}

func TestRouterRecordsThatATopicRefuses(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		e.OpenTopic("small", topic.MaxMessageBytes(1000))
		e.OpenTopic("compact", topic.CleanupWith(topic.CleanupCompact))
		big := strings.Repeat("x", 2000)
		orders(t, e, "a=1", "b=2", "c="+big, "4", "d=5")
		bind := group.Bind(group.Fanout("small"), group.Fanout("compact"))
		r := openRouter(t, e, bind)
		err := r.Run(t.Context(), 1)
		var at *group.RouteError
		require.ErrorAs(t, err, &at)
		require.Contains(t, []string{"small", "compact"}, at.To)
		require.NoError(t, r.Close())
		require.NoError(t, e.DeleteTopic(t.Context(), "small"))
		require.NoError(t, e.DeleteTopic(t.Context(), "compact"))

		e.OpenTopic("small", topic.MaxMessageBytes(1000))
		e.OpenTopic("compact", topic.CleanupWith(topic.CleanupCompact))
		m := routed(t, openRouter(t, e, bind, group.Alternate("rest")))
		require.EqualValues(t, 2, m.Refused)
		require.EqualValues(t, 10, m.Copies)
		require.Equal(t, "1 2 4 5", values(t, e, "small"))
		require.Equal(t, "1 2 "+big+" 5", values(t, e, "compact"))
		why := map[string]string{}
		for _, rec := range topictest.Records(t, e.OpenTopic("rest")) {
			from, ok := group.ParseRouted(*rec)
			require.True(t, ok)
			require.Equal(t, 1, from.Hops)
			why[from.Source.String()] = from.Reason
		}
		require.Len(t, why, 2)
		require.True(t, strings.HasPrefix(why["orders/0@2"], "refused by small: "), why)
		require.True(t, strings.HasPrefix(why["orders/0@3"], "refused by compact: "), why)
	})
}

// More than fits into one batch of the destination goes in several.
func TestRouterCutsWhatIsTooMuchForOneBatch(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		e.OpenTopic("small", topic.MaxMessageBytes(1000))
		var list []string
		for i := range 100 {
			list = append(list, fmt.Sprintf("k=%0*d", 1+i*7%700, i))
		}
		orders(t, e, list...)
		routed(t, openRouter(t, e, group.Bind(group.Fanout("small"))))
		require.Equal(t, strings.ReplaceAll(strings.Join(list, " "), "k=", ""), values(t, e, "small"))
	})
}

func TestRoutersThatLeadIntoEachOtherComeToAnEnd(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		e.OpenTopic("ping")
		var ends []chan error
		var all []*group.Router
		for from, to := range map[string]string{"ping": "pong", "pong": "ping"} {
			r, err := group.OpenRouter(t.Context(), e.Engine, from, group.From(from), group.Bind(group.Fanout(to)), group.MaxHops(5), group.Alternate("astray"))
			require.NoError(t, err)
			all, ends = append(all, r), append(ends, start(t, r))
		}
		_, err := e.OpenTopic("ping").Append(t.Context(), topic.Record{Value: []byte("v")})
		require.NoError(t, err)
		synctest.Wait()
		for i, r := range all {
			require.NoError(t, r.Shutdown(t.Context()))
			require.NoError(t, <-ends[i])
		}
		require.Equal(t, "v v v", values(t, e, "ping"))
		require.Equal(t, "v v v", values(t, e, "pong"))
		astray := topictest.Records(t, e.OpenTopic("astray"))
		require.Len(t, astray, 1)
		from, _ := group.ParseRouted(*astray[0])
		require.Equal(t, "too many hops", from.Reason)
		require.Equal(t, "ping/0@0", from.Origin.String())
		require.Equal(t, "pong/0@2", from.Source.String())
		require.Equal(t, 6, from.Hops)
		require.EqualValues(t, 1, all[0].Metrics().TooFar+all[1].Metrics().TooFar)
	})
}

func TestRouterStampsCopies(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		orders(t, e, "a=1")
		time.Sleep(time.Hour)
		routed(t, openRouter(t, e, group.Bind(group.Fanout("x")), group.StampCopies()))
		require.True(t, time.Now().Equal(topictest.Records(t, e.OpenTopic("x"))[0].Time))
	})
}

func TestRoutersOfOneNameShareTheWork(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		src := e.OpenTopic("orders", topic.Partitions(4))
		var all []*group.Router
		var ends []chan error
		for range 2 {
			r := openRouter(t, e, group.Bind(group.Fanout("x")))
			all, ends = append(all, r), append(ends, start(t, r))
		}
		synctest.Wait()
		for i := range 40 {
			_, err := src.Append(t.Context(), topic.Record{Value: fmt.Append(nil, i)})
			require.NoError(t, err)
		}
		synctest.Wait()
		for _, r := range all {
			require.Len(t, r.Member().Assignment(), 2)
			require.EqualValues(t, 20, r.Metrics().Copies)
		}
		for i, r := range all { // the others get what the first one had
			require.NoError(t, r.Shutdown(t.Context()))
			require.NoError(t, <-ends[i])
		}
		require.Len(t, topictest.Records(t, e.OpenTopic("x")), 40)
	})
}

func TestRouterGoesOnAfterAStopAndAfterACrash(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		orders(t, e, "a=1", "b=2")
		bind := group.Bind(group.Fanout("x"))
		routed(t, openRouter(t, e, bind))
		e.Reopen()
		orders(t, e, "c=3")
		routed(t, openRouter(t, e, bind))
		require.Equal(t, "1 2 3", values(t, e, "x"), "nothing twice after a stop in good order")

		r := openRouter(t, e, bind)
		ended := start(t, r)
		orders(t, e, "d=4")
		synctest.Wait()
		e.Crash(topictest.LoseUnsynced)
		require.ErrorIs(t, <-ended, topic.ErrClosed)
		routed(t, openRouter(t, e, bind))
		require.Equal(t, "1 2 3 4 4", values(t, e, "x"), "what was copied and not committed comes again")
		got := topictest.Records(t, e.OpenTopic("x"))
		one, _ := group.ParseRouted(*got[3])
		two, _ := group.ParseRouted(*got[4])
		require.Equal(t, one, two, "and can be told")
	})
}

func TestRouterCopiesAreOnDiskBeforeTheProgress(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		e.OpenTopic("x", topic.NoSync())
		orders(t, e, "a=1", "b=2")
		r := openRouter(t, e, group.Bind(group.Fanout("x")), group.JoinWith(group.CommitEvery(0)))
		ended := start(t, r)
		time.Sleep(time.Second)
		e.Crash(topictest.LoseUnsynced)
		require.ErrorIs(t, <-ended, topic.ErrClosed)
		require.Zero(t, routed(t, openRouter(t, e, group.Bind(group.Fanout("x")))).Copies)
		require.Equal(t, "1 2", values(t, e, "x"))
	})
}

// Routers come, go and crash, and the disk fills up, at random: every record arrives, in order, and when routers only come and go, once.
func TestRoutersAtRandom(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T) { routersAtRandom(t, rand.New(rand.NewPCG(seed, 7)), seed%3 == 2, seed%3 > 0) })
		})
	}
}

func routersAtRandom(t *testing.T, dice *rand.Rand, crashes, fills bool) {
	e := topictest.New(t)
	const parts = 3
	e.OpenTopic("orders", topic.Partitions(parts))
	e.OpenTopic("x", topic.Partitions(2))
	type running struct {
		r     *group.Router
		ended chan error
	}
	var now []running
	sent := 0
	open := func() {
		r := openRouter(t, e, group.Bind(group.Fanout("x"), group.ByPattern("k3.#", "y")), group.JoinWith(group.ReadWith(topic.MaxPollRecords(1+dice.IntN(5)))))
		now = append(now, running{r, start(t, r)})
	}
	open()
	for range 60 {
		switch dice.IntN(8) {
		case 0:
			if len(now) < 3 {
				open()
			}
		case 1:
			if len(now) > 0 {
				i := dice.IntN(len(now))
				require.NoError(t, now[i].r.Shutdown(t.Context()))
				require.NoError(t, <-now[i].ended)
				now = append(now[:i:i], now[i+1:]...)
			}
		case 2:
			if crashes {
				e.Crash(topictest.LoseUnsynced)
				for _, n := range now {
					require.Error(t, <-n.ended)
				}
				now = nil
			}
		case 3:
			if !fills {
				continue
			}
			e.FailWrites(dice.IntN(10))
			time.Sleep(time.Duration(dice.IntN(1000)) * time.Millisecond)
			e.Heal()
		default:
			for range dice.IntN(10) {
				rec := topic.Record{Key: fmt.Append(nil, "k", dice.IntN(5), ".", dice.IntN(3)), Value: fmt.Append(nil, sent)}
				_, err := e.OpenTopic("orders").Append(t.Context(), rec)
				require.NoError(t, err)
				sent++
			}
			time.Sleep(time.Duration(dice.IntN(3)) * time.Millisecond)
		}
	}
	open()
	time.Sleep(time.Hour)
	for _, n := range now {
		require.NoError(t, n.r.Shutdown(t.Context()))
		require.NoError(t, <-n.ended)
	}
	checkCopies(t, e, sent, !crashes && !fills)
}

// checkCopies looks whether everything was copied, in order but for what came again, and no more than that.
func checkCopies(t *testing.T, e *topictest.Engine, sent int, once bool) {
	for name, want := range map[string]func(string) bool{"x": func(string) bool { return true }, "y": func(key string) bool { return strings.HasPrefix(key, "k3.") }} {
		have, next := map[string]bool{}, map[[2]int32]int64{}
		copies := 0
		for _, rec := range topictest.Records(t, e.OpenTopic(name)) {
			from, ok := group.ParseRouted(*rec)
			require.True(t, ok)
			copies++
			line := [2]int32{from.Source.Partition, rec.Partition}
			if !have[from.Source.String()] {
				require.GreaterOrEqual(t, from.Source.Offset, next[line], "first copies are in order")
				next[line] = from.Source.Offset
			}
			have[from.Source.String()] = true
		}
		records := 0
		for _, rec := range topictest.Records(t, e.OpenTopic("orders")) {
			if want(string(rec.Key)) {
				records++
				require.True(t, have[topic.Position{Topic: "orders", Partition: rec.Partition, Offset: rec.Offset}.String()], "%s: %d of partition %d", name, rec.Offset, rec.Partition)
			}
		}
		if name == "x" {
			require.Equal(t, sent, records)
		}
		if once {
			require.Equal(t, records, copies, name)
		}
	}
}

func TestIdleRouterCostsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		e := topictest.New(t)
		r := openRouter(t, e, group.Bind(group.Fanout("x")))
		synctest.Wait()
		before := e.Metrics().Goroutines
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx, 4) }()
		synctest.Wait()
		stop()
		require.ErrorIs(t, <-ended, context.Canceled)
		require.Equal(t, before, e.Metrics().Goroutines)
		require.NoError(t, r.Close())
	})
}
