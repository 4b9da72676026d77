package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// batchBytes is the size of the batches that retained logs hold: one record, one batch, one segment.
const batchBytes = 69

// segmented is a log with one segment for each time given, in ms, of one record; the last is active.
func segmented(t testing.TB, disk vfs.FS, cfg *Config, times ...int64) *Log {
	t.Helper()
	cfg.SegmentBytes = 100
	l, _, err := Open(disk, testDir, cfg, OpenState{})
	require.NoError(t, err)
	for _, ts := range times {
		_, err := l.Append(t.Context(), stamped(t, ts), AppendOptions{})
		require.NoError(t, err)
	}
	return l
}

// stamped is a batch of one record with this time, -1 for none.
func stamped(t testing.TB, ts int64) record.Batch {
	t.Helper()
	b := record.NewBuilder(record.BuilderConfig{})
	require.NoError(t, b.Add(&record.Record{Timestamp: ts, Value: []byte("v")}))
	batch, err := b.Seal()
	require.NoError(t, err)
	require.Len(t, batch, batchBytes)
	return bytes.Clone(batch)
}

// bases is the data files of the log in short: their base offsets.
func bases(t testing.TB, disk vfs.FS) string {
	t.Helper()
	var list []string
	for _, name := range names(t, disk) {
		if digits, ok := strings.CutSuffix(name, ".log"); ok {
			list = append(list, fmt.Sprint(strings.TrimLeft(digits[:19], "0"), digits[19:]))
		}
	}
	return strings.Join(list, " ")
}

// firstOf lets as many of the oldest segments go as it says.
type firstOf int

func (n firstOf) Deletable(time.Time, []Facts) int { return int(n) }

func upTo(offset int64, known bool) func() (int64, bool) {
	return func() (int64, bool) { return offset, known }
}

const day = int64(24 * time.Hour / time.Millisecond)

// The rules of kafka-semantics 4, each with the files it leaves. A segment holds one record and 69 bytes; now is
// ten days. "4" in the files is the active segment, "5" the one begun so that it could go.
func TestRetentionRules(t *testing.T) {
	old := []int64{1 * day, 2 * day, 3 * day, 4 * day, 5 * day}
	young := []int64{9 * day, 9 * day, 9 * day, 9 * day, 9 * day}
	tests := []struct {
		name  string
		times []int64
		rules Retention
		files string
		by    RetentionRule
	}{
		{"nothing is asked for", old, Retention{}, "0 1 2 3 4", 0},
		{"older than the age", old, Retention{Age: 7*24*time.Hour - time.Millisecond}, "3 4", ByAge},
		{"exactly the age is not older", old, Retention{Age: 7 * 24 * time.Hour}, "2 3 4", ByAge},
		{"nothing is old enough", young, Retention{Age: 24 * time.Hour}, "0 1 2 3 4", 0},
		{"for ever", old, Retention{Age: 1<<63 - 1}, "0 1 2 3 4", 0},
		{"all of it, the active segment too", old, Retention{Age: 4 * 24 * time.Hour}, "5", ByAge},
		{"no age at all", young, Retention{Age: -1}, "5", ByAge},
		{"a record from the far future pins all behind it", []int64{day, 400 * day, day, day, day}, Retention{Age: time.Hour}, "1 2 3 4", ByAge},
		{"the scan stops at the first that stays", []int64{day, 9 * day, day, day, day}, Retention{Age: 2 * 24 * time.Hour}, "1 2 3 4", ByAge},

		{"less than the bound", young, Retention{Bytes: 5*batchBytes + 1}, "0 1 2 3 4", 0},
		{"exactly the bound", young, Retention{Bytes: 5 * batchBytes}, "0 1 2 3 4", 0},
		{"above it by less than a segment", young, Retention{Bytes: 4*batchBytes + 1}, "0 1 2 3 4", 0},
		{"above it by a segment", young, Retention{Bytes: 4 * batchBytes}, "1 2 3 4", BySize},
		{"above it by more", young, Retention{Bytes: 2*batchBytes + 5}, "2 3 4", BySize},
		{"one byte", young, Retention{Bytes: 1}, "4", BySize},
		{"no bytes at all", young, Retention{Bytes: -1}, "5", BySize},

		{"as many records as there are", young, Retention{Records: 5}, "0 1 2 3 4", 0},
		{"the newest two", young, Retention{Records: 2}, "3 4", ByRecords},
		{"no records", young, Retention{Records: -1}, "5", ByRecords},

		{"acknowledged below an offset", young, Retention{Acknowledged: upTo(3, true)}, "3 4", ByAcknowledgement},
		{"all acknowledged", young, Retention{Acknowledged: upTo(5, true)}, "5", ByAcknowledgement},
		{"not known what is acknowledged", young, Retention{Acknowledged: upTo(5, false)}, "0 1 2 3 4", 0},

		{"the user's own rule", young, Retention{Policy: firstOf(2)}, "2 3 4", ByPolicy},
		{"a rule that says more than there is", young, Retention{Policy: firstOf(99)}, "5", ByPolicy},
		{"a rule that says less than nothing", young, Retention{Policy: firstOf(-3)}, "0 1 2 3 4", 0},
		{"behind what other rules left", young, Retention{Bytes: 4 * batchBytes, Policy: firstOf(1)}, "2 3 4", ByPolicy},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			disk := vfs.NewMem()
			cfg := &Config{}
			l := segmented(t, disk, cfg, c.times...)
			done, err := l.ApplyRetention(t.Context(), time.UnixMilli(10*day), &c.rules)
			require.NoError(t, err)
			assert.Equal(t, c.files, bases(t, disk))
			assert.EqualValues(t, 5, l.End(), "offsets go on where they were")
			start := l.Segments()[0].Base
			assert.Equal(t, start, l.Start())
			assert.Equal(t, start, done.Start)
			assert.EqualValues(t, start, done.Segments)
			assert.EqualValues(t, start*batchBytes, done.Bytes)
			assert.Equal(t, c.files == "5", done.Rolled)
			if done.Segments > 0 {
				assert.Positive(t, done.By[c.by])
			}
			again, err := l.ApplyRetention(t.Context(), time.UnixMilli(10*day), &c.rules)
			require.NoError(t, err)
			if c.rules.Policy == nil {
				assert.Zero(t, again.Segments, "there is nothing more to do")
			}
			start, files := l.Start(), bases(t, disk)
			require.NoError(t, l.Close())
			l, rep := reopen(t, disk, cfg)
			assert.True(t, rep.Clean)
			assert.Equal(t, start, l.Start())
			assert.Equal(t, files, bases(t, disk))
			assert.EqualValues(t, 5, put(t, l, "next").Base)
		})
	}
}

// What the high watermark has not passed stays, whatever its age.
func TestRetentionStopsAtHigh(t *testing.T) {
	disk := vfs.NewMem()
	l := segmented(t, disk, &Config{Replicated: true}, 1, 2, 3, 4)
	l.AdvanceHigh(2)
	_, err := l.ApplyRetention(t.Context(), time.Now(), &Retention{Age: time.Hour, Bytes: -1})
	require.NoError(t, err)
	require.Equal(t, "2 3", bases(t, disk))
	l.AdvanceHigh(3)
	_, err = l.ApplyRetention(t.Context(), time.Now(), &Retention{Age: time.Hour})
	require.NoError(t, err)
	require.Equal(t, "3", bases(t, disk))
	require.NoError(t, l.Close())
}

// An empty log has nothing to lose: the empty active segment is not replaced again and again.
func TestRetentionOfAnEmptyLog(t *testing.T) {
	disk := vfs.NewMem()
	l := openLog(t, disk, &Config{})
	for range 3 {
		done, err := l.ApplyRetention(t.Context(), time.Now(), &Retention{Age: -1, Bytes: -1, Records: -1, Policy: firstOf(9), Acknowledged: upTo(99, true)})
		require.NoError(t, err)
		require.Equal(t, Removed{}, done)
	}
	require.Equal(t, "0", bases(t, disk))
	require.NoError(t, l.Close())
}

// Records without a time are as old as the file.
func TestRetentionByFileTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		l := segmented(t, disk, &Config{PreWrite: -1}, -1, -1)
		time.Sleep(time.Hour)
		_, err := l.Append(t.Context(), stamped(t, -1), AppendOptions{})
		require.NoError(t, err)
		done, err := l.ApplyRetention(t.Context(), time.Now(), &Retention{Age: time.Hour - time.Millisecond})
		require.NoError(t, err)
		require.Equal(t, "2", bases(t, disk))
		require.Equal(t, time.Now().Add(time.Hour), done.Due)
		require.NoError(t, l.Close())
	})
}

// The start was raised by DeleteRecords, the files could not be removed then.
func TestRetentionBelowStart(t *testing.T) {
	disk := vfs.NewFault(vfs.NewMem())
	l := segmented(t, disk, &Config{}, 1, 2, 3, 4)
	disk.Add(vfs.Rule{Op: vfs.OpRename, Path: ".deleted", Err: syscall.EIO})
	_, err := l.DeleteRecords(2)
	require.ErrorIs(t, err, syscall.EIO)
	require.Equal(t, "0 1 2 3", bases(t, disk))
	asked := 0
	done, err := l.ApplyRetention(t.Context(), time.Now(), &Retention{Archive: func(context.Context, *Leaving) error { asked++; return nil }})
	require.NoError(t, err)
	require.Zero(t, asked, "these records are gone already")
	require.Equal(t, 2, done.By[ByStart])
	require.Equal(t, "2 3", bases(t, disk))
	require.NoError(t, l.Close())
}

// The hook sees each segment's bytes while appends go on, and a refusal keeps the segment and all behind it.
func TestRetentionArchives(t *testing.T) {
	disk := vfs.NewMem()
	l := segmented(t, disk, &Config{}, 1, 2, 3, 4)
	refused := errors.New("no tape")
	var saved bytes.Buffer
	var seen []int64
	rules := &Retention{Age: time.Hour, Archive: func(_ context.Context, s *Leaving) error {
		if s.Base == 2 && refused != nil {
			return refused
		}
		require.Equal(t, ByAge, s.Rule)
		seen = append(seen, s.Base)
		n, err := s.WriteTo(&saved)
		require.EqualValues(t, batchBytes, n)
		_, appended := l.Append(t.Context(), stamped(t, time.Now().UnixMilli()), AppendOptions{})
		return errors.Join(err, appended)
	}}
	done, err := l.ApplyRetention(t.Context(), time.Now(), rules)
	require.ErrorIs(t, err, refused)
	require.Equal(t, 2, done.Segments)
	require.EqualValues(t, 2, l.Start())
	require.Equal(t, []int64{0, 1}, seen)
	refused = nil
	_, err = l.ApplyRetention(t.Context(), time.Now(), rules)
	require.NoError(t, err)
	require.Equal(t, []int64{0, 1, 2, 3}, seen)
	require.EqualValues(t, 4, l.Start())
	next := int64(0)
	for b, err := range record.Batches(saved.Bytes()) {
		require.NoError(t, err)
		require.NoError(t, b.Check())
		require.Equal(t, next, b.BaseOffset())
		next++
	}
	require.EqualValues(t, 4, next)
	require.NoError(t, l.Close())
}

func TestRetentionOneAtATime(t *testing.T) {
	l := segmented(t, vfs.NewMem(), &Config{}, 1, 2, 3)
	_, err := l.ApplyRetention(t.Context(), time.Now(), &Retention{Age: time.Hour, Archive: func(ctx context.Context, s *Leaving) error {
		_, err := l.ApplyRetention(ctx, time.Now(), &Retention{})
		require.ErrorIs(t, err, ErrBusy)
		return nil
	}})
	require.NoError(t, err)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	put(t, l, "v")
	_, err = l.ApplyRetention(ended, time.Now(), &Retention{Bytes: -1})
	require.ErrorIs(t, err, context.Canceled)
	require.EqualValues(t, 3, l.Start())
	require.NoError(t, l.Close())
	_, err = l.ApplyRetention(t.Context(), time.Now(), &Retention{})
	require.ErrorIs(t, err, ErrClosed)
}

// A reader in the midst of a segment that goes finishes it, and is told where to go on.
func TestRetentionUnderAReader(t *testing.T) {
	l := segmented(t, vfs.NewMem(), &Config{FileDeleteDelay: -1}, 1, 2, 3)
	s, err := l.Slice(0, ReadOptions{})
	require.NoError(t, err)
	_, err = l.ApplyRetention(t.Context(), time.Now(), &Retention{Bytes: -1})
	require.NoError(t, err)
	n, err := s.WriteTo(io.Discard)
	require.NoError(t, err)
	require.EqualValues(t, batchBytes, n)
	s.Release()
	_, _, err = l.Read(nil, At(0), ReadOptions{})
	var rng *RangeError
	require.ErrorAs(t, err, &rng)
	require.EqualValues(t, 3, rng.Start)
	require.NoError(t, l.Close())
}

// Retention needs no space, but for a new segment when the active one is to go: then the others go.
func TestRetentionOnAFullDisk(t *testing.T) {
	disk := vfs.NewFault(vfs.NewMem())
	l := segmented(t, disk, &Config{}, 1, 2, 3)
	for _, op := range []vfs.Op{vfs.OpCreate, vfs.OpMkdirAll} {
		disk.Add(vfs.Rule{Op: op, Count: vfs.Forever, Err: syscall.ENOSPC})
	}
	done, err := l.ApplyRetention(t.Context(), time.Now(), &Retention{Bytes: -1})
	require.ErrorIs(t, err, ErrNoSpace)
	require.Equal(t, 2, done.Segments)
	require.Equal(t, "2", bases(t, disk))
	require.NoError(t, l.Fenced())
	disk.Clear()
	done, err = l.ApplyRetention(t.Context(), time.Now(), &Retention{Bytes: -1})
	require.NoError(t, err)
	require.Equal(t, 1, done.Segments)
	require.Equal(t, "3", bases(t, disk))
	require.NoError(t, l.Close())
}

// Whatever call of the disk fails, at most the oldest segments are gone, and the next pass or the next open
// finishes.
func TestRetentionUnderFaults(t *testing.T) {
	rules := &Retention{Bytes: -1}
	for k, more := 1, true; more; k++ {
		for _, fault := range []error{syscall.EIO, syscall.ENOSPC, syscall.EMFILE} {
			disk := vfs.NewFault(vfs.NewMem())
			cfg := &Config{}
			l := segmented(t, disk, cfg, 1, 2, 3, 4)
			more = false
			disk.Add(vfs.Rule{K: k, Err: fault, Hook: func(vfs.Op, string) { more = true }})
			done, err := l.ApplyRetention(t.Context(), time.Now(), rules)
			disk.Clear()
			require.Equal(t, l.Start(), done.Start)
			list, readErr := contents(l, End)
			require.NoError(t, readErr)
			require.Len(t, list, int(4-l.Start()))
			if err == nil {
				require.Empty(t, list)
			}
			fenced := l.Fenced() != nil
			_ = l.Close()
			l, rep := reopen(t, disk, cfg)
			require.Empty(t, rep.Damage)
			if !fenced { // else nobody knows whether the start is on disk
				require.Equal(t, done.Start, l.Start())
			}
			require.EqualValues(t, 4, l.End())
			_, err = l.ApplyRetention(t.Context(), time.Now(), rules)
			require.NoError(t, err)
			require.Equal(t, "4", bases(t, disk), "call %d, %v", k, fault)
			require.EqualValues(t, 4, put(t, l, "next").Base)
			require.NoError(t, l.Close())
		}
	}
}

// Segments that somebody else deletes while a pass decides are no failure of the pass, nor its work.
func TestDeletionDuringRetention(t *testing.T) {
	disk := vfs.NewMem()
	require.NoError(t, segmented(t, disk, &Config{}, 1, 2, 3, 4).Close())
	l, _, err := Open(disk, testDir, &Config{}, OpenState{})
	require.NoError(t, err)
	removed, err := l.ApplyRetention(t.Context(), time.Now(), &Retention{Acknowledged: func() (int64, bool) {
		_, err := l.DeleteRecords(2)
		require.NoError(t, err)
		return 3, true
	}})
	require.NoError(t, err)
	require.Equal(t, 1, removed.Segments)
	require.EqualValues(t, 3, removed.Start)
	require.NoError(t, l.Close())
}

// PeekRetention says yes wherever retention would remove something by number of records or by size, and no where the log is far from it.
func TestPeekRetention(t *testing.T) {
	for keep := int64(1); keep <= 9; keep++ {
		for _, r := range []Retention{{Records: keep}, {Bytes: keep * batchBytes}} {
			disk := vfs.NewMem()
			require.NoError(t, segmented(t, disk, &Config{}, 1, 2, 3, 4, 5).Close())
			may, _, err := PeekRetention(disk, testDir, time.UnixMilli(10), &r)
			require.NoError(t, err)
			l := openLog(t, disk, &Config{SegmentBytes: 100})
			done, err := l.ApplyRetention(t.Context(), time.UnixMilli(10), &r)
			require.NoError(t, err)
			require.Equal(t, done.Segments > 0, may, "%+v: %+v", r, done)
			require.Equal(t, keep < 5, may)
			require.NoError(t, l.Close())
		}
	}
}
