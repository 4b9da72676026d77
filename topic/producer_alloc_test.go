package topic

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/internal/invariant"
)

// Send allocates nothing per record: what is counted here is batches being opened and the memory disk growing.
func TestSendAllocatesNothing(t *testing.T) {
	if invariant.Enabled {
		t.Skip("counts of allocations mean nothing with assertions and the race detector")
	}
	e := clientEngine(t)
	clientTopic(t, e, "t", Partitions(4), NoSync())
	for name, rec := range map[string]Record{
		"loose":   {Value: make([]byte, 100)},
		"keyed":   {Key: []byte("a key"), Value: make([]byte, 100), Time: time.UnixMilli(1)},
		"headers": {Value: make([]byte, 100), Headers: []Header{{Key: "h", Value: []byte("v")}}},
	} {
		p := clientProducer(t, e)
		cb := func(Position, error) {}
		send := func() {
			if err := p.Send(context.Background(), "t", rec, cb); err != nil {
				t.Error(err)
			}
		}
		for range 50_000 { // until batches are used again
			send()
		}
		require.NoError(t, p.Flush(t.Context()))
		assert.Zero(t, testing.AllocsPerRun(20_000, send), name)
		require.NoError(t, p.Close())
	}
}
