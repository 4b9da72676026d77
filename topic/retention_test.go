package topic

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// small makes each batch of one short record a segment of its own, removed without delay.
func small(opts ...TopicOption) []TopicOption {
	return append([]TopicOption{SegmentBytes(100), Set("file.delete.delay.ms", "0"), Retention(-1)}, opts...)
}

func appendTo(t testing.TB, p *Partition, n int) {
	t.Helper()
	for range n {
		_, err := p.Append(t.Context(), Record{Value: []byte("v")})
		require.NoError(t, err)
	}
}

func startOf(t testing.TB, p *Partition) int64 {
	t.Helper()
	start, err := p.Start()
	require.NoError(t, err)
	return start
}

// segmentsOf is the data files in a partition's directory.
func segmentsOf(t testing.TB, disk vfs.FS, p *Partition) (list []string) {
	t.Helper()
	names, err := disk.List(p.Dir())
	require.NoError(t, err)
	for _, name := range names {
		if strings.HasSuffix(name, ".log") {
			list = append(list, name)
		}
	}
	return list
}

func TestRetentionInTime(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine, disk *vfs.Crash) {
		p := partitionOf(t, openTopic(t, e, "orders", small(Retention(time.Hour))...), 0)
		for range 10 {
			appendTo(t, p, 1)
			time.Sleep(10 * time.Minute)
		}
		synctest.Wait()
		age := func() time.Duration { return time.Duration(startOf(t, p)) * 10 * time.Minute }
		now := 100 * time.Minute
		assert.GreaterOrEqual(t, now-age(), time.Hour, "nothing goes too soon")
		assert.LessOrEqual(t, now-age(), time.Hour+15*time.Minute)
		assert.Len(t, segmentsOf(t, disk, p), int(10-startOf(t, p)))

		time.Sleep(2 * time.Hour)
		synctest.Wait()
		assert.EqualValues(t, 10, startOf(t, p), "the active segment goes too, without any append")
		assert.Empty(t, listed(e))
		assert.Zero(t, e.goroutines.size())
		assert.EqualValues(t, 10, e.Metrics().Total.SegmentsRemoved)
		appendTo(t, p, 1)
		end, err := p.End()
		require.NoError(t, err)
		assert.EqualValues(t, 11, end)
	})
}

// An engine that nobody writes to has one timer, for the next segment whose time is up.
func TestIdleRetentionIsOneTimer(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine, _ *vfs.Crash) {
		tp := openTopic(t, e, "orders", small(Retention(7*24*time.Hour), Partitions(3))...)
		for n := range int32(3) {
			appendTo(t, partitionOf(t, tp, n), 2)
			time.Sleep(time.Hour)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Zero(t, e.goroutines.size())
		require.Len(t, listed(e), 1)
		assert.Same(t, &e.scheduler.retention, listed(e)[0].of)
		wait := listed(e)[0].at - time.Since(e.scheduler.began)
		assert.Equal(t, 7*24*time.Hour-4*time.Hour+time.Millisecond, wait)
		time.Sleep(wait)
		synctest.Wait()
		assert.EqualValues(t, 2, startOf(t, partitionOf(t, tp, 0)))
		assert.Zero(t, startOf(t, partitionOf(t, tp, 1)))
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		assert.EqualValues(t, 2, startOf(t, partitionOf(t, tp, 2)))
		assert.Empty(t, listed(e))
	})
}

// Partitions that nobody uses stay closed, and lose what is too old all the same.
func TestRetentionOfUnusedPartitions(t *testing.T) {
	const partitions = 200
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		e := openOn(t, disk)
		tp := openTopic(t, e, "many", small(Retention(24*time.Hour), Partitions(partitions))...)
		for n := range int32(partitions) {
			appendTo(t, partitionOf(t, tp, n), 3)
		}
		require.NoError(t, e.Close())

		time.Sleep(time.Hour)
		e = openOn(t, disk)
		tp = openTopic(t, e, "many")
		time.Sleep(time.Minute)
		synctest.Wait()
		unused := func() {
			m := tp.Metrics()
			assert.Zero(t, m.OpenPartitions)
			assert.Zero(t, m.PartitionsOpened)
			assert.Zero(t, e.openFiles())
			assert.Zero(t, e.goroutines.size())
		}
		unused()
		require.Len(t, listed(e), 1)
		time.Sleep(22 * time.Hour)
		synctest.Wait()
		assert.Len(t, segmentsOf(t, disk, partitionOf(t, tp, 7)), 3)
		time.Sleep(time.Hour + 2*time.Minute) // and a checkpoint
		synctest.Wait()
		unused()
		assert.EqualValues(t, 3*partitions, tp.Metrics().SegmentsRemoved)
		for n := range int32(partitions) {
			require.Equal(t, []string{"00000000000000000003.log"}, segmentsOf(t, disk, partitionOf(t, tp, n)))
		}
		assert.Empty(t, listed(e))
		assert.EqualValues(t, 3, startOf(t, partitionOf(t, tp, 7)))
		require.NoError(t, e.Close())
	})
}

// Each rule of the settings, for partitions in use and for those that are not; settings act when they change.
func TestRetentionSettings(t *testing.T) {
	tests := []struct {
		name  string
		opts  []TopicOption
		start int64
	}{
		{"nothing", nil, 0},
		{"age", []TopicOption{Retention(time.Minute)}, 4},
		{"size", []TopicOption{RetentionBytes(140)}, 2},
		{"no size", []TopicOption{RetentionBytes(0)}, 4},
		{"records", []TopicOption{RetentionRecords(1)}, 3},
		{"no age at all", []TopicOption{Retention(0)}, 4},
		{"compacted topics lose nothing", []TopicOption{CleanupWith(CleanupCompact), Retention(0), RetentionBytes(0), RetentionRecords(0)}, 0},
		{"for ever", []TopicOption{Retention(Forever)}, 0},
	}
	for _, c := range tests {
		for _, used := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, used %v", c.name, used), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					disk := vfs.NewMem()
					e := openOn(t, disk)
					p := partitionOf(t, openTopic(t, e, "orders", small()...), 0)
					for range 4 {
						_, err := p.Append(t.Context(), Record{Key: []byte("k"), Value: []byte("v")})
						require.NoError(t, err)
					}
					if !used {
						require.NoError(t, e.Close())
						e = openOn(t, disk)
						p = partitionOf(t, openTopic(t, e, "orders"), 0)
					}
					time.Sleep(time.Hour)
					require.NoError(t, e.AlterTopic(t.Context(), "orders", c.opts...))
					time.Sleep(time.Minute)
					synctest.Wait()
					assert.Equal(t, used, p.log.Load() != nil)
					assert.EqualValues(t, c.start, startOf(t, p))
					require.NoError(t, e.Close())
				})
			})
		}
	}
}

// everyOther is a rule of one's own: at most two segments are kept.
type everyOther struct{ asked int }

func (r *everyOther) Deletable(_ *Partition, _ time.Time, segments []SegmentState) int {
	r.asked++
	if r.asked == 1 {
		panic("not yet")
	}
	return len(segments) - 2
}

func TestRetentionHooks(t *testing.T) {
	var archived bytes.Buffer
	var failed []error
	var removed []RemovedFacts
	refuse, acknowledged := errors.New("tape is full"), int64(-1)
	hooks := RetentionHooks{
		Policy: &everyOther{},
		Acknowledged: func(p *Partition, groups []string) (int64, bool) {
			assert.Equal(t, []string{"audit", "billing"}, groups)
			return acknowledged, acknowledged >= 0
		},
		Archive: func(_ context.Context, s *LeavingSegment) error {
			assert.Equal(t, "orders", s.Topic)
			switch {
			case s.Base == 1 && refuse != nil:
				return refuse
			case s.Base == 4:
				panic("archive")
			}
			_, err := s.WriteTo(&archived)
			return err
		},
	}
	events := Events{
		SegmentsRemoved: func(f RemovedFacts) { removed = append(removed, f) },
		RetentionFailed: func(f PartitionFault) { failed = append(failed, f.Err) },
	}
	e := openOn(t, vfs.NewMem(), WithRetention(hooks), WithEvents(events))
	p := partitionOf(t, openTopic(t, e, "orders", small(Set(KeyRetentionGroups, " audit, billing ,audit"))...), 0)
	appendTo(t, p, 6)
	retain := e.ApplyRetention
	require.NoError(t, retain(t.Context()), "the rule panics, and nothing goes")
	assert.Zero(t, startOf(t, p))
	require.ErrorIs(t, retain(t.Context()), refuse)
	assert.EqualValues(t, 1, startOf(t, p))
	refuse = nil
	require.NoError(t, retain(t.Context()))
	assert.EqualValues(t, 4, startOf(t, p))
	acknowledged = 6
	facts, err := p.ApplyRetention(t.Context())
	require.ErrorContains(t, err, "panicked", "segment 4 is kept")
	assert.Zero(t, facts.Segments)
	assert.Len(t, failed, 1)
	require.Len(t, removed, 2)
	assert.EqualValues(t, 1, removed[0].Start)
	assert.EqualValues(t, 3, removed[1].Segments)
	assert.NotZero(t, archived.Len())
	require.NoError(t, e.Close())
	require.ErrorIs(t, e.ApplyRetention(t.Context()), ErrClosed)
}

// A duty by hand that meets another pass waits for its turn, as long as its context lasts; the engine's own comes again
// later, and nobody is told of a failure. A hook that makes a pass of its own is not made to wait for itself.
func TestDutiesWaitForTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entered, leave := make(chan struct{}), make(chan struct{})
		var failed int
		var once sync.Once
		var p *Partition
		e := openOn(t, vfs.NewMem(), WithEvents(Events{RetentionFailed: func(PartitionFault) { failed++ }}),
			WithRetention(RetentionHooks{Archive: func(ctx context.Context, _ *LeavingSegment) error {
				once.Do(func() { close(entered) })
				_, err := p.ApplyRetention(ctx)
				assert.ErrorIs(t, err, ErrBusy)
				<-leave
				return nil
			}}))
		p = partitionOf(t, openTopic(t, e, "orders", small(RetentionRecords(1), Set("cleanup.policy", "compact,delete"))...), 0)
		for i := range 3 {
			_, err := p.Topic().Append(t.Context(), Record{Key: []byte{byte(i)}, Value: []byte("v")}, AppendTo(0))
			require.NoError(t, err)
		}
		done := make(chan error)
		go func() { done <- e.ApplyRetention(context.Background()) }()
		<-entered
		duties := []func(ctx context.Context) error{
			e.ApplyRetention,
			func(ctx context.Context) error { return e.Compact(ctx) },
			func(ctx context.Context) error { return p.Redact(ctx, 2, RedactOptions{}) },
		}
		for _, duty := range duties {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			require.ErrorIs(t, duty(ctx), context.DeadlineExceeded)
			cancel()
			go func() { done <- duty(context.Background()) }()
		}
		synctest.Wait()
		assert.Equal(t, e.scheduler.retainEvery, e.checkRetention(t.Context(), nil, time.Now()), "it comes again")
		close(leave)
		for range 1 + len(duties) {
			require.NoError(t, <-done)
		}
		require.NoError(t, e.Close())
		assert.Zero(t, failed)
	})
}

// Close does not leave those waiting who wait for a turn.
func TestCloseWakesThoseWhoWaitForATurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leave := make(chan struct{})
		e := openOn(t, vfs.NewMem(), WithRetention(RetentionHooks{Archive: func(context.Context, *LeavingSegment) error {
			<-leave
			return nil
		}}))
		p := partitionOf(t, openTopic(t, e, "orders", small(RetentionRecords(1))...), 0)
		appendTo(t, p, 2)
		done := make(chan error)
		go func() { done <- e.ApplyRetention(context.Background()) }()
		synctest.Wait()
		go func() { done <- p.Redact(context.Background(), 1, RedactOptions{}) }()
		synctest.Wait()
		require.NoError(t, p.log.Load().Close())
		require.ErrorIs(t, <-done, ErrClosed)
		close(leave)
		require.ErrorIs(t, <-done, ErrClosed)
		require.NoError(t, e.Close())
	})
}

func TestRetentionReadOnly(t *testing.T) {
	disk := vfs.NewMem()
	e := openOn(t, disk)
	appendTo(t, partitionOf(t, openTopic(t, e, "orders", small()...), 0), 3)
	require.NoError(t, e.Close())
	e = openOn(t, disk, ReadOnlyMode())
	require.ErrorIs(t, e.ApplyRetention(t.Context()), ErrReadOnly)
	assert.Empty(t, listed(e))
	require.NoError(t, e.Close())
}

// Whoever comes while an unused partition is looked after gets it, whole.
func TestUseDuringRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		e := openOn(t, disk)
		appendTo(t, partitionOf(t, openTopic(t, e, "orders", small(RetentionRecords(1))...), 0), 4)
		require.NoError(t, e.Close())

		going, goOn := make(chan bool), make(chan bool)
		e = openOn(t, disk, WithRetention(RetentionHooks{Archive: func(ctx context.Context, _ *LeavingSegment) error {
			going <- true
			<-goOn
			return nil
		}}))
		p := partitionOf(t, openTopic(t, e, "orders"), 0)
		ended := make(chan error)
		go func() { ended <- e.ApplyRetention(context.Background()) }()
		for range 3 {
			<-going
			goOn <- true
		}
		go func() { ended <- p.Warm(context.Background()) }()
		require.NoError(t, <-ended)
		require.NoError(t, <-ended)
		appendTo(t, p, 1)
		assert.EqualValues(t, 3, startOf(t, p))
		require.NoError(t, e.Close())
		_, err := disk.Stat(filepath.Join("data", ".kafka_cleanshutdown"))
		require.NoError(t, err)
	})
}
