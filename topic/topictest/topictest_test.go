package topictest_test

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
	"github.com/quirelog/quire/topic/topictest"
)

// probe is a testing.TB that keeps what it is told.
type probe struct {
	testing.TB
	text     strings.Builder
	failed   bool
	cleanups []func()
}

func (p *probe) Helper()                   {}
func (p *probe) Output() io.Writer         { return io.Discard }
func (p *probe) Failed() bool              { return p.failed }
func (p *probe) Cleanup(f func())          { p.cleanups = append(p.cleanups, f) }
func (p *probe) Logf(f string, a ...any)   { fmt.Fprintf(&p.text, f+"\n", a...) }
func (p *probe) Errorf(f string, a ...any) { p.failed = true; p.Logf(f, a...) }
func (p *probe) Fatalf(f string, a ...any) { p.Errorf(f, a...); panic(p) }

// run calls f as a test would be run, cleanups last, and returns what it was told.
func (p *probe) run(f func(t testing.TB)) string {
	guard := func(f func()) {
		defer func() {
			if r := recover(); r != nil && r != any(p) {
				panic(r)
			}
		}()
		f()
	}
	guard(func() { f(p) })
	for len(p.cleanups) > 0 {
		last := p.cleanups[len(p.cleanups)-1]
		p.cleanups = p.cleanups[:len(p.cleanups)-1]
		guard(last)
	}
	return p.text.String()
}

func add(t testing.TB, to *topic.Topic, keys ...string) {
	t.Helper()
	for _, key := range keys {
		_, err := to.Append(context.Background(), topic.Record{Key: []byte(key), Value: []byte("v-" + key)})
		require.NoError(t, err)
	}
}

func TestWhatIsInATopic(t *testing.T) {
	eng := topictest.New(t)
	one := eng.OpenTopic("one")
	topictest.RequireKeys(t, one)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	add(t, one, "b", "a")
	_, err := one.Append(t.Context(), topic.Record{Time: at, Headers: []topic.Header{{Key: "h", Value: []byte("x")}}})
	require.NoError(t, err)
	topictest.RequireKeys(t, one, "b", "a", "<nil>")
	topictest.RequireValues(t, one, "v-b", "v-a", "<nil>")
	topictest.RequireRecords(t, one,
		topic.Record{Key: []byte("b"), Value: []byte("v-b")}, topic.Record{Key: []byte("a"), Value: []byte("v-a")},
		topic.Record{Time: at, Headers: []topic.Header{{Key: "h", Value: []byte("x")}}})

	many := eng.OpenTopic("many", topic.Partitions(4))
	add(t, many, "a", "b", "c", "d", "a")
	topictest.RequireKeys(t, many, "d", "a", "c", "a", "b")
	topictest.RequireRecords(t, many, topic.Record{Key: []byte("d"), Value: []byte("v-d")}, topic.Record{Key: []byte("a"), Value: []byte("v-a")},
		topic.Record{Key: []byte("c"), Value: []byte("v-c")}, topic.Record{Key: []byte("b"), Value: []byte("v-b")},
		topic.Record{Key: []byte("a"), Value: []byte("v-a")})
	assert.Len(t, topictest.Records(t, many), 5)
}

// Each requirement that is not met fails the test and says what there is instead.
func TestUnmetRequirements(t *testing.T) {
	for name, c := range map[string]struct {
		f    func(t testing.TB, one, many *topic.Topic)
		want string
	}{
		"missing key":    {func(t testing.TB, one, _ *topic.Topic) { topictest.RequireKeys(t, one, "a", "b", "c") }, `"b"`},
		"spare key":      {func(t testing.TB, one, _ *topic.Topic) { topictest.RequireKeys(t, one, "a") }, `"b"`},
		"other order":    {func(t testing.TB, one, _ *topic.Topic) { topictest.RequireKeys(t, one, "b", "a") }, `"b"`},
		"counted once":   {func(t testing.TB, _, many *topic.Topic) { topictest.RequireKeys(t, many, "a", "b", "b") }, `"a"`},
		"value":          {func(t testing.TB, one, _ *topic.Topic) { topictest.RequireValues(t, one, "a", "b") }, `"v-a"`},
		"nothing wanted": {func(t testing.TB, one, _ *topic.Topic) { topictest.RequireRecords(t, one) }, `key "a" value "v-a"`},
		"record's time": {func(t testing.TB, one, _ *topic.Topic) {
			topictest.RequireRecords(t, one, topic.Record{Key: []byte("a"), Value: []byte("v-a"), Time: time.UnixMilli(1)}, topic.Record{Key: []byte("b"), Value: []byte("v-b")})
		}, "1970-01-01"},
		"empty is not null": {func(t testing.TB, one, _ *topic.Topic) {
			topictest.RequireRecords(t, one, topic.Record{Key: []byte("a"), Value: []byte{}}, topic.Record{Key: []byte("b"), Value: []byte("v-b")})
		}, `value ""`},
		"records' order": {func(t testing.TB, one, _ *topic.Topic) {
			topictest.RequireRecords(t, one, topic.Record{Key: []byte("b"), Value: []byte("v-b")}, topic.Record{Key: []byte("a"), Value: []byte("v-a")})
		}, "want:"},
		"too few to wait for": {func(t testing.TB, one, _ *topic.Topic) { topictest.Await(t, one, 3, time.Millisecond) }, "records after 1ms, want 3"},
	} {
		t.Run(name, func(t *testing.T) {
			eng := topictest.New(t)
			one, many := eng.OpenTopic("one"), eng.OpenTopic("many", topic.Partitions(2))
			add(t, one, "a", "b")
			add(t, many, "a", "a", "b")
			p := &probe{TB: t}
			text := p.run(func(t testing.TB) { c.f(t, one, many) })
			assert.True(t, p.failed)
			assert.Contains(t, text, c.want)
		})
	}
}

// A test that leaves something open fails.
func TestLeaksAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var raw *topic.RawSlice
		text := (&probe{TB: t}).run(func(t testing.TB) {
			one := topictest.New(t).OpenTopic("one")
			add(t, one, "a")
			part, err := one.Partition(0)
			require.NoError(t, err)
			raw, err = part.FetchRaw(context.Background(), 0, topic.Fetch{})
			require.NoError(t, err)
		})
		assert.Contains(t, text, "not released")
		raw.Release()
	})

	p := &probe{TB: t}
	text := p.run(func(t testing.TB) { topictest.New(t).OpenTopic("a/b") })
	assert.Contains(t, text, "a/b")
}

// Whatever a crash takes, what was acknowledged is there; a power cut takes what was not synced, a kill does not.
func TestCrashKeepsWhatWasAcknowledged(t *testing.T) {
	for _, loss := range []topictest.Loss{topictest.LoseNothing, topictest.LoseUnsynced, topictest.LoseSome} {
		eng := topictest.New(t)
		safe, weak := eng.OpenTopic("safe"), eng.OpenTopic("weak", topic.NoSync())
		add(t, safe, "a", "b")
		add(t, weak, "a", "b")
		for range 3 {
			eng.Crash(loss)
			topictest.RequireKeys(t, eng.OpenTopic("safe"), "a", "b")
		}
		_, err := safe.Append(t.Context(), topic.Record{})
		require.ErrorIs(t, err, topic.ErrClosed, "the old engine is gone")
		switch weak := eng.OpenTopic("weak"); loss {
		case topictest.LoseNothing:
			topictest.RequireKeys(t, weak, "a", "b")
		case topictest.LoseUnsynced:
			topictest.RequireKeys(t, weak)
		}
	}
}

// A crash in the middle of appends by many: each that was acknowledged is there, each once.
func TestCrashDuringAppends(t *testing.T) {
	eng := topictest.New(t)
	orders := eng.OpenTopic("orders", topic.Partitions(3))
	var mu sync.Mutex
	acked := map[string]bool{}
	var wg sync.WaitGroup
	begun := make(chan struct{}, 100)
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				key := fmt.Sprintf("%d-%d", w, i)
				if _, err := orders.Append(context.Background(), topic.Record{Key: []byte(key)}); err != nil {
					return
				}
				mu.Lock()
				acked[key] = true
				mu.Unlock()
				select {
				case begun <- struct{}{}:
				default:
				}
				runtime.Gosched() // where there is one thread and no preemption the memory disk makes no wait
			}
		})
	}
	for range 50 {
		<-begun
	}
	eng.Crash(topictest.LoseUnsynced)
	wg.Wait()
	seen := map[string]int{}
	for _, rec := range topictest.Records(t, eng.OpenTopic("orders")) {
		seen[string(rec.Key)]++
	}
	for key := range acked {
		assert.Equal(t, 1, seen[key], key)
	}
	assert.LessOrEqual(t, len(seen), len(acked)+4, "at most the four under way are there without an answer")
}

func TestReopenKeepsEverything(t *testing.T) {
	eng := topictest.New(t)
	add(t, eng.OpenTopic("weak", topic.NoSync()), "a", "b")
	topictest.RequireKeys(t, eng.Reopen().OpenTopic("weak"), "a", "b")
}

func TestFullDisk(t *testing.T) {
	eng := topictest.New(t)
	one := eng.OpenTopic("one")
	add(t, one, "a")
	eng.FailWrites(0)
	_, err := one.Append(t.Context(), topic.Record{Key: []byte("lost")})
	require.ErrorIs(t, err, topic.ErrNoSpace)
	require.NotErrorIs(t, err, topic.ErrUncertain)
	eng.Heal()
	add(t, one, "b")
	topictest.RequireKeys(t, one, "a", "b")
}

func TestFailingSyncs(t *testing.T) {
	eng := topictest.New(t)
	one := eng.OpenTopic("one")
	add(t, one, "a")
	eng.FailSyncs(0)
	_, err := one.Append(t.Context(), topic.Record{Key: []byte("who knows")})
	require.ErrorIs(t, err, topic.ErrUncertain)
	eng.Heal()
	_, err = one.Append(t.Context(), topic.Record{})
	require.ErrorIs(t, err, topic.ErrFenced)
	one = eng.Crash(topictest.LoseUnsynced).OpenTopic("one")
	topictest.RequireKeys(t, one, "a")
	add(t, one, "b")
	topictest.RequireKeys(t, eng.Reopen().OpenTopic("one"), "a", "b")

	p := &probe{TB: t}
	text := p.run(func(t testing.TB) { // a fault of the test's own making is no fault at its end
		eng := topictest.New(t)
		one := eng.OpenTopic("one")
		add(t, one, "a")
		eng.Disk().Add(vfs.Rule{Op: vfs.OpSync, Err: syscall.EIO})
		_, err := one.Append(context.Background(), topic.Record{})
		assert.Error(t, err)
	})
	assert.False(t, p.failed, text)
}

func TestInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := topictest.New(t)
		one := eng.OpenTopic("one", topic.SyncEvery(time.Minute))
		p, err := eng.NewProducer(topic.Linger(time.Minute))
		require.NoError(t, err)
		start := time.Now()
		require.NoError(t, p.Send(t.Context(), "one", topic.Record{Key: []byte("a")}, nil))
		topictest.RequireKeys(t, one)
		topictest.Await(t, one, 1, time.Hour)
		assert.Equal(t, time.Minute, time.Since(start), "the bubble's clock")
		eng.Crash(topictest.LoseUnsynced)
		topictest.RequireKeys(t, eng.OpenTopic("one"))
		one = eng.OpenTopic("one")
		add(t, one, "b")
		time.Sleep(time.Minute)
		synctest.Wait()
		topictest.RequireKeys(t, eng.Crash(topictest.LoseUnsynced).OpenTopic("one"), "b")
	})
}

// The engine writes its log to the test's, unless it is given another.
func TestLogger(t *testing.T) {
	p := &output{probe: probe{TB: t}}
	p.run(func(testing.TB) { topictest.New(p) })
	assert.Contains(t, p.log.String(), "engine closed")
	p = &output{probe: probe{TB: t}}
	p.run(func(testing.TB) { topictest.New(p, topic.Logger(nil)) })
	assert.Empty(t, p.log.String())
}

type output struct {
	probe
	log strings.Builder
}

func (o *output) Output() io.Writer { return &o.log }

func TestOptionsReachTheEngine(t *testing.T) {
	eng := topictest.New(t, topic.Defaults(topic.Partitions(3)))
	assert.Equal(t, 3, eng.OpenTopic("one").Partitions())
	assert.Equal(t, 3, eng.Reopen().OpenTopic("one").Partitions())
}
