package topic

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Two days in the life of an engine: a topic with time retention, one under a budget and one that is compacted, under
// random load with quiet hours, restarts in between, within their bounds at every moment.
func TestTwoDays(t *testing.T) {
	seeds := []uint64{1, 2}
	if testing.Short() {
		seeds = seeds[:1]
	}
	for _, seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			d := &days{t: t, rnd: rand.New(rand.NewPCG(seed, 0)), disk: vfs.NewMem(), began: time.Now(), newest: map[string]int{}}
			d.live(48 * time.Hour)
		})
	}
}

type days struct {
	t     *testing.T
	rnd   *rand.Rand
	disk  *vfs.Mem
	e     *Engine
	began time.Time
	// written is the times at which records were appended to each partition of "timed", by offset.
	written [3][]time.Time
	// newest is the size of the newest value of each key of "newest".
	newest map[string]int
	steps  int
}

const (
	daysRetention = 6 * time.Hour
	daysSegment   = time.Hour
	daysBudget    = 300_000
	daysKeys      = 40
	daysValue     = 2000 // most bytes of a value of the compacted topic
	daysRecord    = 100  // more than what a record takes beside its value
)

func (d *days) live(span time.Duration) {
	d.open()
	restart := 7 * time.Hour
	for time.Since(d.began) < span {
		d.step()
		if time.Since(d.began) > restart {
			restart += 13 * time.Hour
			require.NoError(d.t, d.e.Close())
			time.Sleep(time.Duration(d.rnd.IntN(120)) * time.Minute)
			d.open()
			time.Sleep(time.Minute) // retention looks for the first time half a minute after Open
			synctest.Wait()
		}
		d.within()
	}
	time.Sleep(daysRetention + daysSegment)
	synctest.Wait()
	for n := range d.written {
		o, err := d.partition("timed", n).Offsets()
		require.NoError(d.t, err)
		assert.Equal(d.t, o.End, o.Start, "in the end nothing is left")
		assert.EqualValues(d.t, len(d.written[n]), o.End)
	}
	d.keptTheNewest()
	assert.Zero(d.t, d.e.goroutines.size())
	assert.Empty(d.t, listed(d.e))
	m := d.e.Metrics().Total
	d.t.Logf("%d steps, %d segments removed since the last restart", d.steps, m.SegmentsRemoved)
	require.NoError(d.t, d.e.Close())
}

func (d *days) open() {
	d.e = openOn(d.t, d.disk)
	openTopic(d.t, d.e, "timed", Partitions(3), Retention(daysRetention), SegmentAge(daysSegment), SegmentBytes(40_000), SyncEvery(time.Second))
	openTopic(d.t, d.e, "bounded", Partitions(2), Retention(-1), SegmentBytes(20_000), Budget(daysBudget, DropOldest), SyncEvery(time.Second))
	openTopic(d.t, d.e, "newest", CleanupWith(CleanupCompact), SegmentAge(daysSegment), SegmentBytes(20_000), SyncEvery(time.Second))
}

func (d *days) partition(topic string, n int) *Partition {
	return partitionOf(d.t, openTopic(d.t, d.e, topic), int32(n))
}

// step is one moment of load: some records here and there, then a pause, sometimes a long one.
func (d *days) step() {
	d.steps++
	if d.rnd.IntN(3) > 0 {
		n := d.rnd.IntN(len(d.written))
		_, err := d.partition("timed", n).Append(d.t.Context(), Record{Value: make([]byte, d.rnd.IntN(4000))})
		require.NoError(d.t, err)
		d.written[n] = append(d.written[n], time.Now())
	}
	if d.rnd.IntN(3) > 0 {
		_, err := d.partition("bounded", d.rnd.IntN(2)).Append(d.t.Context(), Record{Value: make([]byte, d.rnd.IntN(9000))})
		require.NoError(d.t, err)
	}
	key, size := fmt.Sprint("key ", d.rnd.IntN(daysKeys)), d.rnd.IntN(daysValue)
	_, err := d.partition("newest", 0).Append(d.t.Context(), Record{Key: []byte(key), Value: make([]byte, size)})
	require.NoError(d.t, err)
	d.newest[key] = size
	pause := time.Duration(d.rnd.IntN(120)) * time.Second
	if d.rnd.IntN(200) == 0 {
		pause = time.Duration(d.rnd.IntN(180)) * time.Minute
	}
	time.Sleep(pause)
	synctest.Wait()
}

// keptTheNewest compares the compacted topic with the newest value of each key.
func (d *days) keptTheNewest() {
	sizes := map[string]int{}
	for r, err := range openTopic(d.t, d.e, "newest").Read(d.t.Context(), FromStart(), UntilEnd()) {
		require.NoError(d.t, err)
		sizes[string(r.Key)] = len(r.Value)
	}
	assert.Equal(d.t, d.newest, sizes)
}

// within examines the bounds.
func (d *days) within() {
	var bounded int64
	for n := range 2 {
		bounded += dataBytes(d.t, d.disk, filepath.Join("data", dirName("bounded", int32(n))))
	}
	require.LessOrEqual(d.t, bounded, int64(daysBudget))
	// By default a log is compacted when more than half of it is new, but for the active segment.
	most := int64(2*daysKeys*(daysValue+daysRecord) + 2*20_000)
	require.LessOrEqual(d.t, dataBytes(d.t, d.disk, filepath.Join("data", dirName("newest", 0))), most)
	for n, written := range d.written {
		p := d.partition("timed", n)
		if p.log.Load() == nil {
			continue // looked after by its files; the end of the test sees to it
		}
		start := startOf(d.t, p)
		if start > 0 {
			require.Greater(d.t, time.Since(written[start-1]), daysRetention, "gone too soon")
		}
		if int(start) < len(written) {
			require.LessOrEqual(d.t, time.Since(written[start]), daysRetention+daysSegment+2*defaultRetentionInterval, "kept too long")
		}
	}
}
