package topic

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/vfs"
)

// A message for which the disk budget has no room waits without holding up those that are due.
func TestDelayedMessagesWaitForRoomAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openOn(t, vfs.NewMem(), DiskBudget(200_000, BlockAppends), Defaults(SegmentBytes(20_000)))
		defer e.Close()
		tp := openTopic(t, e, "mails", Retention(-1))
		bulk := openTopic(t, e, "bulk", Retention(-1))
		_, err := tp.Append(t.Context(), Record{Value: []byte("soon")}, DeliverAfter(time.Minute))
		require.NoError(t, err)
		p := partitionOf(t, bulk, 0)
		for e.budget.used.Load()+20_000 < 195_000 {
			_, err := p.Append(t.Context(), Record{Value: make([]byte, 1000)})
			require.NoError(t, err)
		}
		stored := make(chan error)
		go func() {
			_, err := tp.Append(t.Context(), Record{Value: make([]byte, 30_000)}, DeliverAfter(time.Hour))
			stored <- err
		}()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		r, err := partitionOf(t, tp, 0).Get(t.Context(), 0)
		require.NoError(t, err, "delivered although another message waits for room")
		require.Equal(t, "soon", string(r.Value))
		end, err := p.End()
		require.NoError(t, err)
		_, err = p.DeleteRecords(t.Context(), end)
		require.NoError(t, err)
		require.NoError(t, <-stored)
	})
}
