package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// exam is the shape every system is examined with: several batches, more than one pass over the prepared ones.
var exam = shape{total: 20 * 10 * 100, records: 10, size: 100}

func eachSystem(t *testing.T, level Level, f func(t *testing.T, sys System)) {
	for _, sys := range allSystems() {
		if _, none := sys.(channel); none || !takes(sys, &workload{group: groupDurable, level: level}) {
			continue
		}
		t.Run(sys.Name()+" "+level.String(), func(t *testing.T) { f(t, sys) })
	}
}

func TestSystemsKeepWhatTheyAcknowledge(t *testing.T) {
	for _, level := range []Level{OS, Interval, Durable} {
		eachSystem(t, level, func(t *testing.T, sys System) {
			dir := t.TempDir()
			for round := range int64(2) {
				st, err := sys.Open(dir, Options{Level: level, Expect: 1 << 20})
				require.NoError(t, err)
				n, err := st.(Counted).Count()
				require.NoError(t, err)
				assert.Equal(t, round*exam.count(), n)
				require.NoError(t, fill(st.(Appender), exam))
				if y, ok := st.(Syncer); ok {
					require.NoError(t, y.Sync())
				}
				require.NoError(t, st.Close())
			}
		})
	}
}

func TestSystemsReadTheSame(t *testing.T) {
	var want Tally
	all := exam.values()
	for i := range exam.count() {
		want.add(all[i%int64(len(all))])
	}
	eachSystem(t, Durable, func(t *testing.T, sys System) {
		dir := t.TempDir()
		st, err := sys.Open(dir, Options{Expect: 1 << 20})
		require.NoError(t, err)
		require.NoError(t, fill(st.(Appender), exam))
		require.NoError(t, st.Close())
		st, err = sys.Open(dir, Options{})
		require.NoError(t, err)
		for _, owned := range []bool{false, true} {
			cur, err := st.(Scanner).Scan(owned)
			if errors.Is(err, errors.ErrUnsupported) {
				continue
			}
			require.NoError(t, err)
			got, err := cur.Read(time.Now().Add(time.Minute))
			require.NoError(t, err)
			assert.Equal(t, want, got)
			require.NoError(t, cur.Close())
		}
		for off := range exam.count() {
			v, err := st.(Getter).Get(off)
			require.NoError(t, err)
			assert.Equal(t, all[off%int64(len(all))], v)
		}
		require.NoError(t, st.Close())
	})
}

func TestSystemsFindTimes(t *testing.T) {
	eachSystem(t, OS, func(t *testing.T, sys System) {
		st, err := sys.Open(t.TempDir(), Options{})
		require.NoError(t, err)
		defer func() { assert.NoError(t, st.Close()) }()
		f, ok := st.(Finder)
		if !ok {
			return
		}
		before := time.Now().UnixMilli()
		require.NoError(t, fill(st.(Appender), exam))
		off, err := f.Find(before)
		require.NoError(t, err)
		assert.Zero(t, off)
		off, err = f.Find(time.Now().Add(time.Hour).UnixMilli())
		require.NoError(t, err)
		assert.Equal(t, exam.count(), off, "later than everything")
	})
}

func TestSystemsHandOver(t *testing.T) {
	for _, sys := range allSystems() {
		if !takes(sys, &workload{group: groupTail}) {
			continue
		}
		t.Run(sys.Name(), func(t *testing.T) {
			for _, every := range []time.Duration{0, 50 * time.Microsecond} {
				e := &env{tier: tier{slice: time.Millisecond, paced: 5 * time.Millisecond}, dir: t.TempDir(), data: map[string]filled{}}
				tr, err := tailShape{every, 100}.open(e, sys)
				require.NoError(t, err)
				s, err := tr.sample()
				require.NoError(t, err)
				assert.Positive(t, s.rate())
				assert.Positive(t, s.p50)
				require.NoError(t, tr.close())
			}
		})
	}
}

func TestRawRefusesDamage(t *testing.T) {
	dir := t.TempDir()
	st, err := raw{}.Open(dir, Options{})
	require.NoError(t, err)
	require.NoError(t, fill(st.(Appender), exam))
	l := st.(*rawLog)
	_, err = l.f.WriteAt([]byte{l.buf[40] ^ 1}, 40)
	require.NoError(t, err)
	_, err = l.Get(1)
	assert.ErrorIs(t, err, errRawDamage)
	cur, err := l.Scan(false)
	require.NoError(t, err)
	_, err = cur.Read(time.Now().Add(time.Second))
	assert.ErrorIs(t, err, errRawDamage)
	require.NoError(t, st.Close())
	_, err = raw{}.Open(dir, Options{})
	assert.ErrorIs(t, err, errRawDamage)
}

func TestTailEndsWithItsContext(t *testing.T) {
	for _, sys := range allSystems() {
		if !takes(sys, &workload{group: groupTail}) {
			continue
		}
		st, err := sys.Open(t.TempDir(), Options{})
		require.NoError(t, err)
		tail, err := st.(Tailer).Tail()
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		assert.ErrorIs(t, tail.Next(ctx, func([]byte) {}), context.Canceled, sys.Name())
		require.NoError(t, tail.Close())
		require.NoError(t, st.Close())
	}
}
