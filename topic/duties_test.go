package topic

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// duty is something that an engine does by itself, and what must hold of a partition that is written to.
type duty struct {
	name   string
	engine []Option
	topic  []TopicOption
	// write is one append to p, every second; the zero value appends 100 bytes.
	write func(t *testing.T, p *Partition, n int)
	// kept must hold at any time after the first minute, and of what was written last after a minute of rest.
	kept func(t *testing.T, p *Partition, disk *vfs.Crash, resting bool)
}

func quickDuties() []Option {
	return []Option{RetentionEvery(2 * time.Second), CompactEvery(2 * time.Second), CheckpointEvery(2 * time.Second)}
}

func allDuties() []duty {
	return []duty{
		{name: "size", topic: []TopicOption{SegmentBytes(1000), RetentionBytes(4000)},
			kept: func(t *testing.T, p *Partition, disk *vfs.Crash, _ bool) {
				f, err := log.Measure(disk, p.Dir())
				require.NoError(t, err)
				require.LessOrEqual(t, f.Bytes, int64(4000+1000+600+4096), "with files that wait for their removal, and a page written ahead")
			}},
		{name: "records", topic: []TopicOption{SegmentBytes(1000), RetentionRecords(40)},
			kept: func(t *testing.T, p *Partition, _ *vfs.Crash, _ bool) {
				end, err := p.End()
				require.NoError(t, err)
				require.LessOrEqual(t, end-startOf(t, p), int64(40+6+3))
			}},
		{name: "age", topic: []TopicOption{SegmentBytes(1000), Retention(30 * time.Second)},
			kept: func(t *testing.T, p *Partition, _ *vfs.Crash, resting bool) {
				end, err := p.End()
				require.NoError(t, err)
				require.LessOrEqual(t, end-startOf(t, p), int64(30+6+3))
				require.True(t, !resting || startOf(t, p) == end, "all of it is too old")
			}},
		{name: "compaction", topic: []TopicOption{SegmentBytes(1000), CleanupWith(CleanupCompact)},
			write: func(t *testing.T, p *Partition, n int) {
				_, err := p.Append(t.Context(), Record{Key: fmt.Append(nil, n%3), Value: make([]byte, 100)})
				require.NoError(t, err)
			},
			kept: func(t *testing.T, p *Partition, _ *vfs.Crash, _ bool) {
				size, err := p.Size()
				require.NoError(t, err)
				require.Less(t, size, int64(4000), "three keys, and what is not compacted yet")
			}},
		{name: "checkpoint",
			kept: func(t *testing.T, p *Partition, disk *vfs.Crash, resting bool) {
				c, err := log.ReadOffsetCheckpoint(disk, filepath.Join("data", log.HighWatermarkFile))
				require.NoError(t, err)
				o, err := p.Offsets()
				require.NoError(t, err)
				behind := int64(4)
				if resting {
					behind = 0
				}
				require.GreaterOrEqual(t, c[log.TopicPartition{Topic: "orders"}], min(o.High, o.Durable)-behind)
			}},
		{name: "producers", topic: []TopicOption{Set(KeyProducerID, "10000")},
			write: func(t *testing.T, p *Partition, n int) {
				b := batchOf(t, record.BuilderConfig{HasProducer: true, ProducerID: int64(n)}, "v")
				_, err := p.AppendRaw(t.Context(), b, RawAppend{})
				require.NoError(t, err)
			},
			kept: func(t *testing.T, p *Partition, _ *vfs.Crash, resting bool) {
				left := len(p.log.Load().Producers())
				require.LessOrEqual(t, left, 10+10+1)
				require.True(t, !resting || left == 0)
			}},
		{name: "scrub", engine: []Option{ScrubEvery(5*time.Second, 0)},
			kept: func(t *testing.T, p *Partition, _ *vfs.Crash, _ bool) {
				size, err := p.Size()
				require.NoError(t, err)
				require.GreaterOrEqual(t, p.topic.eng.Metrics().Scrubbed, 5*size)
			}},
	}
}

// Every duty is due by its own rule at every level of durability, whatever a reader at the head does.
func TestDutiesWhateverReadersDo(t *testing.T) {
	levels := map[string]TopicOption{"sync": Durable(), "interval": SyncEvery(time.Hour), "os": NoSync()}
	for _, d := range allDuties() {
		for level, option := range levels {
			for _, followed := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/followed=%t", d.name, level, followed), func(t *testing.T) {
					if d.name == "checkpoint" && level == "interval" {
						t.Skip("what is not durable is in no checkpoint")
					}
					bubble(t, func(t *testing.T, e *Engine, disk *vfs.Crash) {
						d.run(t, e, disk, followed, option)
					}, append(quickDuties(), d.engine...)...)
				})
			}
		}
	}
}

func (d *duty) run(t *testing.T, e *Engine, disk *vfs.Crash, followed bool, level TopicOption) {
	p := partitionOf(t, openTopic(t, e, "orders", append(append([]TopicOption{Retention(-1)}, d.topic...), level)...), 0)
	var read atomic.Int64
	if followed {
		go func() {
			for _, err := range p.topic.Read(t.Context()) {
				if err != nil {
					return
				}
				read.Add(1)
			}
		}()
	}
	const seconds = 3 * 60
	for n := range seconds {
		if d.write != nil {
			d.write(t, p, n)
		} else {
			_, err := p.Append(t.Context(), Record{Value: make([]byte, 100)})
			require.NoError(t, err)
		}
		time.Sleep(time.Second)
		if n > 60 {
			d.kept(t, p, disk, false)
		}
	}
	time.Sleep(time.Minute)
	d.kept(t, p, disk, true)
	if followed {
		assert.EqualValues(t, seconds, read.Load(), "at the head all the time")
	}
}

// What a rule of the caller's own, or a group, lets go later goes without another append.
func TestRulesAreAskedAgain(t *testing.T) {
	var done atomic.Int64
	groups := RetentionHooks{Acknowledged: func(*Partition, []string) (int64, bool) { return done.Load(), true }}
	policy := RetentionHooks{Policy: policyFunc(func(_ *Partition, _ time.Time, s []SegmentState) (n int) {
		for n < len(s) && s[n].Next <= done.Load() {
			n++
		}
		return n
	})}
	for name, tc := range map[string]struct {
		hooks RetentionHooks
		topic TopicOption
	}{"groups": {groups, RetainUntilAcked("billing")}, "policy": {policy, Retention(time.Hour * 1000)}} {
		t.Run(name, func(t *testing.T) {
			done.Store(0)
			bubble(t, func(t *testing.T, e *Engine, _ *vfs.Crash) {
				p := partitionOf(t, openTopic(t, e, "orders", small(tc.topic)...), 0)
				appendTo(t, p, 5)
				time.Sleep(time.Hour)
				assert.Zero(t, startOf(t, p))
				done.Store(3)
				time.Sleep(11 * time.Minute)
				synctest.Wait()
				assert.EqualValues(t, 3, startOf(t, p))
				done.Store(5)
				time.Sleep(11 * time.Minute)
				synctest.Wait()
				assert.EqualValues(t, 5, startOf(t, p))
				time.Sleep(time.Hour)
				synctest.Wait()
				assert.Empty(t, listed(e), "nothing is left to ask about")
			}, RetentionEvery(10*time.Minute), WithRetention(tc.hooks))
		})
	}
}

type policyFunc func(p *Partition, now time.Time, segments []SegmentState) int

func (f policyFunc) Deletable(p *Partition, now time.Time, segments []SegmentState) int {
	return f(p, now, segments)
}

// A bound in bytes counts the files that wait for their removal, unless a delay was asked for.
func TestDelayOfFilesUnderABoundInBytes(t *testing.T) {
	for _, tc := range []struct {
		opts []TopicOption
		left int64
	}{
		{[]TopicOption{RetentionBytes(500), SegmentBytes(100), Retention(-1)}, 500 + 100},
		{[]TopicOption{RetentionBytes(500), SegmentBytes(100), Retention(-1), Set("file.delete.delay.ms", "60000")}, 60 * 69},
		{[]TopicOption{RetentionRecords(7), SegmentBytes(100), Retention(-1)}, 60 * 69},
	} {
		bubble(t, func(t *testing.T, e *Engine, disk *vfs.Crash) {
			p := partitionOf(t, openTopic(t, e, "orders", append(tc.opts, NoSync())...), 0)
			appendTo(t, p, 60)
			require.NoError(t, e.ApplyRetention(t.Context()))
			size, err := p.Size()
			require.NoError(t, err)
			assert.LessOrEqual(t, size, int64(600))
			f, err := log.Measure(disk, p.Dir())
			require.NoError(t, err)
			assert.LessOrEqual(t, f.Bytes, tc.left)
			assert.GreaterOrEqual(t, f.Bytes, tc.left-120)
		})
	}
}

// A partition that cannot be compacted for the time being does not keep the cleaner from the others.
func TestOnePartitionDoesNotHoldUpCompaction(t *testing.T) {
	var release chan struct{}
	hooks := RetentionHooks{Archive: func(ctx context.Context, s *LeavingSegment) error {
		if s.Topic == "archived" {
			<-release // and with it the turn for passes over this partition
		}
		return nil
	}}
	bubble(t, func(t *testing.T, e *Engine, _ *vfs.Crash) {
		release = make(chan struct{})
		both := []TopicOption{SegmentBytes(100), Retention(-1), Set("cleanup.policy", "compact,delete"), Set("min.cleanable.dirty.ratio", "0")}
		stuck := partitionOf(t, openTopic(t, e, "archived", append(both, RetentionBytes(1000))...), 0)
		other := partitionOf(t, openTopic(t, e, "users", append(both, Set("min.cleanable.dirty.ratio", "0.5"))...), 0)
		putKeys(t, other, 10, 3)
		require.NoError(t, e.Compact(t.Context(), "users")) // so that the other one is the dirtiest
		putKeys(t, stuck, 10, 3)
		done := make(chan error, 1)
		go func() {
			_, err := stuck.ApplyRetention(t.Context())
			done <- err
		}()
		synctest.Wait()
		putKeys(t, other, 10, 3)
		time.Sleep(time.Minute)
		synctest.Wait()
		size, err := other.Size()
		require.NoError(t, err)
		assert.Less(t, size, int64(500))
		close(release)
		require.NoError(t, <-done)
		time.Sleep(time.Minute)
		size, err = stuck.Size()
		require.NoError(t, err)
		assert.Less(t, size, int64(500))
	}, WithRetention(hooks))
}

// A hook that hangs for one partition keeps retention from no other, neither by itself nor by hand. Its pass goes on to its end.
func TestHangingHookDoesNotHoldUpRetention(t *testing.T) {
	var release chan struct{}
	asked := 0
	hooks := RetentionHooks{Archive: func(_ context.Context, s *LeavingSegment) error {
		if s.Topic == "hangs" {
			asked++
			<-release
		}
		return nil
	}}
	bubble(t, func(t *testing.T, e *Engine, _ *vfs.Crash) {
		release = make(chan struct{})
		list := make(map[string]*Partition)
		for _, name := range []string{"a", "hangs", "z"} {
			list[name] = partitionOf(t, openTopic(t, e, name, small(RetentionRecords(1))...), 0)
			appendTo(t, list[name], 3)
		}
		starts := func() []int64 {
			synctest.Wait()
			return []int64{startOf(t, list["a"]), startOf(t, list["hangs"]), startOf(t, list["z"])}
		}
		time.Sleep(e.scheduler.retainEvery + hookPatience)
		assert.Equal(t, []int64{2, 0, 2}, starts())
		appendTo(t, list["z"], 1)
		time.Sleep(2 * e.scheduler.retainEvery)
		assert.Equal(t, []int64{2, 0, 3}, starts(), "the next pass does not hang")
		appendTo(t, list["a"], 1)
		appendTo(t, list["z"], 1)
		ctx, cancel := context.WithTimeout(t.Context(), 2*hookPatience)
		defer cancel()
		require.ErrorIs(t, e.ApplyRetention(ctx), context.DeadlineExceeded)
		assert.Equal(t, []int64{3, 0, 4}, starts(), "by hand")
		assert.Equal(t, 1, asked)
		close(release)
		assert.Equal(t, []int64{3, 2, 4}, starts())
		require.NoError(t, e.ApplyRetention(t.Context()))
	}, WithRetention(hooks))
}

// Producers that a partition remembers from an earlier engine are forgotten too, though nothing is written any more.
func TestProducersOfAnEarlierEngineExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		e := openOn(t, disk)
		p := partitionOf(t, openTopic(t, e, "orders", Retention(-1)), 0)
		for id := range int64(300) {
			_, err := p.AppendRaw(t.Context(), batchOf(t, record.BuilderConfig{HasProducer: true, ProducerID: id}, "v"), RawAppend{})
			require.NoError(t, err)
		}
		require.NoError(t, e.Close())
		e = openOn(t, disk)
		p = partitionOf(t, openTopic(t, e, "orders"), 0)
		require.NoError(t, p.Warm(t.Context()))
		time.Sleep(23 * time.Hour)
		assert.Len(t, p.log.Load().Producers(), 300)
		time.Sleep(time.Hour + 11*time.Minute)
		synctest.Wait()
		assert.Empty(t, p.log.Load().Producers())
		assert.Empty(t, listed(e))
		require.NoError(t, e.Close())
	})
}

// An engine does not remember why it gave up on the partitions of topics that are gone.
func TestDeletedTopicsAreNotRemembered(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	p := partitionOf(t, openTopic(t, e, "users", CleanupWith(CleanupCompact)), 0)
	e.cleaner.giveUp(p, ErrCorrupt)
	require.ErrorIs(t, p.Uncleanable(), ErrCorrupt)
	require.NoError(t, e.DeleteTopic(t.Context(), "users"))
	require.Empty(t, e.cleaner.uncleanable)
	require.NoError(t, e.Close())
}
