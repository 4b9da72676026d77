package topic

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quirelog/quire/internal/thin"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A listing in many selections, over blocks of which it reads only those that matter again, shows everything once and in
// order, what was stored after it began too if it had not come so far.
func TestListingInManySelections(t *testing.T) {
	for seed := range uint64(thin.Raced(6, 2)) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 5))
			e := openOn(t, vfs.NewMem())
			tp, other := openTopic(t, e, "mails"), openTopic(t, e, "other")
			want := map[string]time.Time{}
			where := map[string]Position{}
			bulk := make([]byte, 50_000)
			add := func(v string, d time.Duration) {
				rec := Record{Key: []byte(v), Value: bulk}
				pos, err := tp.Append(t.Context(), rec, DeliverAfter(d))
				require.NoError(t, err)
				_, err = other.Append(t.Context(), rec, DeliverAfter(d+time.Duration(r.IntN(1000))*time.Second))
				require.NoError(t, err)
				want[v], where[v] = time.Now().Add(d), pos
			}
			for i := range 120 {
				if seed%2 == 0 {
					add(fmt.Sprint(i), time.Duration(i+5)*time.Minute) // in the order of time
				} else {
					add(fmt.Sprint(i), 5*time.Minute+time.Duration(r.Int64N(4*3600))*time.Second)
				}
			}
			li := delayListing{d: &e.delays, topic: tp, most: 3}
			got, last := map[string]bool{}, time.Time{}
			for n := 0; ; n++ {
				sel, err := li.next()
				require.NoError(t, err)
				for _, it := range sel.items {
					s, err := e.delays.scheduled(t.Context(), tp, it.delayKey)
					require.NoError(t, err)
					v := string(s.Key)
					require.Equal(t, want[v], s.Due, v)
					require.False(t, s.Due.Before(last), v)
					require.False(t, got[v], v)
					got[v], last = true, s.Due
				}
				if sel.cut == endOfTime() {
					break
				}
				if li.most = 7; n%3 == 0 { // selections stay small
					add(fmt.Sprint("late ", n), time.Hour+time.Duration(r.Int64N(4*3600))*time.Second)
				}
				gone := fmt.Sprint(r.IntN(120))
				stopped, err := tp.Cancel(t.Context(), where[gone])
				require.NoError(t, err)
				assert.True(t, stopped)
				if !got[gone] {
					delete(want, gone)
				}
			}
			for v, due := range want {
				if !got[v] {
					assert.Contains(t, v, "late")
					assert.False(t, due.After(last), "%s was stored before the listing came so far", v)
				}
			}
			assert.NotEmpty(t, li.levels[levelOf(time.Hour)].blocks)
			assert.Greater(t, len(li.levels[levelOf(2*time.Hour)].blocks), 3)
		})
	}
}

// With very many messages pending, Close and Open take no longer than with few, memory stays bounded, and the soonest comes
// at its time.
func TestVeryManyPendingMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		batches, each := 105, 1000
		if testing.Short() {
			batches = 25
		}
		disk := vfs.NewMem()
		e := openOn(t, disk, DelayedInMemory(10_000))
		tp := openTopic(t, e, "mails", Partitions(2), quick(), Retention(-1))
		recs := make([]Record, each)
		for i := range recs {
			recs[i] = say("x")
		}
		order := rand.New(rand.NewPCG(1, 5)).Perm(batches)
		for _, i := range order {
			_, err := tp.AppendBatch(t.Context(), recs, DeliverAfter(24*time.Hour+time.Duration(i)*time.Minute))
			require.NoError(t, err)
		}
		began := time.Now()
		require.NoError(t, e.Close())
		e = openOn(t, disk, DelayedInMemory(10_000))
		tp = openTopic(t, e, "mails")
		synctest.Wait()
		assert.Equal(t, began, time.Now(), "nothing waited for anything")
		m := e.Metrics().Delayed
		assert.Positive(t, m.InMemory)
		assert.LessOrEqual(t, m.InMemory, 20_000)
		n := 0
		var dues []time.Time
		for s, err := range tp.Scheduled(t.Context()) {
			require.NoError(t, err)
			if n++; n%each == 1 {
				dues = append(dues, s.Due)
			}
		}
		assert.Equal(t, batches*each, n)
		assert.True(t, slices.IsSortedFunc(dues, time.Time.Compare))
		time.Sleep(time.Until(dues[0]) - time.Millisecond)
		synctest.Wait()
		assert.Zero(t, e.Metrics().Delayed.Delivered)
		time.Sleep(time.Millisecond)
		synctest.Wait()
		assert.Equal(t, int64(each), e.Metrics().Delayed.Delivered)
		time.Sleep(10 * time.Minute)
		require.NoError(t, e.Close(), "amid deliveries")
		e = openOn(t, disk, DelayedInMemory(10_000))
		tp = openTopic(t, e, "mails")
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		came := int64(0)
		for i := range int32(2) {
			end, err := partitionOf(t, tp, i).End()
			require.NoError(t, err)
			came += end
		}
		assert.Equal(t, int64(batches*each), came)
	})
}
