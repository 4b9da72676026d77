package log

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// start <= stable <= high <= end for whoever looks, while all of them move.
func TestOffsetsStayInOrder(t *testing.T) {
	for _, level := range []Durability{Sync, OS} {
		l := openLog(t, vfs.NewMem(), &Config{Replicated: true, SegmentBytes: 600, Durability: level})
		var stop atomic.Bool
		var wg sync.WaitGroup
		loop := func(f func()) {
			wg.Go(func() {
				for !stop.Load() {
					f()
				}
			})
		}
		ctx := context.Background()
		loop(func() {
			_, err := l.Append(ctx, batchOf(t, "v"), AppendOptions{})
			assert.True(t, err == nil || errors.Is(err, ErrUncertain), err)
		})
		loop(func() {
			_, err := l.Append(ctx, batchOf(t, "v", "w"), AppendOptions{NoWait: true})
			assert.NoError(t, err)
		})
		loop(func() { l.AdvanceHigh(l.End() - 2) })
		loop(func() {
			if err := l.Truncate(l.High() + 1); err != nil {
				assert.ErrorIs(t, err, ErrBelowHigh)
			}
		})
		loop(func() {
			start, stable, high, end := l.Start(), l.Stable(), l.High(), l.End()
			assert.True(t, start <= stable && stable <= high && high <= end, "%d %d %d %d", start, stable, high, end)
		})
		for i := range 60 {
			_, err := l.DeleteRecords(l.High())
			require.NoError(t, err)
			require.NoError(t, l.Wait(ctx, int64(10*i), High))
		}
		stop.Store(true)
		wg.Wait()
		require.NoError(t, l.Fenced())
		require.NoError(t, l.Close())
	}
}

// A sync round that ends in the moment a transaction begins never moves stable past it.
func TestStableUnderLoad(t *testing.T) {
	l := openLog(t, vfs.NewMem(), &Config{SegmentBytes: 2000})
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for !stop.Load() {
				put(t, l, "v")
			}
		})
	}
	x := &txnLog{t, l, map[int64]int32{}}
	for i := range 150 {
		a := x.send(7)
		require.LessOrEqual(t, l.Stable(), a.Base)
		x.send(7)
		require.LessOrEqual(t, l.Stable(), a.Base)
		end := x.end(7, record.ControlType(i%2))
		require.Greater(t, l.Stable(), end.Base)
	}
	stop.Store(true)
	wg.Wait()
}

// Hooks are called outside the locks.
func TestHooksMayCallTheLog(t *testing.T) {
	disk := vfs.NewFault(vfs.NewMem())
	var rolled []int64
	var fenced []error
	var l *Log
	hooks := Hooks{
		Rolled: func(base int64) { rolled = append(rolled, base); l.LeaderEpoch() },
		Fenced: func(err error) { fenced = append(fenced, err); l.LeaderEpoch() },
	}
	l, _, err := Open(disk, testDir, &Config{SegmentBytes: 300}, OpenState{Hooks: hooks})
	require.NoError(t, err)
	for range 5 {
		put(t, l, "v")
	}
	require.Equal(t, []int64{4}, rolled)
	for range 3 {
		put(t, l, "v")
	}
	disk.Add(vfs.Rule{Op: vfs.OpSync, Path: "*.log", Err: syscall.ENOSPC})
	_, err = l.Append(t.Context(), batchOf(t, "v"), AppendOptions{Synced: true}) // seals first
	require.ErrorIs(t, err, ErrNoSpace)
	require.NotErrorIs(t, err, ErrUncertain)
	require.Len(t, fenced, 1, "a failed fsync is final, whatever it says")
	_, err = l.Append(t.Context(), batchOf(t, "v"), AppendOptions{Synced: true})
	require.ErrorIs(t, err, ErrFenced)
	require.Error(t, l.Close())
}
