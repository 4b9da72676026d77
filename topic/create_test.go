package topic

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/quirelog/quire/internal/invariant"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTopicCreatesOrOpens(t *testing.T) {
	fsys := vfs.NewMem()
	e := openOn(t, fsys, Defaults(SegmentBytes(1<<20)))
	a := openTopic(t, e, "orders", Partitions(3), Set("retention.ms", "60000"))
	assert.Equal(t, 3, a.Partitions())
	assert.Same(t, a, openTopic(t, e, "orders"), "what is not given is not compared")
	assert.Same(t, a, openTopic(t, e, "orders", Partitions(3), Set("retention.ms", "60000"), SegmentBytes(1<<20)))

	_, err := e.Topic(t.Context(), "orders", Partitions(4), Set("retention.ms", "1"), Set("flush.ms", "9"))
	var conflict *SettingsConflictError
	require.ErrorAs(t, err, &conflict)
	assert.ErrorIs(t, err, ErrExists)
	assert.Equal(t, []SettingDifference{
		{"partitions", "3", "4"}, {"flush.ms", maxInt64Text, "9"}, {"retention.ms", "60000", "1"},
	}, conflict.Differences)
	assert.Contains(t, err.Error(), "retention.ms is 60000, wanted 1")

	_, err = e.CreateTopic(t.Context(), "orders")
	assert.ErrorIs(t, err, ErrExists)
	_, err = e.Topic(t.Context(), "orders", Set("nonsense", "1"))
	assert.ErrorIs(t, err, ErrInvalid)
	require.NoError(t, e.Close())

	e = openOn(t, fsys)
	b := openTopic(t, e, "orders")
	assert.Equal(t, a.ID(), b.ID())
	assert.Equal(t, a.Settings(), b.Settings(), "defaults of the engine are stored with the topic")
	assert.Equal(t, map[string]string{"segment.bytes": "1048576", "retention.ms": "60000"}, b.Overrides())
}

func TestTopicNamesCollide(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	openTopic(t, e, "a.b")
	_, err := e.Topic(t.Context(), "a_b")
	require.ErrorIs(t, err, ErrExists)
	assert.Contains(t, err.Error(), "a.b")
	require.NoError(t, e.DeleteTopic(t.Context(), "a.b"))
	openTopic(t, e, "a_b")
}

func TestHostileTopicNames(t *testing.T) {
	fsys := vfs.NewMem()
	e := openOn(t, fsys)
	before := filesIn(t, fsys, "data")
	for _, name := range hostileNames() {
		_, err := e.Topic(t.Context(), name)
		assert.ErrorIs(t, err, ErrInvalid, "%q", clip(name))
		_, err = e.Partition(name, 0)
		assert.ErrorIs(t, err, ErrNotFound)
		assert.ErrorIs(t, e.DeleteTopic(t.Context(), name), ErrNotFound)
		assert.ErrorIs(t, e.AlterTopic(t.Context(), name), ErrNotFound)
	}
	assert.Equal(t, before, filesIn(t, fsys, "data"))
	_, err := e.CreateTopic(t.Context(), "../x", Partitions(-1), Set("a", "b"), Set("segment.bytes", "no"))
	for _, part := range []string{"../x", "-1 partitions", `"a"`, "segment.bytes"} {
		assert.ErrorContains(t, err, part, "every fault is reported at once")
	}
}

func TestTopicConcurrently(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	var wg sync.WaitGroup
	got := make([]*Topic, 16)
	for i := range got {
		wg.Go(func() {
			tp, err := e.Topic(t.Context(), "orders", Partitions(2))
			assert.NoError(t, err)
			got[i] = tp
		})
	}
	wg.Wait()
	for _, tp := range got {
		assert.Same(t, got[0], tp)
	}
}

func TestAlterTopic(t *testing.T) {
	fsys := vfs.NewMem()
	e := openOn(t, fsys)
	tp := openTopic(t, e, "orders", quick(), Set("flush.ms", "5"))
	_, err := tp.Append(t.Context(), Record{Value: []byte("v")})
	require.NoError(t, err)
	p0, err := tp.Partition(0)
	require.NoError(t, err)

	require.NoError(t, e.AlterTopic(t.Context(), "orders", Partitions(3), Durable(), Reset("flush.ms")))
	assert.Equal(t, 3, tp.Partitions())
	assert.Equal(t, Forever, tp.Settings().FlushInterval)
	assert.Equal(t, log.Sync, tp.Settings().Durability)
	assert.Equal(t, log.Sync, p0.log.Load().Config().Durability, "an open partition follows")
	_, err = tp.Append(t.Context(), Record{Value: []byte("v")}, AppendTo(2))
	require.NoError(t, err)

	err = e.AlterTopic(t.Context(), "orders", Partitions(2), Set("segment.bytes", "x"), Set("b", "c"), Reset("d"))
	require.ErrorIs(t, err, ErrInvalid)
	for _, part := range []string{"2 partitions", "segment.bytes", `"b"`, `"d"`} {
		assert.ErrorContains(t, err, part)
	}
	assert.Equal(t, 3, tp.Partitions())
	require.NoError(t, e.Close())
	e = openOn(t, fsys)
	assert.Equal(t, 3, openTopic(t, e, "orders").Partitions())
}

func TestDeleteTopic(t *testing.T) {
	fsys := vfs.NewMem()
	e := openOn(t, fsys)
	old := openTopic(t, e, "orders", Partitions(2))
	_, err := old.Append(t.Context(), Record{Value: []byte("old")}, AppendTo(0))
	require.NoError(t, err)
	p, err := old.Partition(0)
	require.NoError(t, err)
	waited := make(chan error, 1)
	go func() { waited <- p.Wait(t.Context(), 5, ReadUncommitted) }()

	require.NoError(t, e.DeleteTopic(t.Context(), "orders"))
	assert.ErrorIs(t, <-waited, ErrNotFound)
	assert.ErrorIs(t, e.DeleteTopic(t.Context(), "orders"), ErrNotFound)
	_, err = old.Append(t.Context(), Record{})
	assert.ErrorIs(t, err, ErrNotFound)
	for _, base := range filesIn(t, fsys, "data") {
		assert.False(t, strings.HasPrefix(base, "orders"), base)
	}

	fresh := openTopic(t, e, "orders")
	assert.NotEqual(t, old.ID(), fresh.ID())
	high, err := fresh.state.Load().partitions[0].High()
	require.NoError(t, err)
	assert.Zero(t, high)
	assert.Equal(t, int64(1), e.Metrics().Total.RecordsIn, "counts of deleted topics stay in the sums")
	require.NoError(t, e.Close())
	openOn(t, fsys)
}

// A deleted topic's checkpoint lines must not be taken for a new topic's of its name.
func TestDeletedTopicLeavesNoCheckpoint(t *testing.T) {
	for _, killed := range []bool{false, true} {
		fsys := vfs.NewCrash()
		e := openOn(t, fsys)
		tp := openTopic(t, e, "orders")
		for range 3 {
			_, err := tp.Append(t.Context(), Record{Value: []byte("v")})
			require.NoError(t, err)
		}
		require.NoError(t, e.Checkpoint(t.Context()))
		path := filepath.Join("data", log.RecoveryPointFile)
		c, err := log.ReadOffsetCheckpoint(fsys, path)
		require.NoError(t, err)
		assert.EqualValues(t, 3, c[log.TopicPartition{Topic: "orders"}])
		require.NoError(t, e.DeleteTopic(t.Context(), "orders"))
		openTopic(t, e, "orders")
		if killed {
			fsys = fsys.Kill(1)
			e = openOn(t, fsys)
		}
		p := partitionOf(t, openTopic(t, e, "orders"), 0)
		require.NoError(t, p.Warm(t.Context()))
		c, err = log.ReadOffsetCheckpoint(fsys, path)
		require.NoError(t, err)
		assert.Empty(t, c, "killed: %v", killed)
	}
}

// Nor those that a checkpoint collected before the deletion and writes while the new topic is first used; one more write is enough for all of its
// partitions.
func TestCheckpointBesideDeletionLeavesNone(t *testing.T) {
	holds := 0
	for k, over := 1, false; !over; k++ {
		synctest.Test(t, func(t *testing.T) {
			mem := vfs.NewCrash()
			disk := vfs.NewFault(mem)
			e, err := Open("data", On(disk))
			require.NoError(t, err)
			usedTopic(t, e, "orders", 2)
			open := make(chan struct{})
			held, writes := false, 0
			disk.Add(vfs.Rule{Op: vfs.OpCreate, Path: log.RecoveryPointFile, Count: vfs.Forever, Done: true, Hook: func(vfs.Op, string) { writes++ }})
			disk.Add(vfs.Rule{Op: vfs.OpAny, Path: "*-offset-checkpoint*", K: k, Hook: func(vfs.Op, string) { held = true; <-open }})
			var wg sync.WaitGroup
			wg.Go(func() { assert.NoError(t, e.Checkpoint(t.Context())) })
			synctest.Wait()
			require.NoError(t, e.DeleteTopic(t.Context(), "orders"))
			tp := openTopic(t, e, "orders", Partitions(2))
			for n := range int32(2) {
				p := partitionOf(t, tp, n)
				wg.Go(func() {
					assert.NoError(t, p.Warm(t.Context()))
					for _, name := range []string{log.RecoveryPointFile, log.HighWatermarkFile} {
						c, err := log.ReadOffsetCheckpoint(mem.After(vfs.KeepNone, 0), filepath.Join("data", name))
						if !errors.Is(err, fs.ErrNotExist) {
							assert.NoError(t, err)
						}
						assert.Zero(t, c[log.TopicPartition{Topic: "orders", Partition: n}], "held at %d: %s", k, name)
					}
				})
			}
			synctest.Wait()
			close(open)
			wg.Wait()
			if over = !held; held {
				holds++
			}
			assert.Equal(t, 2, writes)
			require.NoError(t, e.Close())
		})
	}
	assert.Greater(t, holds, 10)
}

// A directory that the disk refuses is an error of the first use, which can be tried again; no record is lost or half there.
func TestFirstUseOnFailingDisk(t *testing.T) {
	for _, rule := range []vfs.Rule{
		{Op: vfs.OpMkdirAll, Path: "orders-2", Err: syscall.ENOSPC},
		{Op: vfs.OpSyncDir, Path: "data", Err: syscall.EIO},
		{Op: vfs.OpWrite, Path: ".journal", Err: syscall.ENOSPC},
		{Op: vfs.OpSync, Path: ".journal", Err: syscall.EIO},
		{Op: vfs.OpCreate, Path: log.PartitionMetadataFile, Err: syscall.EMFILE},
	} {
		mem := vfs.NewMem()
		fault := vfs.NewFault(mem)
		e := openOn(t, fault)
		tp := openTopic(t, e, "orders", Partitions(4))
		fault.Add(rule)
		_, err := tp.Append(t.Context(), Record{}, AppendTo(2))
		require.ErrorIs(t, err, rule.Err)
		assert.Equal(t, rule.Err == syscall.ENOSPC, errors.Is(err, ErrNoSpace), "%v", err)
		assert.NotErrorIs(t, err, ErrUncertain)
		_, err = tp.Append(t.Context(), Record{}, AppendTo(2))
		require.NoError(t, err)
		require.NoError(t, e.Close())
		e = openOn(t, mem)
		assert.Len(t, stored(t, partitionOf(t, openTopic(t, e, "orders"), 2)), 1)
		assert.NotContains(t, filesIn(t, mem, "data"), "orders-1")
	}
}

// model is what a script was told, against which a crashed disk is held.
type model struct {
	acked   map[string]int // topic -> partitions, as of the last call that returned
	next    map[string]int // the same as the call under way would make it
	records map[string]int64
	ids     map[string]ID
	lastID  int64 // producer id
	done    bool
}

func (m *model) copyOf(src map[string]int) map[string]int {
	c := map[string]int{}
	for k, v := range src {
		c[k] = v
	}
	return c
}

// step runs one change: while it runs, both its effect and none are right.
func (m *model) step(change func(map[string]int), do func() error) error {
	m.next = m.copyOf(m.acked)
	change(m.next)
	if err := do(); err != nil {
		return err
	}
	m.acked = m.next
	return nil
}

// script creates, alters, deletes and creates again, until the disk stops.
func (m *model) script(t *testing.T, fsys vfs.FS) error {
	m.acked, m.next = map[string]int{}, map[string]int{}
	m.records, m.ids, m.lastID = map[string]int64{}, map[string]ID{}, -1
	e, err := Open("data", On(fsys))
	if err != nil {
		return err
	}
	defer e.Close()
	ctx := t.Context()
	create := func(name string, n int) error {
		delete(m.ids, name)
		return m.step(func(s map[string]int) { s[name] = n }, func() error {
			tp, err := e.CreateTopic(ctx, name, Partitions(n), Set("segment.index.bytes", "1024"))
			if err == nil {
				m.ids[name] = tp.ID()
			}
			return err
		})
	}
	write := func(name string) error {
		tp, err := e.lookup(name)
		if err == nil {
			_, err = tp.Append(ctx, Record{Value: []byte("v")}, AppendTo(0))
		}
		if err == nil {
			m.records[name]++
		}
		return err
	}
	drop := func(name string) error {
		delete(m.records, name)
		return m.step(func(s map[string]int) { delete(s, name) }, func() error { return e.DeleteTopic(ctx, name) })
	}
	grow := func(name string, n int) error {
		return m.step(func(s map[string]int) { s[name] = n }, func() error { return e.AlterTopic(ctx, name, Partitions(n)) })
	}
	for _, do := range []func() error{
		func() error { return create("a", 2) },
		func() error { return write("a") },
		func() (err error) { m.lastID, err = e.nextProducerID(); return err },
		func() error { return grow("a", 3) },
		func() error { return create("b", 1) },
		func() error { return drop("a") },
		func() error { return create("a", 1) },
		func() error { return write("a") },
		e.Close,
	} {
		if err := do(); err != nil {
			return err
		}
	}
	m.done = true
	return nil
}

// check holds what a crash left against the model, and goes on from there.
func (m *model) check(t *testing.T, fsys vfs.FS) {
	e, err := Open("data", On(fsys))
	require.NoError(t, err)
	defer e.Close()
	id, err := e.nextProducerID()
	require.NoError(t, err)
	assert.Greater(t, id, m.lastID)
	got := map[string]int{}
	for _, tp := range e.allTopics() {
		got[tp.name] = tp.Partitions()
		if id, known := m.ids[tp.name]; known {
			assert.Equal(t, id, tp.ID(), "topic %s", tp.name)
		}
	}
	if !assert.ObjectsAreEqual(m.acked, got) {
		assert.Equal(t, m.next, got)
	}
	for _, tp := range e.allTopics() {
		first := tp.state.Load().partitions[0]
		require.NoError(t, first.Warm(t.Context())) // it takes over what a first use has left that was not noted
		offsets, err := first.Offsets()
		require.NoError(t, err)
		assert.GreaterOrEqual(t, offsets.High, m.records[tp.name], "acknowledged records of %s", tp.name)
		last := int32(tp.Partitions() - 1)
		_, err = tp.Append(t.Context(), Record{Value: []byte("on")}, AppendTo(last))
		require.NoError(t, err, "every partition of a topic that exists can be used")
		require.NoError(t, e.DeleteTopic(t.Context(), tp.name))
	}
	removed(t, e)
	require.NoError(t, e.Close())
	for _, base := range filesIn(t, fsys, "data") {
		_, partition := parseDirName(base)
		_, deleted := parseDeletedDirName(base)
		assert.False(t, partition || deleted, "left over: %s", base)
	}
}

// Whatever operation the power fails at, the topics are those before the call under way or those after it.
func TestTopicChangesSurvivePowerCuts(t *testing.T) {
	whole := vfs.NewCrash()
	var m model
	require.NoError(t, m.script(t, whole))
	require.True(t, m.done)
	ops, states, stride := whole.Ops(), 0, 3 // every operation of the manifest comes more than once
	if invariant.Enabled {
		stride = 11 // the race detector is slow, and there is nothing concurrent in this
	}
	policies := []vfs.Policy{vfs.KeepAll, vfs.RandomEntries, vfs.KeepPrefix, vfs.EntriesOnly, vfs.GarbageSectors}
	for n := 1; n <= ops; n += stride {
		cut := vfs.NewCrash()
		cut.CrashAt(n)
		var m model
		if err := m.script(t, cut); err != nil && !errors.Is(err, vfs.ErrCrashed) {
			require.ErrorIs(t, err, ErrClosed)
		}
		for i, policy := range []vfs.Policy{vfs.KeepNone, policies[n%5], policies[(n+1)%5], policies[(n+3)%5]} {
			states++
			after := cut.After(policy, uint64(n))
			if policy != vfs.KeepNone { // and once more, while what the first cut left is put in order
				after.CrashAt(after.Ops() + 1 + (n+7*i)%19)
				if e, err := Open("data", On(after)); err == nil {
					e.Close()
				}
				after = after.After(policy, uint64(n))
			}
			m.check(t, after)
			if t.Failed() {
				t.Fatalf("crash at operation %d of %d, %v", n, ops, policy)
			}
		}
		// What an engine serves after a kill must bear a power cut.
		killed := cut.Kill(uint64(n))
		if e, err := Open("data", On(killed)); err == nil {
			after, err := Open("data", On(killed.After(vfs.KeepNone, 0)))
			require.NoError(t, err)
			require.Equal(t, e.manifest().Topics, after.manifest().Topics, "killed at operation %d of %d", n, ops)
			require.NoError(t, errors.Join(e.Close(), after.Close()))
		}
	}
	t.Logf("%d operations, %d states", ops, states)
}

// A change that the disk refuses is refused for certain, as long as it takes anything else; after that the outcome is not known.
func TestManifestOnFailingDisk(t *testing.T) {
	mem := vfs.NewMem()
	fault := vfs.NewFault(mem)
	e := openOn(t, fault)
	openTopic(t, e, "a")
	for _, rule := range []vfs.Rule{
		{Op: vfs.OpSync, Path: ".journal", Err: syscall.EIO},
		{Op: vfs.OpWrite, Path: ".journal", Err: syscall.ENOSPC, Short: 7},
	} {
		fault.Add(rule)
		_, err := e.CreateTopic(t.Context(), "b")
		require.ErrorIs(t, err, rule.Err)
		assert.Equal(t, rule.Err == syscall.ENOSPC, errors.Is(err, ErrNoSpace), "%v", err)
		assert.NotErrorIs(t, err, ErrUncertain)
		fault.Add(rule)
		require.ErrorIs(t, e.AlterTopic(t.Context(), "a", SegmentBytes(1<<20)), rule.Err)
		assert.Empty(t, openTopic(t, e, "a").Overrides())
		openTopic(t, e, "a", Partitions(1))
		if rule.Err == syscall.ENOSPC {
			continue // a deletion makes room for itself
		}
		fault.Add(rule)
		require.ErrorIs(t, e.DeleteTopic(t.Context(), "a"), rule.Err)
		openTopic(t, e, "a", Partitions(1))
	}
	openTopic(t, e, "b")
	_, err := openTopic(t, e, "a").Append(t.Context(), Record{})
	require.NoError(t, err)
	fault.Add(vfs.Rule{Op: vfs.OpSync, Path: "quire.manifest", Count: vfs.Forever, Err: syscall.EIO})
	_, err = e.CreateTopic(t.Context(), "c")
	require.ErrorIs(t, err, ErrUncertain)
	_, err = e.CreateTopic(t.Context(), "d")
	require.ErrorIs(t, err, ErrUncertain, "nothing more is changed on a disk of which it is not known what it holds")
	_, err = openTopic(t, e, "a").Append(t.Context(), Record{})
	assert.NoError(t, err, "topics in use work on")
	require.NoError(t, e.Close())
	assert.NotContains(t, filesIn(t, mem, "data"), cleanFile)
	again := openOn(t, mem)
	openTopic(t, again, "b")
	openTopic(t, again, "d")
}

// A topic may be created and deleted by others between Topic's look and its own creation.
func TestTopicWhileItComesAndGoes(t *testing.T) {
	e := clientEngine(t)
	over, stop := context.WithCancel(t.Context())
	var others sync.WaitGroup
	for range 4 {
		others.Go(func() {
			for over.Err() == nil {
				_ = e.DeleteTopic(over, "t")
			}
		})
		others.Go(func() {
			for over.Err() == nil {
				if _, err := e.Topic(over, "t"); err != nil {
					assert.ErrorIs(t, err, context.Canceled)
				}
			}
		})
	}
	for range 500 {
		_, err := e.Topic(t.Context(), "t")
		require.NoError(t, err)
	}
	stop()
	others.Wait()
}
