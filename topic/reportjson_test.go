package topic

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Reports encode as JSON, errors as their texts, and come back with the same numbers and texts.
func TestReportsSurviveJSON(t *testing.T) {
	why := errors.New("a \"reason\"")
	fault := Fault{Topic: "a-b", Partition: 2, Kind: "data", Path: "p", Pos: 1, End: 2, FirstOffset: 1<<62 + 1, NextOffset: 1<<62 + 2, Err: why}
	for _, v := range []any{
		fault,
		Fault{Partition: -1, FirstOffset: -1, NextOffset: -1},
		VerifyReport{Partitions: 1, Records: 1<<53 + 1, Faults: []Fault{fault}, Notes: []Fault{fault}},
		RepairReport{Found: []Fault{fault}, Lost: []Fault{fault}, SavedAs: []string{"s"}, Cut: 3},
		BackupReport{Partitions: 2, Faults: []Fault{fault}, Ends: map[TopicPartition]int64{{"a-b", 2}: 1<<62 + 1, {"c", 0}: 0}},
		PartitionFault{"t", 1, why}, DamageFacts{"t", 1, why}, DamageFacts{},
		LoopFacts{What: HandlerPanicked, Position: Position{"t", 1, 5, -1}, Err: why, Stack: []byte("s"), Took: time.Second},
		OpenedFacts{Topic: "t", Start: 3, End: 1<<62 + 1, Damage: []error{why, why}, Lost: &LossError{First: 1, Next: 2}, Repaired: []error{why}},
		CompactedFacts{}, RemovedFacts{}, ScrubFacts{}, TopicFacts{Topic: "t"}, SegmentFacts{"t", 1, 7}, Offsets{1, 2, 3, 4, 5}, Metrics{}, TopicMetrics{},
	} {
		encoded, err := json.Marshal(v)
		require.NoError(t, err, "%T", v)
		got := reflect.New(reflect.TypeOf(v))
		require.NoError(t, json.Unmarshal(encoded, got.Interface()), "%T: %s", v, encoded)
		again, err := json.Marshal(got.Interface())
		require.NoError(t, err)
		assert.JSONEq(t, string(encoded), string(again))
		assert.Equal(t, v, got.Elem().Interface(), "%s", encoded)
	}
	encoded, err := json.Marshal(fault)
	require.NoError(t, err)
	assert.Contains(t, string(encoded), `"Err":"a \"reason\""`)
	assert.ErrorIs(t, json.Unmarshal([]byte(`{"Ends":{"nothing":1}}`), new(BackupReport)), ErrInvalid)
}

// The report of a real backup tells as JSON where each partition's copy ends.
func TestBackupReportAsJSON(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	_, err := openTopic(t, e, "orders-eu", Partitions(2)).AppendBatch(t.Context(), []Record{{}, {}, {}}, AppendTo(1))
	require.NoError(t, err)
	report, err := e.Backup(t.Context(), filepath.Join("copies", "one"), BackupOptions{})
	require.NoError(t, err)
	encoded, err := json.Marshal(report)
	require.NoError(t, err)
	assert.Contains(t, string(encoded), `"Ends":{"orders-eu-1":3}`)
	var got BackupReport
	require.NoError(t, json.Unmarshal(encoded, &got))
	assert.Equal(t, report.Ends, got.Ends)
}
