package kafkadir

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/require"
)

// batches are single plain records at these offsets.
func batches(offsets ...int64) (list []Batch) {
	for _, offset := range offsets {
		list = append(list, Batch{Offset: offset, Count: 1})
	}
	return list
}

func requireSame(t *testing.T, p *Partition) {
	t.Helper()
	want := fmt.Sprintf("%+v", p.Content())
	for _, way := range Ways() {
		disk := vfs.NewMem()
		require.NoError(t, p.Write(disk))
		got, err := way.Go(disk)
		if text := fmt.Sprintf("%+v", got); err != nil || text != want {
			t.Errorf("%s: %v\ngot  %s\nwant %s\nof   %+v", way.Name, err, text, want, *p)
		}
	}
}

const far = 1<<31 + 1000 // no offset of an index reaches as far

// Every way into a sound directory of Kafka's tells the same of it: what Kafka would.
func TestEveryWayIntoSoundDirectories(t *testing.T) {
	txn := []Segment{{0, []Batch{{0, 1, Data, 5, 0}, {1, 1, Abort, 5, 0}}}, {2, batches(2)}}
	for name, p := range map[string]*Partition{
		"gap before the last batch and behind it": {Segments: []Segment{{0, batches(0, 5)}, {10, batches(10)}}},
		"gap before the first batch":              {Segments: []Segment{{0, batches(3, 4)}, {10, batches(12)}}},
		"gaps in the last segment":                {Segments: []Segment{{0, batches(0, 5, 7)}}},
		"an emptied segment":                      {Segments: []Segment{{0, batches(0)}, {5, nil}, {10, batches(11)}}},
		"an emptied last segment":                 {Segments: []Segment{{0, batches(0, 3)}, {5, nil}}},
		"flushed up to the last segment":          {Segments: []Segment{{0, batches(0, 5)}, {10, batches(10, 14)}}, RecoveryPoint: 10},
		"stopped in order":                        {Segments: []Segment{{0, batches(0, 5)}, {10, batches(10, 14)}}, Clean: true, Indexes: true},
		"aborted, no list":                        {Segments: txn},
		"aborted, no list, stopped in order":      {Segments: txn, Clean: true},
		"aborted, with list":                      {Segments: txn, Clean: true, Aborted: true, Snapshots: true},
		"aborted, flushed, no list":               {Segments: txn, RecoveryPoint: 3},
		"start above the end":                     {Segments: []Segment{{0, batches(0, 5)}, {7, batches(9)}}, Start: 20},
		"start above the end, stopped in order":   {Segments: []Segment{{0, batches(0, 5)}, {7, batches(9)}}, Start: 20, Clean: true},
		"offsets that no index tells":             {Segments: []Segment{{0, batches(0, far, 3*far)}}},
		"the same, stopped in order":              {Segments: []Segment{{0, batches(0, far, far+1, 3*far)}}, Clean: true, Indexes: true, Snapshots: true, Epochs: true},
		"the same before another segment":         {Segments: []Segment{{5, batches(far, 2*far)}, {3 * far, batches(3*far, 3*far+2)}}},
		"the same, emptied up to far behind":      {Segments: []Segment{{5, batches(6)}, {3 * far, batches(3 * far)}}, Clean: true},
		"the same, with an aborted transaction":   {Segments: []Segment{{0, []Batch{{0, 1, Data, 5, 0}, {far, 1, Data, 5, 0}, {2 * far, 1, Abort, 5, 0}, {2*far + 1, 1, Plain, 0, 0}}}}, Aborted: true},
		"start in a gap":                          {Segments: []Segment{{0, batches(0, 5)}, {10, batches(10)}}, Start: 7},
	} {
		t.Run(name, func(t *testing.T) { requireSame(t, p) })
	}
}

func TestEveryWayIntoRandomDirectories(t *testing.T) {
	for seed := range uint64(25) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			requireSame(t, Random(rand.New(rand.NewPCG(seed, 9))))
		})
	}
}
