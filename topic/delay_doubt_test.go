package topic

import (
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What was delivered just before a power cut is not delivered again, even if its partition cannot be opened for longer than
// it keeps records and knows producers: until it was looked for, retention, compaction and the budget remove nothing.
func TestDeliveredBeforeACutIntoAPartitionThatDoesNotOpen(t *testing.T) {
	for _, opts := range [][]TopicOption{
		{Retention(time.Hour)},
		compacting(),
	} {
		synctest.Test(t, func(t *testing.T) {
			crash := vfs.NewCrash()
			e := openOn(t, crash)
			opts := append(opts, Set(KeyProducerID, "3600000"))
			tp := openTopic(t, e, "mails", opts...)
			_, err := tp.Append(t.Context(), Record{Key: []byte("k"), Value: []byte("delayed")}, DeliverAfter(time.Minute))
			require.NoError(t, err)
			require.NoError(t, tp.Recur(t.Context(), "tick", Record{Key: []byte("k"), Value: []byte("tick")}, Every(time.Minute)))
			time.Sleep(time.Minute)
			synctest.Wait()
			disk := vfs.NewFault(crash.After(vfs.KeepNone, 0)) // without the notes that both were appended
			disk.Add(vfs.Rule{Op: vfs.OpAny, Path: "mails-0", Count: vfs.Forever, Err: syscall.EIO})
			e, err = Open("data", On(disk), DiskBudget(1<<30, DropOldest))
			require.NoError(t, err)
			defer e.Close()
			time.Sleep(4 * time.Hour)
			disk.Clear()
			tp = openTopic(t, e, "mails")
			_ = e.ApplyRetention(t.Context())
			_ = e.Compact(t.Context())
			end, err := partitionOf(t, tp, 0).End()
			require.NoError(t, err)
			require.Equal(t, int64(2), end)
			require.ErrorIs(t, e.ApplyRetention(t.Context()), ErrBusy)
			time.Sleep(delayPatience)
			synctest.Wait()
			seen, ticks := 0, map[time.Time]bool{}
			for rec, err := range tp.Read(t.Context(), UntilEnd()) {
				require.NoError(t, err)
				if string(rec.Value) == "delayed" {
					seen++
					continue
				}
				assert.False(t, ticks[rec.Time], "the tick of %v came twice", rec.Time)
				ticks[rec.Time] = true
			}
			assert.Equal(t, 1, seen)
			_, err = tp.StopRecurring(t.Context(), "tick")
			require.NoError(t, err)
			time.Sleep(4 * time.Hour)
			synctest.Wait()
			assert.Zero(t, partitionOf(t, tp, 0).doubts.Load())
			if tp.Settings().Cleanup == CleanupDelete {
				start, err := partitionOf(t, tp, 0).Start()
				require.NoError(t, err)
				assert.Positive(t, start, "retention goes on")
			}
		})
	}
}
