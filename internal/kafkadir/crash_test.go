package kafkadir

import (
	"errors"
	"fmt"
	"testing"

	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
	"github.com/stretchr/testify/require"
)

// A power cut at any call of the first open and of the close behind it changes nothing of what the next open finds.
func TestPowerCutsWhileADirectoryIsTakenOver(t *testing.T) {
	for name, p := range map[string]*Partition{
		"inner segments in doubt":         {Segments: []Segment{{0, batches(0, 5)}, {10, batches(10)}, {11, batches(14)}}},
		"a start above the end":           {Segments: []Segment{{0, batches(0, 5)}, {7, batches(9)}}, Start: 20},
		"offsets that no index tells":     {Segments: []Segment{{0, batches(0, 1, far, 3*far)}}},
		"the same before another segment": {Segments: []Segment{{5, batches(far, 2*far)}, {3 * far, batches(3 * far)}}, Indexes: true},
		"an aborted transaction, no list": {Segments: []Segment{{0, []Batch{{0, 1, Data, 5, 0}, {1, 1, Abort, 5, 0}}}, {2, batches(2)}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disk, want := vfs.NewCrash(), fmt.Sprintf("%+v", p.Content())
			require.NoError(t, p.Write(disk))
			whole := disk.After(vfs.KeepAll, 0)
			require.NoError(t, enter(whole))
			states := 0
			for n := 1; n <= whole.Ops(); n++ {
				run := disk.After(vfs.KeepAll, 0)
				run.CrashAt(n)
				_ = enter(run)
				require.True(t, run.Crashed(), n)
				for seed := range uint64(2) {
					got, err := survived(run.After(vfs.KeepRandom, seed))
					require.NoError(t, err, "call %d, seed %d", n, seed)
					require.Equal(t, want, fmt.Sprintf("%+v", got), "call %d, seed %d", n, seed)
					states++
				}
			}
			require.Greater(t, states, 50)
		})
	}
}

// survived opens an engine and looks.
func survived(disk vfs.FS) (Content, error) {
	e, err := topic.Open(Dir, topic.On(disk))
	if err != nil {
		return Content{}, err
	}
	c, err := look(e)
	return c, errors.Join(err, e.Close())
}
