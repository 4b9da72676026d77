package log

import (
	"fmt"
	"testing"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/require"
)

// Damage in a segment without side file costs its batch, and gaps behind it are none.
func TestGapsBehindDamageInKafkasSegments(t *testing.T) {
	for _, st := range []OpenState{{}, {ReadOnly: true}, {Kafka: KafkaState{Clean: true}}, {Kafka: KafkaState{RecoveryPoint: 10}}} {
		t.Run(fmt.Sprintf("%+v", st.Kafka), func(t *testing.T) {
			disk := vfs.NewMem()
			require.NoError(t, disk.MkdirAll(testDir))
			var data []byte
			for _, offset := range []int64{0, 1, 5, 7} {
				data = append(data, at(batchOf(t, "v"), offset, 0)...)
			}
			data = flip(len(data)/4 + 9)(data) // the length of the second
			require.NoError(t, vfs.WriteFile(disk, logFile(0), data))
			require.NoError(t, vfs.WriteFile(disk, logFile(10), at(batchOf(t, "v"), 10, 0)))
			for range 2 {
				l, _, err := Open(disk, testDir, small, st)
				require.NoError(t, err)
				requireSkipping(t, l, []string{"0:v", "5:v", "7:v", "10:v"})
				require.NoError(t, l.Close())
				v := verified(t, disk, small)
				require.Len(t, v.Faults, 1)
				require.Equal(t, []int64{1, 5}, []int64{v.Faults[0].FirstOffset, v.Faults[0].NextOffset})
			}
		})
	}
}
