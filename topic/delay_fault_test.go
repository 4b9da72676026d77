package topic

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quirelog/quire/internal/invariant"
	"github.com/quirelog/quire/internal/thin"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/require"
)

// outcomes is a scenario with delayed and recurring messages on a disk that fails now and then: it goes on after errors.
type outcomes struct {
	promises
	refused  map[string]bool // the append failed for certain: it must not come
	late     map[string]bool // Cancel returned false: it must come
	recurs   bool            // Recur returned nil
	recurBad bool            // Recur failed, and did not do anything for certain
}

func (o *outcomes) schedule(t testing.TB, tp *Topic, value string, d time.Duration) Position {
	made := &promise{due: time.Now().Add(d)}
	o.made[value] = made
	pos, err := tp.Append(t.Context(), say(value), DeliverAfter(d))
	made.told = err == nil
	o.refused[value] = err != nil && !errors.Is(err, ErrUncertain)
	return pos
}

func (o *outcomes) cancel(t testing.TB, tp *Topic, value string, pos Position) {
	made := o.made[value]
	if !made.told {
		return
	}
	stopped, err := tp.Cancel(t.Context(), pos)
	made.cancelled = err != nil && errors.Is(err, ErrUncertain) || stopped
	made.stopped = stopped && err == nil
	if err == nil && !stopped {
		o.late[value] = true
	}
}

// play schedules, cancels, delivers and recurs, with a restart in the middle, and leaves an engine or none.
func (o *outcomes) play(t testing.TB, disk vfs.FS) {
	a, b := o.topics(t, disk)
	if a == nil || b == nil {
		return
	}
	err := a.Recur(t.Context(), "tick", say("tick"), Every(time.Minute), CatchUp())
	o.recurs, o.recurBad = err == nil, err != nil && !errors.Is(err, ErrUncertain)
	o.schedule(t, a, "a1", time.Second)
	gone := o.schedule(t, a, "a2", 2*time.Second)
	o.schedule(t, b, "b1", time.Second)
	o.schedule(t, b, "b2", 2*time.Minute)
	o.cancel(t, a, "a2", gone)
	due := o.schedule(t, b, "b3", 1500*time.Millisecond)
	time.Sleep(1500 * time.Millisecond)
	o.cancel(t, b, "b3", due)
	o.schedule(t, a, "a3", time.Second)
	far := o.schedule(t, a, "a4", time.Hour)
	time.Sleep(time.Minute)
	o.cancel(t, a, "a4", far)
	_ = o.eng.Close()
	if a, b = o.topics(t, disk); a == nil || b == nil {
		return
	}
	time.Sleep(2 * time.Minute)
	o.schedule(t, b, "b4", time.Second)
	time.Sleep(10 * time.Second)
}

func (o *outcomes) topics(t testing.TB, disk vfs.FS) (a, b *Topic) {
	eng, err := Open("data", On(disk))
	if err != nil {
		return nil, nil
	}
	o.eng = eng
	a, _ = eng.Topic(t.Context(), "a", Partitions(2))
	b, _ = eng.Topic(t.Context(), "b", NoSync())
	return a, b
}

// check holds what came to what was told.
func (o *outcomes) check(t testing.TB, disk vfs.FS) error {
	if err := o.verify(t, disk, "tick"); err != nil {
		return err
	}
	for v, refused := range o.refused {
		if refused && o.seen[v] > 0 {
			return fmt.Errorf("%s came although its append failed for certain", v)
		}
	}
	for v := range o.late {
		if o.seen[v] == 0 {
			return fmt.Errorf("%s did not come, and its cancellation was told to be too late", v)
		}
	}
	switch ticks := o.seen["tick"]; {
	case o.recurBad && ticks > 0:
		return fmt.Errorf("%d ticks, and setting up failed for certain", ticks)
	case o.recurs && ticks < 120:
		return fmt.Errorf("%d ticks", ticks)
	}
	return nil
}

// faultKinds is how a call goes wrong.
func faultKinds() []vfs.Rule {
	return []vfs.Rule{
		{Op: vfs.OpAny, Err: syscall.EIO},
		{Op: vfs.OpAny, Err: syscall.ENOSPC},
		{Op: vfs.OpAny, Err: syscall.EMFILE, Count: 5},
		{Op: vfs.OpWrite, Err: syscall.ENOSPC, Short: 30},
		{Op: vfs.OpWrite, Err: syscall.EIO, Short: 5, Count: 3},
		{Op: vfs.OpSync, Err: syscall.EIO},
		{Op: vfs.OpSync, Err: syscall.EIO, Done: true},
		{Op: vfs.OpAny, Err: syscall.EIO, Count: 40},
	}
}

// TestDelayedMessagesBearFaults lets calls fail, one of each stride in one way after the other; with QUIRE_EVERY_CUT set
// every call in every way.
func TestDelayedMessagesBearFaults(t *testing.T) {
	run := func(t *testing.T, rule *vfs.Rule) (counts [2]int64, err error) {
		synctest.Test(t, func(t *testing.T) {
			disk := vfs.NewFault(vfs.NewMem())
			if rule != nil {
				disk.Add(*rule)
			}
			o := &outcomes{promises: promises{made: map[string]*promise{}}, refused: map[string]bool{}, late: map[string]bool{}}
			o.play(t, disk)
			if rule != nil {
				counts[0] = disk.Count(rule.Op)
			}
			disk.Clear()
			if o.eng != nil {
				_ = o.eng.Close()
			}
			err = o.check(t, disk)
		})
		return counts, err
	}
	states := 0
	for i, rule := range faultKinds() {
		rule.K = 1 << 30
		counts, err := run(t, &rule)
		require.NoError(t, err)
		calls, stride := counts[0], 53
		if rule.Op != vfs.OpAny {
			stride = 11
		}
		if invariant.Enabled {
			stride *= 7
		}
		stride *= thin.Raced(1, 5)
		if os.Getenv("QUIRE_EVERY_CUT") != "" {
			stride = 1
		}
		for k := 1 + i%stride; k <= int(calls); k += stride {
			rule.K = k
			if _, err := run(t, &rule); err != nil {
				t.Errorf("call %d of %d, %v %v count %d: %v", k, calls, rule.Op, rule.Err, rule.Count, err)
			}
			states++
		}
	}
	t.Logf("%d states", states)
	require.Positive(t, states)
}

// A target's sync that fails leaves in the page cache what the disk will never have: it counts as neither delivered nor appended, and what was on
// its way comes, once, from the next engine.
func TestWhatATargetLosesComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewCrash()
		fails := vfs.NewFault(disk)
		e, err := Open("data", On(fails))
		require.NoError(t, err)
		a, b := openTopic(t, e, "a"), openTopic(t, e, "b")
		appendTo(t, partitionOf(t, a, 0), 1)
		appendTo(t, partitionOf(t, b, 0), 1)
		later(t, a, "once", 90*time.Second)
		require.NoError(t, b.Recur(t.Context(), "tick", say("tick"), Every(time.Minute), CatchUp()))
		for _, path := range []string{"a-0/*.log", "b-0/*.log"} {
			fails.Add(vfs.Rule{Op: vfs.OpSync, Path: "data/" + path, Err: syscall.EIO})
		}
		time.Sleep(3*time.Minute + time.Second)
		synctest.Wait()
		after := disk.After(vfs.KeepNone, 0)
		require.ErrorIs(t, e.Close(), ErrFenced)

		e, err = Open("data", On(after))
		require.NoError(t, err)
		defer e.Close()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		require.Equal(t, []string{"v", "once"}, delivered(t, openTopic(t, e, "a")))
		ticks := firings(t, openTopic(t, e, "b"))[1:]
		require.Len(t, ticks, 5)
		for i, at := range ticks[1:] {
			require.Equal(t, time.Minute, at.Sub(ticks[i]))
		}
	})
}

// What waits behind a target that refuses it keeps its record, while thousands of later ones are delivered and given up.
func TestBlockedMessageIsNotTrimmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewFault(vfs.NewMem())
		e := openOn(t, disk)
		a, b := openTopic(t, e, "a", quick()), openTopic(t, e, "b", quick())
		appendTo(t, partitionOf(t, a, 0), 1)
		const delay = 90 * time.Second
		later(t, a, "waits", delay)
		const batches = 20
		list := make([]Record, chunkRecords/(batches-2))
		for range batches {
			_, err := b.AppendBatch(t.Context(), list, DeliverAfter(delay))
			require.NoError(t, err)
		}
		later(t, b, "last", delay+time.Second)
		disk.Add(vfs.Rule{Op: vfs.OpWrite, Path: "data/a-0/*.log", Count: vfs.Forever, Err: syscall.ENOSPC})
		time.Sleep(delay + 2*time.Second)
		synctest.Wait()
		require.Len(t, delivered(t, b), batches*len(list)+1)
		kept := partitionOf(t, openTopic(t, e, DelayedTopic), levelPart(levelOf(delay)))
		require.Zero(t, startOf(t, kept))
		disk.Clear()
		time.Sleep(delayPatience)
		synctest.Wait()
		require.Equal(t, []string{"v", "waits"}, delivered(t, a))
		require.Positive(t, startOf(t, kept), "given up now")
	})
}
