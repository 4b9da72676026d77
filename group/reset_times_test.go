package group_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
)

// ResetOffsets goes by the conversion of times that all other calls use: what lies beyond the milliseconds of an int64 is after every
// record, what lies before 1970 is before every record.
func TestResetToTimesBeyondMilliseconds(t *testing.T) {
	eng, err := topic.Open("", topic.InMemory())
	require.NoError(t, err)
	defer eng.Close()
	top, err := eng.Topic(t.Context(), "t")
	require.NoError(t, err)
	for i := range 3 {
		_, err := top.Append(t.Context(), topic.Record{Time: time.UnixMilli(int64(i))})
		require.NoError(t, err)
	}
	coord, err := group.NewCoordinator(eng, group.Config{})
	require.NoError(t, err)
	for at, want := range map[time.Time]int64{
		time.Unix(1<<62, 0): 3, time.Unix(1<<63/1000+1, 0): 3, time.Date(292_278_995, 1, 1, 0, 0, 0, 0, time.UTC): 3,
		time.Date(292_278_993, 1, 1, 0, 0, 0, 0, time.UTC): 3,
		time.Unix(-1<<62, 0): 0, time.Unix(-1<<63, 0): 0, time.UnixMilli(-1): 0, time.UnixMilli(-3): 0,
		time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC): 0, time.UnixMilli(0): 0, time.UnixMilli(1): 1, time.UnixMilli(2): 2, time.UnixMilli(3): 3,
	} {
		list, err := coord.ResetOffsets(t.Context(), "g", group.ToTime(at), topic.TopicPartition{Topic: "t"})
		require.NoError(t, err, at.Unix())
		require.Len(t, list, 1)
		assert.Equal(t, want, list[0].Offset, "%d s", at.Unix())
	}
}

// An entry of a queue encodes as JSON with its error as text, and comes back.
func TestQueueEntryAsJSON(t *testing.T) {
	e := group.QueueEntry{Record: topic.Record{Topic: "t", Offset: 1<<62 + 1}, State: group.EntryParked, Attempts: 3, Refusal: errors.New("too large")}
	encoded, err := json.Marshal(e)
	require.NoError(t, err)
	assert.Contains(t, string(encoded), `"Refusal":"too large"`)
	var got group.QueueEntry
	require.NoError(t, json.Unmarshal(encoded, &got))
	assert.Equal(t, e, got)
	encoded, err = json.Marshal(group.QueueEntry{})
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(encoded, &got))
	assert.NoError(t, got.Refusal)
}
