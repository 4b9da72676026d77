package group_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
)

// What tells of groups and queues survives JSON, with errors as their texts.
func TestReportsSurviveJSON(t *testing.T) {
	why := errors.New("a \"reason\"")
	at := topic.TopicPartition{Topic: "a-b", Partition: 2}
	for _, v := range []any{
		group.PartitionOffset{TopicPartition: at, Offset: 1<<62 + 1, LeaderEpoch: -1, Metadata: "m", Err: why},
		group.PartitionOffset{TopicPartition: at},
		group.PartitionError{TopicPartition: at, Err: why},
		group.PartitionError{},
		group.QueueEntry{State: group.EntryParked, Attempts: 3, Failed: []group.Attempt{{Number: 1, Error: "e"}}, Refusal: why},
		group.PartitionLag{TopicPartition: at, Position: 1, Committed: 2, End: 3, Lag: 4},
		group.GroupLag{PartitionLag: group.PartitionLag{TopicPartition: at, Lag: -1}, MemberID: "m"},
		group.Description{Name: "g", Members: []group.MemberDescription{{MemberID: "m", Session: time.Second, Assigned: []topic.TopicPartition{at}}}},
		group.QueueMetrics{Delivered: 1<<53 + 1}, group.ConsumerMetrics{}, group.RouterMetrics{},
	} {
		encoded, err := json.Marshal(v)
		require.NoError(t, err, "%T", v)
		got := reflect.New(reflect.TypeOf(v))
		require.NoError(t, json.Unmarshal(encoded, got.Interface()), "%T: %s", v, encoded)
		assert.Equal(t, v, got.Elem().Interface(), "%s", encoded)
	}
}

// Errors of the package encode as their texts, whatever they hold.
func TestErrorsAreTextInJSON(t *testing.T) {
	for _, err := range []error{
		&group.AckError{Topic: "t", Offset: 3, Attempt: 1, Ended: topic.ErrClosed},
		&group.RouteError{Source: topic.Position{Topic: "t"}, To: "u", Err: topic.ErrTooLarge},
		&group.PanicError{Value: make(chan int), Stack: []byte("stack")},
	} {
		encoded, fault := json.Marshal(struct{ Err error }{err})
		require.NoError(t, fault, "%T", err)
		var got struct{ Err string }
		require.NoError(t, json.Unmarshal(encoded, &got), "%s", encoded)
		assert.Equal(t, err.Error(), got.Err)
	}
}
