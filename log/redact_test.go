package log

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/quirelog/quire/compress"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/require"
)

func TestRedact(t *testing.T) {
	for _, codec := range []compress.Codec{compress.None, compress.Zstd} {
		disk := vfs.NewMem()
		l := openLog(t, disk, &Config{})
		add := func(words ...string) {
			_, err := l.Append(t.Context(), kvBatch(t, record.BuilderConfig{Codec: codec}, kvs(words...)...), AppendOptions{})
			require.NoError(t, err)
		}
		add("a=1", "b=secret", "c=3")
		add("d=secret")
		before := headers(t, l)
		held, err := l.Slice(0, ReadOptions{})
		require.NoError(t, err)
		require.NoError(t, l.Redact(t.Context(), 1, RedactOptions{}))
		require.NoError(t, l.Redact(t.Context(), 3, RedactOptions{Value: []byte("gone")}))
		requireKeyed(t, l, "0:a=1", "1:b=-", "2:c=3", "3:d=gone")
		require.Equal(t, append(before, "segment 4"), headers(t, l), "the active segment was rolled, no offset has changed")
		old, err := held.AppendTo(nil)
		require.NoError(t, err, "a reader that held the old file finishes")
		require.Len(t, old, int(held.Len()))
		held.Release()
		for name, content := range files(t, disk) {
			require.NotContains(t, content, "secret", name)
			require.NotContains(t, name, "deleted")
		}
		r, err := l.Get(new(Finder), 1, High)
		require.NoError(t, err)
		require.EqualValues(t, 1001, r.Timestamp)
		add("e=5")
		require.NoError(t, l.Close())
		l, rep := reopen(t, disk, &Config{})
		require.True(t, rep.Clean)
		requireKeyed(t, l, "0:a=1", "1:b=-", "2:c=3", "3:d=gone", "4:e=5")
		require.NoError(t, l.view.Load().segments[0].Verify())

		var bad *RangeError
		require.ErrorAs(t, l.Redact(t.Context(), 5, RedactOptions{}), &bad)
		if codec == compress.None {
			require.ErrorIs(t, l.Redact(t.Context(), 0, RedactOptions{Value: make([]byte, 2<<20)}), ErrTooLarge)
		}
		requireKeyed(t, l, "0:a=1", "1:b=-", "2:c=3", "3:d=gone", "4:e=5")
		require.NoError(t, l.Close())
		require.ErrorIs(t, l.Redact(t.Context(), 0, RedactOptions{}), ErrClosed)
	}
}

// What a compaction replaced a moment ago, and what a reader of it holds, is no way around a redaction.
func TestRedactAfterCompaction(t *testing.T) {
	var u undertaker
	disk := vfs.NewMem()
	l := u.open(t, disk, &Config{Compacted: true, SegmentBytes: 1 << 20})
	putKV(t, l, "a=secret")
	putKV(t, l, "b=1")
	held, err := l.Slice(0, ReadOptions{})
	require.NoError(t, err)
	putKV(t, l, "b=2")
	roll(t, l)
	compactAt(t, l, time.Now())
	require.NotEmpty(t, marked(t, disk))
	require.NoError(t, l.Redact(t.Context(), 0, RedactOptions{}))
	old, err := held.AppendTo(nil)
	require.NoError(t, err)
	require.Contains(t, string(old), "secret")
	held.Release()
	for name, content := range files(t, disk) {
		require.NotContains(t, content, "secret", name)
	}
	require.NoError(t, l.Close())
}

func TestRedactKeepsTransactions(t *testing.T) {
	x := newKeyedTxns(t, &Config{})
	x.send(1, "a=1", "b=2")
	x.end(1, record.Abort)
	x.send(2, "c=3")
	x.end(2, record.Commit)
	x.send(1, "d=4")
	x.end(1, record.Abort)
	want, err := x.l.AbortedIn(0, x.l.End())
	require.NoError(t, err)
	require.Len(t, want, 2)
	require.NoError(t, x.l.Redact(t.Context(), 1, RedactOptions{}))
	require.ErrorIs(t, x.l.Redact(t.Context(), 2, RedactOptions{}), ErrNoRecord, "a marker")
	x.requireAborted(want...)
	requireKeyed(t, x.l, "0:a=1", "1:b=-", "3:c=3", "5:d=4")
	require.NoError(t, x.l.Close())
}

// Segments that are deleted, files and all, while they are being rewritten are no failure: the pass looks anew. A record that was to be
// redacted is gone then, which is what is said.
func TestRewritingOfWhatIsDeletedMeanwhile(t *testing.T) {
	passes := map[string]func(t *testing.T, l *Log, throttle func(context.Context, int) error) error{
		"redact": func(t *testing.T, l *Log, throttle func(context.Context, int) error) error {
			err := l.Redact(t.Context(), 0, RedactOptions{Throttle: throttle})
			require.ErrorIs(t, err, ErrOffsetOutOfRange)
			return nil
		},
		"compact": func(t *testing.T, l *Log, throttle func(context.Context, int) error) error {
			done, err := l.Compact(t.Context(), CompactOptions{Throttle: throttle})
			require.EqualValues(t, 4, done.Checkpoint)
			return err
		},
	}
	for name, pass := range passes {
		t.Run(name, func(t *testing.T) {
			l := openLog(t, vfs.NewMem(), &Config{Compacted: true})
			for range 2 {
				putKV(t, l, "a=secret", "b="+strings.Repeat("x", ioBytes))
				roll(t, l)
			}
			deleted := 0
			require.NoError(t, pass(t, l, func(context.Context, int) error {
				if deleted++; deleted == 2 || name == "redact" && deleted == 1 {
					_, err := l.DeleteRecords(2)
					require.NoError(t, err)
				}
				return nil
			}))
			require.NotZero(t, deleted)
			require.EqualValues(t, 2, l.Start())
			require.NotContains(t, strings.Join(names(t, l.fs), " "), ".cleaned")
			require.NoError(t, l.Close())
		})
	}
}

func TestCrashDuringRedaction(t *testing.T) {
	t.Parallel()
	story := func(disk *vfs.Crash) (l *Log, err error) {
		k := &keeper{t: t, cfg: &Config{SegmentBytes: 1 << 20, FileDeleteDelay: -1}}
		k.open(disk)
		k.put("a=1", "b=2")
		k.put("c=3")
		k.step(func() error { return k.l.Redact(t.Context(), 1, RedactOptions{}) })
		k.put("d=4")
		k.step(func() error { return k.l.Close() })
		return k.l, k.err
	}
	whole := vfs.NewCrash()
	_, err := story(whole)
	require.NoError(t, err)
	for n := 1; n <= whole.Ops(); n += every(3) {
		disk := vfs.NewCrash()
		disk.CrashAt(n)
		l, err := story(disk)
		require.ErrorIs(t, err, vfs.ErrCrashed)
		if l != nil {
			_ = l.Close()
		}
		eachCut(n, func(policy vfs.Policy, seed uint64) {
			after := disk.After(policy, seed)
			require.NoError(t, after.MkdirAll(testDir))
			l, rep, err := Open(after, testDir, &Config{}, OpenState{})
			require.NoError(t, err)
			require.Empty(t, rep.Damage)
			list, err := keyed(l, High)
			require.NoError(t, err)
			for i, text := range list {
				want := []string{"0:a=1", "1:b=", "2:c=3", "3:d=4"}[i]
				require.True(t, strings.HasPrefix(text, want), fmt.Sprintf("cut %v: %v", vfs.Cut{Op: n, Policy: policy, Seed: seed}, list))
			}
			require.NoError(t, l.Close())
		})
	}
}

// A disk that refuses to unlink the old file is an error, since the old value is still there; a second attempt may help.
func TestRedactTellsWhenTheOldFileStays(t *testing.T) {
	for times, stays := range map[int]bool{1: false, 2: true} {
		disk := vfs.NewFault(vfs.NewMem(), vfs.Rule{Op: vfs.OpRemove, Path: "*.log.deleted", Count: times})
		l := openLog(t, disk, &Config{})
		put(t, l, "secret", "b")
		err := l.Redact(t.Context(), 0, RedactOptions{Value: []byte("x")})
		if stays {
			require.ErrorIs(t, err, syscall.EIO)
		} else {
			require.NoError(t, err)
		}
		names, err := disk.List(testDir)
		require.NoError(t, err)
		require.Equal(t, stays, slices.Contains(names, "00000000000000000000.log.deleted"))
		require.NoError(t, l.Close())
	}
}
