package topic

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// compacting is a topic of small segments that is compacted.
func compacting(more ...TopicOption) []TopicOption {
	return append([]TopicOption{CleanupWith(CleanupCompact), SegmentBytes(300), Set("min.cleanable.dirty.ratio", "0.5")}, more...)
}

// putKeys appends one record for each round and key.
func putKeys(t testing.TB, p *Partition, rounds, keys int) {
	t.Helper()
	for i := range rounds * keys {
		_, err := p.Append(t.Context(), Record{Key: fmt.Appendf(nil, "k%d", i%keys), Value: fmt.Appendf(nil, "v%d", i)})
		require.NoError(t, err)
	}
}

// recordsIn counts the records of a partition.
func recordsIn(t testing.TB, p *Partition) int {
	t.Helper()
	return len(stored(t, p))
}

func TestCompactionInTheBackground(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine, disk *vfs.Crash) {
		p := partitionOf(t, openTopic(t, e, "users", compacting()...), 0)
		putKeys(t, p, 10, 4)
		assert.Equal(t, 40, recordsIn(t, p))
		time.Sleep(defaultCleanInterval - time.Second)
		synctest.Wait()
		assert.Equal(t, 40, recordsIn(t, p), "not yet")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		assert.Less(t, recordsIn(t, p), 15)
		m := e.Metrics().Total
		assert.EqualValues(t, 1, m.Compactions)
		assert.Greater(t, m.RecordsCompacted, int64(20))
		assert.Positive(t, m.BytesCompacted)
		end, err := p.End()
		require.NoError(t, err)
		assert.EqualValues(t, 40, end)
		c, err := log.ReadOffsetCheckpoint(disk, filepath.Join("data", log.CleanerFile))
		require.NoError(t, err)
		assert.Positive(t, c[log.TopicPartition{Topic: "users"}])
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Empty(t, e.scheduler.due.All(), "nothing is dirty any more")
		assert.Zero(t, e.goroutines.size())
	})
}

// A map that has no room for all keys at once makes more passes of it, each of which gets further; where a strategy has to see
// all of them it cannot, and the partition is left alone until somebody gives it more memory.
func TestCompactionWithLittleMemory(t *testing.T) {
	for strategy, fits := range map[string]bool{"offset": true, "timestamp": false} {
		t.Run(strategy, func(t *testing.T) {
			bubble(t, func(t *testing.T, e *Engine, _ *vfs.Crash) {
				p := partitionOf(t, openTopic(t, e, "users", compacting(CompactBy(strategy), Set("min.cleanable.dirty.ratio", "0"))...), 0)
				putKeys(t, p, 5, 60)
				time.Sleep(time.Minute)
				synctest.Wait()
				if !fits {
					require.ErrorContains(t, p.Uncleanable(), "CompactionMemory")
					return
				}
				require.NoError(t, p.Uncleanable())
				assert.Less(t, recordsIn(t, p), 70)
				assert.GreaterOrEqual(t, e.Metrics().Total.Compactions, int64(290/18))
			}, CompactionMemory(20*24))
		})
	}
}

// The settings act: ratio, lags and the life of a tombstone.
func TestCompactionSettings(t *testing.T) {
	tests := []struct {
		name string
		opts []TopicOption
		wait time.Duration // until it must have been compacted
		not  time.Duration // until then it must not
	}{
		{"ratio one is never passed", []TopicOption{Set("min.cleanable.dirty.ratio", "1")}, 0, time.Hour},
		{"smallest lag", []TopicOption{Set("min.compaction.lag.ms", "600000"), Set("min.cleanable.dirty.ratio", "0")}, 11 * time.Minute, 9 * time.Minute},
		{"largest lag", []TopicOption{Set("min.cleanable.dirty.ratio", "1"), Set("max.compaction.lag.ms", "3600000")}, 61 * time.Minute, 59 * time.Minute},
		{"not compacted", []TopicOption{CleanupWith(CleanupDelete)}, 0, time.Hour},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, e *Engine, _ *vfs.Crash) {
				p := partitionOf(t, openTopic(t, e, "users", compacting(c.opts...)...), 0)
				putKeys(t, p, 5, 4)
				time.Sleep(c.not)
				synctest.Wait()
				assert.Equal(t, 20, recordsIn(t, p))
				if c.wait > 0 {
					time.Sleep(c.wait - c.not)
					synctest.Wait()
					assert.Less(t, recordsIn(t, p), 20)
				}
			})
		})
	}
}

// A pass that leaves as much to do as there was does not move: the cleaner looks at the others before it comes back.
func TestPassThatDoesNotMove(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine, _ *vfs.Crash) {
		p := partitionOf(t, openTopic(t, e, "users", compacting()...), 0)
		putKeys(t, p, 10, 4)
		for _, want := range []bool{true, false} {
			moved, err := e.cleanOne(t.Context(), p, time.Now())
			require.NoError(t, err)
			assert.Equal(t, want, moved)
		}
	})
}

func TestCompactByHand(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine, _ *vfs.Crash) {
		var told []CompactedFacts
		e.events.Compacted = func(f CompactedFacts) { told = append(told, f) }
		p := partitionOf(t, openTopic(t, e, "users", compacting(Set("delete.retention.ms", "0"))...), 0)
		openTopic(t, e, "orders")
		putKeys(t, p, 5, 4)
		_, err := p.Append(t.Context(), Record{Key: []byte("k0")})
		require.NoError(t, err)
		putKeys(t, p, 2, 1)
		require.NoError(t, e.Compact(t.Context()))
		require.Len(t, told, 1)
		assert.Equal(t, "users", told[0].Topic)
		require.NoError(t, e.Compact(t.Context(), "users"))
		require.ErrorIs(t, e.Compact(t.Context(), "orders"), ErrInvalid)
		require.ErrorIs(t, e.Compact(t.Context(), "absent"), ErrNotFound)
		facts, err := p.Compact(t.Context())
		require.NoError(t, err)
		assert.EqualValues(t, 0, facts.Dropped)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, e.Compact(ended), context.Canceled)
	})
}

// The checkpoint survives a restart, and an unused partition is compacted and closed again.
func TestCompactionOfUnusedPartitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		e := openOn(t, disk)
		p := partitionOf(t, openTopic(t, e, "users", compacting()...), 0)
		putKeys(t, p, 5, 4)
		require.NoError(t, e.Compact(t.Context()))
		first := p.log.Load().FirstDirty()
		putKeys(t, p, 10, 4)
		require.NoError(t, e.Close())
		e = openOn(t, disk)
		tp := openTopic(t, e, "users")
		p = partitionOf(t, tp, 0)
		assert.Equal(t, first, p.cleanedTo())
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Zero(t, tp.Metrics().OpenPartitions)
		assert.EqualValues(t, 1, tp.Metrics().Compactions)
		assert.Greater(t, p.cleanedTo(), first)
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Empty(t, e.scheduler.due.All())
		assert.EqualValues(t, 1, tp.Metrics().Compactions)
		assert.Less(t, recordsIn(t, p), 15)
		require.NoError(t, e.Close())
		e = openOn(t, disk, ReadOnlyMode())
		require.ErrorIs(t, e.Compact(t.Context()), ErrReadOnly)
		require.NoError(t, e.Close())
	})
}

// A partition that cannot be compacted is told once and left alone; compacting it by hand takes it up again.
func TestUncleanable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewFault(vfs.NewMem())
		var failed []PartitionFault
		e, err := Open("data", On(disk), WithEvents(Events{CompactionFailed: func(f PartitionFault) { failed = append(failed, f) }}))
		require.NoError(t, err)
		good := partitionOf(t, openTopic(t, e, "good", compacting()...), 0)
		bad := partitionOf(t, openTopic(t, e, "bad", compacting()...), 0)
		disk.Add(vfs.Rule{Op: vfs.OpCreate, Path: filepath.Join("bad-0", "00000000000000000000.log.cleaned"), Count: vfs.Forever, Err: errors.New("no such luck")})
		putKeys(t, good, 5, 4)
		putKeys(t, bad, 5, 4)
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Len(t, failed, 1)
		assert.Equal(t, "bad", failed[0].Topic)
		require.ErrorContains(t, bad.Uncleanable(), "luck")
		require.NoError(t, good.Uncleanable())
		assert.Less(t, recordsIn(t, good), 20)
		assert.Equal(t, 20, recordsIn(t, bad))
		assert.Equal(t, 1, e.Metrics().Total.Uncleanable)
		assert.Empty(t, e.scheduler.due.All())
		disk.Clear()
		_, err = bad.Compact(t.Context())
		require.NoError(t, err)
		require.NoError(t, bad.Uncleanable())
		assert.Less(t, recordsIn(t, bad), 20)
		require.NoError(t, e.Close())
	})
}

func TestCompactionRate(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine, _ *vfs.Crash) {
		p := partitionOf(t, openTopic(t, e, "users", compacting(SegmentBytes(1<<20))...), 0)
		value := make([]byte, 100<<10)
		for i := range 40 {
			_, err := p.Append(t.Context(), Record{Key: fmt.Appendf(nil, "k%d", i%3), Value: value})
			require.NoError(t, err)
		}
		began := time.Now()
		facts, err := p.Compact(t.Context())
		require.NoError(t, err)
		took := time.Since(began)
		want := time.Duration(float64(facts.BytesRead) / float64(1<<20) * float64(time.Second))
		assert.InDelta(t, want.Seconds(), took.Seconds(), 1.5, "%d bytes", facts.BytesRead)

		putKeys(t, p, 1, 1)
		for range 40 {
			_, err := p.Append(t.Context(), Record{Key: []byte("k"), Value: value})
			require.NoError(t, err)
		}
		ended, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = p.Compact(ended)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}, CompactionRate(1<<20), CompactEvery(time.Hour))
}

type longest struct{ panics bool }

func (s longest) Version(r *record.Record) int64 {
	if s.panics {
		panic("strategy")
	}
	return int64(len(r.Value))
}

func TestCompactionStrategies(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine, _ *vfs.Crash) {
		p := partitionOf(t, openTopic(t, e, "users", compacting(CompactBy("longest"))...), 0)
		for i := range 20 {
			value := make([]byte, 100-i)
			_, err := p.Append(t.Context(), Record{Key: []byte("k"), Value: value})
			require.NoError(t, err)
		}
		_, err := p.Compact(t.Context())
		require.NoError(t, err)
		assert.Len(t, stored(t, p)[0].Value, 100)
		require.NoError(t, e.AlterTopic(t.Context(), "users", CompactBy("unknown")))
		_, err = p.Compact(t.Context())
		require.ErrorIs(t, err, ErrInvalid)
		require.NoError(t, e.AlterTopic(t.Context(), "users", CompactBy("panics")))
		_, err = p.Compact(t.Context())
		require.ErrorContains(t, err, "panicked")
		require.NoError(t, e.AlterTopic(t.Context(), "users", CompactBy("header=v")))
		_, err = p.Compact(t.Context())
		require.NoError(t, err)
		require.ErrorIs(t, e.AlterTopic(t.Context(), "users", CompactBy("header=")), ErrInvalid)
	}, WithCompactionStrategy("longest", longest{}), WithCompactionStrategy("panics", longest{panics: true}))
}

func TestSoonest(t *testing.T) {
	at := func(n int) time.Time { return time.Unix(int64(n), 0) }
	assert.Equal(t, at(6), soonest(at(5), at(9), at(6), time.Time{}, at(5), at(7)), "the earliest that is still to come")
	assert.True(t, soonest(at(5), at(5), time.Time{}).IsZero())
}

// A cut into what was compacted is on disk when it returns, with the file that says how far compaction has come: what comes there later is not compacted.
func TestCutBelowWhatIsCompactedIsNoted(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine, disk *vfs.Crash) {
		p := partitionOf(t, openTopic(t, e, "users", compacting()...), 0)
		putKeys(t, p, 10, 4)
		require.NoError(t, e.Compact(t.Context()))
		noted := func() int64 {
			c, err := log.ReadOffsetCheckpoint(disk.After(vfs.KeepNone, 0), filepath.Join("data", log.CleanerFile))
			require.NoError(t, err)
			return c[log.TopicPartition{Topic: "users"}]
		}
		require.Positive(t, noted())
		l, err := p.open()
		require.NoError(t, err)
		require.NoError(t, l.TruncateFully(0))
		require.Zero(t, noted())
	})
}
