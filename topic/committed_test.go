package topic

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/record"
)

// txn writes a partition's batches as a transactional producer's client and its coordinator do.
type txn struct {
	t    *testing.T
	part *Partition
	id   int64
	seq  int32
}

func (x *txn) write(values ...string) {
	x.t.Helper()
	b := record.NewBuilder(record.BuilderConfig{HasProducer: true, ProducerID: x.id, BaseSequence: x.seq, Transactional: true})
	for _, v := range values {
		require.NoError(x.t, b.Add(&record.Record{Timestamp: 1, Value: []byte(v)}))
	}
	x.seq += int32(len(values))
	sealed, err := b.Seal()
	require.NoError(x.t, err)
	_, err = x.part.AppendRaw(x.t.Context(), sealed, RawAppend{})
	require.NoError(x.t, err)
}

func (x *txn) end(kind record.ControlType) {
	x.t.Helper()
	_, err := x.part.AppendRaw(x.t.Context(), record.EndTxnMarker(kind, x.id, 0, 1, 1), RawAppend{Coordinator: true})
	require.NoError(x.t, err)
}

func TestReadCommittedLeavesAbortedOut(t *testing.T) {
	e := clientEngine(t)
	top := clientTopic(t, e, "t")
	part, _ := top.Partition(0)
	a, b := &txn{t: t, part: part, id: 100}, &txn{t: t, part: part, id: 200}
	put(t, top, 0, 0, 1, 1)    // 0: plain
	a.write("a-abort-1")       // 1
	b.write("b-commit", "b-2") // 2, 3
	a.write("a-abort-2")       // 4
	a.end(record.Abort)        // 5
	a.write("a-commit")        // 6
	b.end(record.Commit)       // 7
	a.end(record.Commit)       // 8
	b.write("b-abort")         // 9
	b.end(record.Abort)        // 10
	put(t, top, 0, 11, 1, 1)   // 11
	a.write("a-open")          // 12
	put(t, top, 0, 13, 1, 1)   // 13: behind an open transaction
	committed := []int64{0, 2, 3, 6, 11}
	everything := []int64{0, 1, 2, 3, 4, 6, 9, 11, 12, 13}

	for _, ahead := range []int{1, 200, 1 << 20} { // the list is made anew for each run
		got := readAll(t, top, WithIsolation(ReadCommitted), UntilEnd(), ReadAhead(ahead))
		assert.Equal(t, map[int32][]int64{0: committed}, got)
		got = readAll(t, top, UntilEnd(), ReadAhead(ahead))
		assert.Equal(t, map[int32][]int64{0: everything}, got)
	}
	raw, err := part.FetchRaw(t.Context(), 0, Fetch{Isolation: ReadCommitted})
	require.NoError(t, err)
	assert.ElementsMatch(t, []AbortedTransaction{{ProducerID: 100, FirstOffset: 1}, {ProducerID: 200, FirstOffset: 9}}, raw.Aborted)
	raw.Release()
	for from := range int64(13) { // from anywhere
		var want []int64
		for _, o := range committed {
			if o >= from {
				want = append(want, o)
			}
		}
		assert.Equal(t, want, readAll(t, top, WithIsolation(ReadCommitted), FromOffset(from), UntilEnd())[0], "from %d", from)
	}

	c := clientConsumer(t, e, Isolation(ReadCommitted), MaxWait(0), MaxPollRecords(2))
	tp := TopicPartition{"t", 0}
	require.NoError(t, c.Assign(tp))
	var got []int64
	for range 5 {
		got = append(got, offsetsOf(poll1(t, c))...)
	}
	assert.Equal(t, committed, got)
	pos, err := c.Position(tp)
	require.NoError(t, err)
	assert.EqualValues(t, 12, pos, "past what is never returned, up to the open transaction")
	a.end(record.Abort) // 14
	assert.Equal(t, []int64{13}, offsetsOf(poll1(t, c)))
	assert.Empty(t, poll1(t, c))
	pos, err = c.Position(tp)
	require.NoError(t, err)
	assert.EqualValues(t, 15, pos)

	n := 0
	for batch, err := range top.Batches(t.Context(), 0, WithIsolation(ReadCommitted), UntilEnd()) {
		require.NoError(t, err)
		require.False(t, batch.Control())
		n++
	}
	assert.Equal(t, 5, n)
}

// A long stretch with nothing to return does not keep a Poll from what lies behind it.
func TestPollPassesOverAbortedStretches(t *testing.T) {
	e := clientEngine(t)
	top := clientTopic(t, e, "t", NoSync())
	part, _ := top.Partition(0)
	a := &txn{t: t, part: part, id: 7}
	for range 50 {
		a.write(strings.Repeat("x", 1000))
	}
	a.end(record.Abort)
	put(t, top, 0, 51, 1, 1)
	c := clientConsumer(t, e, Isolation(ReadCommitted), MaxWait(0), MaxPartitionBytes(3000))
	require.NoError(t, c.AssignTopics("t"))
	assert.Equal(t, []int64{51}, offsetsOf(poll1(t, c)))
}
