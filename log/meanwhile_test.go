package log

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/require"
)

// A log that changes between any two looks at its files answers a reader with what it held before, what it holds now, or that the
// offset is gone: no segment is told as missing that was removed or replaced while the reader stood in it.
func TestReadersWhileSegmentsLeave(t *testing.T) {
	cfg := &Config{Compacted: true, SegmentBytes: 700, IndexInterval: 100, PreWrite: -1, FileDeleteDelay: -1}
	files := compactedDisk(t, cfg)
	readers := map[string]func(l *Log, offset int64) error{
		"Read": func(l *Log, offset int64) error {
			run, _, err := l.Read(nil, At(offset), ReadOptions{Check: true})
			return showsFrom(l, run, offset, err)
		},
		"Slice": func(l *Log, offset int64) error {
			s, err := l.Slice(offset, ReadOptions{})
			if err != nil {
				return err
			}
			defer s.Release()
			start, high := l.Start(), l.High()
			if s.Len() > 0 && (offset < start || offset >= high) {
				err = fmt.Errorf("%w: %d bytes for %d of [%d, %d)", errShown, s.Len(), offset, start, high)
			}
			return err
		},
		"Get":                func(l *Log, offset int64) error { _, err := l.Get(new(Finder), offset, High); return err },
		"AbortedIn":          func(l *Log, offset int64) error { _, err := l.AbortedIn(offset, l.High()); return err },
		"OffsetFor":          func(l *Log, offset int64) error { _, _, err := l.OffsetFor(offset, High); return err },
		"OffsetFor(TimeMax)": func(l *Log, _ int64) error { _, _, err := l.OffsetFor(TimeMax, High); return err },
		"largestBelow":       func(l *Log, _ int64) error { _, _, err := l.largestBelow(l.High()); return err },
		"Cleanable":          func(l *Log, _ int64) error { _, err := l.Cleanable(cleanTime); return err },
	}
	probe := openLog(t, copyOf(t, files), cfg)
	segments := probe.Segments()
	require.NoError(t, probe.Close())
	last := 4
	if testing.Short() {
		last = 2
	}
	for change, do := range changesOfSegments() {
		for reader, read := range readers {
			t.Run(change+"/"+reader, func(t *testing.T) {
				for i, s := range segments[1:last] {
					for _, offset := range []int64{s.Base, s.Base + 1, s.Next} {
						for k := 1; readerMeets(t, copyOf(t, files), cfg, offset, k, func(l *Log) error { return do(l, segments[i+3].Base) }, read); k++ {
						}
					}
				}
			})
		}
	}
}

// readerMeets has a change happen at the k-th look of a reader at a data file; false if it does not look as often.
func readerMeets(t *testing.T, mem *vfs.Mem, cfg *Config, offset int64, k int, change func(*Log) error, read func(*Log, int64) error) bool {
	disk := vfs.NewFault(mem)
	l := openLog(t, disk, cfg)
	require.NoError(t, slicedInOrder(l)) // what is read once, under a lock
	reached, changed := false, false
	disk.Add(vfs.Rule{K: k, Path: "*.log", Hook: func(vfs.Op, string) {
		reached = true
		changed = aside(t, func() error { return change(l) })
	}})
	err := read(l, offset)
	disk.Clear()
	hint := fmt.Sprintf("offset %d, call %d, start %d: %v", offset, k, l.Start(), err)
	var gone *RangeError
	switch {
	case errors.As(err, &gone):
		require.True(t, gone.Offset < l.Start() || gone.Offset > l.High(), hint)
	case changed && errors.Is(err, ErrNoRecord):
		require.True(t, l.Start() <= offset && offset < l.High(), hint)
	case changed:
		require.NoError(t, err, hint)
	}
	require.NoError(t, l.Close())
	return reached
}

// changesOfSegments take segments of a compacted log out of the view: those in front of an offset, or all.
func changesOfSegments() map[string]func(l *Log, behind int64) error {
	return map[string]func(l *Log, behind int64) error{
		"deleted":     func(l *Log, behind int64) error { _, err := l.DeleteRecords(behind); return err },
		"all deleted": func(l *Log, _ int64) error { _, err := l.DeleteRecords(-1); return err },
		"retained": func(l *Log, behind int64) error {
			_, err := l.ApplyRetention(context.Background(), cleanTime, &Retention{Records: l.High() - behind})
			return err
		},
		"compacted": func(l *Log, _ int64) error {
			if err := l.Configure(&Config{Compacted: true, PreWrite: -1, FileDeleteDelay: -1}); err != nil {
				return err
			}
			_, err := l.Compact(context.Background(), CompactOptions{Now: cleanTime, Wait: true})
			return err
		},
		"restarted below": func(l *Log, _ int64) error { return l.TruncateFully(1) },
		"restarted above": func(l *Log, _ int64) error { return l.TruncateFully(l.End() + 100) },
	}
}

// A reader that stands in a segment finds its way on whatever became of the segment: nothing is missing between it and what does not follow it.
func TestOnwardFromASegmentThatHasLeft(t *testing.T) {
	cfg := &Config{Compacted: true, SegmentBytes: 700, IndexInterval: 100, PreWrite: -1, FileDeleteDelay: -1}
	files := compactedDisk(t, cfg)
	for change, do := range changesOfSegments() {
		t.Run(change, func(t *testing.T) {
			l := openLog(t, copyOf(t, files), cfg)
			segments := l.Segments()
			for i := range segments[:len(segments)-2] {
				l := openLog(t, copyOf(t, files), cfg)
				s, last, err := l.pinned(segments[i].Next)
				require.NoError(t, err)
				require.False(t, last)
				require.Equal(t, segments[i].Base, s.Base())
				limit := l.High()
				require.NoError(t, do(l, segments[i+2].Base))
				follower, _, err := l.onward(s, segments[i].Next, limit)
				require.NoError(t, err)
				if follower != nil {
					require.False(t, follower.Retired())
					follower.Unpin()
				}
				s.Unpin()
				require.NoError(t, l.Close())
				_, _, err = l.onward(s, segments[i].Next, limit)
				require.ErrorIs(t, err, ErrClosed)
			}
		})
	}
}

// aside runs f on a goroutine of its own and waits for it, unless the caller holds what it needs: false.
func aside(t *testing.T, f func() error) bool {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		require.NoError(t, err)
		return true
	case <-time.After(10 * time.Millisecond):
	}
	return false
}

// errShown: a reader was shown what the log does not hold.
var errShown = errors.New("shown")

func showsFrom(l *Log, run []byte, offset int64, err error) error {
	if err != nil || len(run) == 0 {
		return err
	}
	b, err := record.First(run)
	if err == nil && (b.NextOffset() <= offset || offset < l.Start() || b.NextOffset() > l.High()) {
		err = fmt.Errorf("%w: [%d, %d) for %d of [%d, %d)", errShown, b.BaseOffset(), b.NextOffset(), offset, l.Start(), l.High())
	}
	return err
}

// What a pass of retention decided counts for the records that it saw, and not for those that came instead.
func TestRetentionBesideARestart(t *testing.T) {
	l := openLog(t, vfs.NewMem(), &Config{SegmentBytes: 200})
	for i := range 20 {
		put(t, l, fmt.Sprint(i), "and more")
	}
	require.Greater(t, len(l.Segments()), 4)
	done, err := l.ApplyRetention(t.Context(), time.Now(), &Retention{Records: 2, Archive: func(context.Context, *Leaving) error {
		if l.Start() > 0 {
			return nil
		}
		require.NoError(t, l.TruncateFully(5))
		put(t, l, "new")
		return nil
	}})
	require.NoError(t, err)
	require.Zero(t, done.Segments)
	require.Equal(t, [3]int64{5, 6, 6}, [3]int64{l.Start(), l.High(), l.End()})
	list, err := contents(l, High)
	require.NoError(t, err)
	require.Equal(t, []string{"5:new"}, list)
}

// A segment that is sealed between two looks of Verify is shorter at the second: zeros behind its end are no tail, and no error of the disk.
func TestVerifyWhileASegmentIsSealed(t *testing.T) {
	for k, reached := 1, true; reached; k++ {
		disk := vfs.NewFault(vfs.NewMem())
		l := openLog(t, disk, &Config{PreWrite: 64 << 10})
		for i := range 5 {
			put(t, l, fmt.Sprint(i))
		}
		reached = false
		disk.Add(vfs.Rule{Op: vfs.OpRead, Path: "*.log", K: k, Hook: func(vfs.Op, string) {
			reached = true
			roll(t, l)
		}})
		v, err := Verify(disk, testDir, l.cfg.Load(), VerifyOptions{})
		disk.Clear()
		require.NoError(t, err, "look %d", k)
		require.Empty(t, v.Faults, "look %d", k)
		require.NoError(t, l.Close())
	}
}

// A reader that is told of a missing segment holds on to nothing.
func TestHoleLeavesNothingPinned(t *testing.T) {
	l := openLog(t, vfs.NewMem(), &Config{SegmentBytes: 300, PreWrite: -1})
	for i := range 20 {
		_, err := l.Append(t.Context(), batchOf(t, fmt.Sprint("v", i)), AppendOptions{})
		require.NoError(t, err)
	}
	whole := l.view.Load()
	require.Greater(t, len(whole.segments), 3)
	s, behind := whole.segments[0], whole.segments[2]
	require.True(t, s.Pin())
	l.view.Store(&view{slices.Delete(slices.Clone(whole.segments), 1, 2)})
	_, _, err := l.onward(s, s.Next(), l.High())
	require.ErrorIs(t, err, ErrCorrupt)
	s.Unpin()
	l.view.Store(whole)
	free := false
	behind.Retire(func() { free = true })
	require.True(t, free)
	require.NoError(t, l.Close())
}
