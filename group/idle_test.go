package group_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
)

// A group whose members have nothing to read has no goroutine of the engine, and nothing to do by time: years pass in one step.
func TestIdleGroupCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fires := 0
		eng, err := topic.Open("", topic.InMemory())
		require.NoError(t, err)
		defer eng.Close()
		fill(t, eng, "a", 2, 1)
		c := join(t, eng, group.OnCommit(func([]group.PartitionOffset, error) { fires++ }))
		var got []string
		ended := runs(t, c, &got)
		time.Sleep(365 * 24 * time.Hour)
		synctest.Wait()
		require.Equal(t, 1, fires)
		require.Zero(t, eng.Metrics().Goroutines)
		require.Len(t, c.Assignment(), 2)
		require.Len(t, committed(t, eng), 2, "what members read does not expire")
		require.NoError(t, c.Shutdown(t.Context()))
		require.NoError(t, <-ended)
	})
}
