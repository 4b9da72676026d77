package log

import (
	"math"
	"slices"
	"testing"

	"github.com/quirelog/quire/internal/invariant"
	"github.com/quirelog/quire/log/record"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sent describes a batch of a producer in a test: n records from sequence seq at
// offset base, the first with timestamp 1000.
type sent struct {
	id    int64
	epoch int16
	seq   int32
	n     int
	base  int64
	txn   bool
}

func (s sent) batch(t testing.TB) record.Batch {
	t.Helper()
	b := record.NewBuilder(record.BuilderConfig{
		HasProducer: true, ProducerID: s.id, ProducerEpoch: s.epoch, BaseSequence: max(s.seq, 0), Transactional: s.txn,
	})
	for i := range s.n {
		require.NoError(t, b.Add(&record.Record{Timestamp: 1000 + int64(i), Value: []byte("v")}))
	}
	sealed, err := b.Seal()
	require.NoError(t, err)
	batch := slices.Clone(sealed)
	batch.SetProducer(s.id, s.epoch, s.seq)
	batch.SetBaseOffset(s.base)
	return batch
}

func marker(kind record.ControlType, id int64, epoch int16, coordinator int32, offset int64) record.Batch {
	b := record.EndTxnMarker(kind, id, epoch, coordinator, 2000)
	b.SetBaseOffset(offset)
	return b
}

// applied is a state after these batches, all at time 5000.
func applied(t testing.TB, batches ...record.Batch) *producers {
	t.Helper()
	p := &producers{}
	for _, b := range batches {
		_, _, err := p.apply(b, 5000)
		require.NoError(t, err)
	}
	return p
}

// The rules of kafka-semantics 6.1, one row per case.
func TestCheckClientBatch(t *testing.T) {
	// Producer 9, epoch 4, batches of 3: sequences 0-2 at offset 10, 3-5 at 13 ... 15-17 at 25 (six of them).
	var six []record.Batch
	for i := range 6 {
		six = append(six, sent{9, 4, int32(3 * i), 3, int64(10 + 3*i), false}.batch(t))
	}
	raised := append(slices.Clone(six), marker(record.Commit, 9, 5, 1, 28))
	open := []record.Batch{sent{9, 4, 0, 3, 10, true}.batch(t)}
	wrapping := []record.Batch{sent{9, 4, math.MaxInt32 - 1, 2, 10, false}.batch(t)}
	across := []record.Batch{sent{9, 4, math.MaxInt32 - 1, 4, 10, false}.batch(t)}
	byCoordinator := []record.Batch{sent{9, 4, noSequence, 2, 10, true}.batch(t)}

	seqError := func(epoch int16, want, got int32) error { return &SequenceError{9, epoch, want, got} }
	for _, tc := range []struct {
		name  string
		prior []record.Batch
		give  sent
		dup   *duplicate
		err   error
	}{
		{"no producer", six, sent{id: -1, epoch: -1, seq: -1, n: 1}, nil, nil},
		{"unknown producer begins anywhere", six, sent{8, 3, 77, 2, 0, false}, nil, nil},
		{"unknown producer with negative epoch", six, sent{8, -1, 0, 2, 0, false}, nil, &ProducerFencedError{8, -1, -1}},

		{"rule 1: duplicate of the newest", six, sent{9, 4, 15, 3, 0, false}, &duplicate{25, 27, 1002}, nil},
		{"rule 1: duplicate of the fifth", six, sent{9, 4, 3, 3, 0, false}, &duplicate{13, 15, 1002}, nil},
		{"rule 1: the sixth is forgotten", six, sent{9, 4, 0, 3, 0, false}, nil, seqError(4, 18, 0)},
		{"rule 1: shorter overlap", six, sent{9, 4, 15, 2, 0, false}, nil, seqError(4, 18, 15)},
		{"rule 1: longer overlap", six, sent{9, 4, 15, 4, 0, false}, nil, seqError(4, 18, 15)},
		{"rule 1: two batches as one", six, sent{9, 4, 12, 6, 0, false}, nil, seqError(4, 18, 12)},
		{"rule 1: same sequences, newer epoch", six, sent{9, 5, 15, 3, 0, false}, nil, seqError(5, 0, 15)},
		{"rule 1: duplicate of a transactional batch", open, sent{9, 4, 0, 3, 0, true}, &duplicate{10, 12, 1002}, nil},
		{"rule 1: duplicate across the wrap", across, sent{9, 4, math.MaxInt32 - 1, 4, 0, false}, &duplicate{10, 13, 1003}, nil},

		{"rule 2: older epoch", six, sent{9, 3, 18, 3, 0, false}, nil, &ProducerFencedError{9, 3, 4}},
		{"rule 2: older epoch with the sequences of a stored batch", six, sent{9, 3, 15, 3, 0, false}, nil, &ProducerFencedError{9, 3, 4}},

		{"rule 3: newer epoch from 0", six, sent{9, 5, 0, 3, 0, false}, nil, nil},
		{"rule 3: newer epoch not from 0", six, sent{9, 5, 18, 3, 0, false}, nil, seqError(5, 0, 18)},

		{"rule 4: next", six, sent{9, 4, 18, 1, 0, false}, nil, nil},
		{"rule 4: gap", six, sent{9, 4, 19, 1, 0, false}, nil, seqError(4, 18, 19)},
		{"rule 4: after 2^31-1 comes 0", wrapping, sent{9, 4, 0, 1, 0, false}, nil, nil},
		{"rule 4: after 2^31-1 does not come 1", wrapping, sent{9, 4, 1, 1, 0, false}, nil, seqError(4, 0, 1)},
		{"rule 4: after a batch across the wrap", across, sent{9, 4, 2, 1, 0, false}, nil, nil},
		{"rule 4: marker raised the epoch, from 0", raised, sent{9, 5, 0, 1, 0, true}, nil, nil},
		{"rule 4: marker raised the epoch, not from 0", raised, sent{9, 5, 18, 1, 0, true}, nil, seqError(5, 0, 18)},
		{"rule 4: after the coordinator's batch", byCoordinator, sent{9, 4, 0, 1, 0, true}, nil, nil},

		{"rule 5: outside the open transaction", open, sent{9, 4, 3, 1, 0, false}, nil, &TxnStateError{9, 4, 10}},
		{"rule 5: inside it", open, sent{9, 4, 3, 1, 0, true}, nil, nil},
		{"rule 5: outside, newer epoch", open, sent{9, 5, 0, 1, 0, false}, nil, &TxnStateError{9, 5, 10}},
		{"rule 5: sequence is judged first", open, sent{9, 4, 7, 1, 0, false}, nil, seqError(4, 3, 7)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := applied(t, tc.prior...)
			before := p.list()
			dup, found, err := p.check(tc.give.batch(t), fromClient)
			assert.Equal(t, tc.err, err)
			assert.Equal(t, tc.dup != nil, found)
			if tc.dup != nil {
				assert.Equal(t, *tc.dup, dup)
			}
			assert.Equal(t, before, p.list(), "check changes nothing")
		})
	}
}

func TestCheckCoordinatorBatch(t *testing.T) {
	p := applied(t, sent{9, 4, 0, 3, 10, true}.batch(t))
	for _, tc := range []struct {
		name string
		give sent
		err  error
	}{
		{"any sequence", sent{9, 4, noSequence, 1, 0, true}, nil},
		{"no duplicates", sent{9, 4, 0, 3, 0, true}, nil},
		{"newer epoch", sent{9, 6, noSequence, 1, 0, true}, nil},
		{"older epoch", sent{9, 3, noSequence, 1, 0, true}, &ProducerFencedError{9, 3, 4}},
		{"outside the transaction", sent{9, 4, noSequence, 1, 0, false}, &TxnStateError{9, 4, 10}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, found, err := p.check(tc.give.batch(t), fromCoordinator)
			assert.False(t, found)
			assert.Equal(t, tc.err, err)
		})
	}
	_, found, err := p.check(sent{9, 1, 99, 1, 0, false}.batch(t), fromLeader)
	assert.NoError(t, err, "a leader's batch is not judged")
	assert.False(t, found)
}

func TestCheckMarker(t *testing.T) {
	p := applied(t,
		sent{9, 4, 0, 1, 10, true}.batch(t), marker(record.Commit, 9, 4, 7, 11),
		sent{9, 4, 1, 1, 12, true}.batch(t))
	leaderChange, err := record.ControlBatch(record.BuilderConfig{HasProducer: true, ProducerID: 9, ProducerEpoch: 1}, record.LeaderChange, 1, []byte{0, 0, 0, 0})
	require.NoError(t, err)
	for _, tc := range []struct {
		name string
		give record.Batch
		from origin
		err  error
	}{
		{"same epochs", marker(record.Abort, 9, 4, 7, 0), fromCoordinator, nil},
		{"newer epochs", marker(record.Abort, 9, 5, 8, 0), fromCoordinator, nil},
		{"older producer epoch", marker(record.Abort, 9, 3, 7, 0), fromCoordinator, &ProducerFencedError{9, 3, 4}},
		{"older coordinator", marker(record.Abort, 9, 4, 6, 0), fromCoordinator, &CoordinatorFencedError{9, 6, 7}},
		{"unknown producer", marker(record.Abort, 8, 0, 0, 0), fromCoordinator, nil},
		{"unknown producer, no epoch", marker(record.Abort, 8, -1, 0, 0), fromCoordinator, &ProducerFencedError{8, -1, -1}},
		{"from a leader", marker(record.Abort, 9, 3, 0, 0), fromLeader, nil},
		{"other control batch", leaderChange, fromCoordinator, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, found, err := p.check(tc.give, tc.from)
			assert.False(t, found)
			assert.Equal(t, tc.err, err)
		})
	}
	torn := marker(record.Abort, 9, 4, 7, 0)
	torn[record.HeaderSize+4] = 0x40 // the key's length no longer fits
	_, _, err = p.check(torn, fromLeader)
	assert.Error(t, err, "even a leader's marker must be readable")
	before := p.list()
	_, _, err = p.apply(torn, 1)
	assert.Error(t, err)
	assert.Equal(t, before, p.list())
}

func TestErrorsMatchTheirSentinels(t *testing.T) {
	assert.ErrorIs(t, &SequenceError{1, 2, 3, 4}, ErrOutOfOrderSequence)
	assert.ErrorIs(t, &ProducerFencedError{1, 2, 3}, ErrProducerFenced)
	assert.ErrorIs(t, &TxnStateError{1, 2, 3}, ErrInvalidTxnState)
	assert.ErrorIs(t, &CoordinatorFencedError{1, 2, 3}, ErrCoordinatorFenced)
	assert.EqualError(t, &SequenceError{9, 4, 18, 19}, "log: producer 9 epoch 4: sequence number 19 out of order, want 18")
	assert.EqualError(t, &ProducerFencedError{9, 3, 4}, "log: producer 9 fenced: epoch 3, current is 4")
	assert.EqualError(t, &TxnStateError{9, 4, 10}, "log: producer 9 epoch 4: batch outside the transaction open since offset 10")
	assert.EqualError(t, &CoordinatorFencedError{9, 6, 7}, "log: producer 9: marker of coordinator epoch 6, current is 7")
}

func TestApply(t *testing.T) {
	p := applied(t)
	assert.Nil(t, p.index, "an idle log has no map")
	assert.Nil(t, p.list())

	p = applied(t, sent{9, 4, 7, 3, 42, false}.batch(t))
	assert.Equal(t, []ProducerState{{9, 4, 9, 44, 2, 1002, -1, -1}}, p.list())

	txn, ended, err := p.apply(marker(record.Commit, 9, 4, 13, 45), 6000)
	require.NoError(t, err)
	assert.False(t, ended, "a marker without data ends nothing: %v", txn)
	assert.Equal(t, []ProducerState{{9, 4, 9, 44, 2, 2000, 13, -1}}, p.list(), "same epoch keeps the batches")

	p.apply(marker(record.Abort, 9, 6, 14, 46), 6000)
	assert.Equal(t, []ProducerState{{9, 6, -1, -1, 0, 2000, 14, -1}}, p.list(), "a higher epoch clears them")

	p.apply(sent{9, 5, 0, 1, 47, true}.batch(t), 6000)
	assert.Equal(t, []ProducerState{{9, 5, 0, 47, 0, 1000, 14, 47}}, p.list(), "a copy follows its leader to an older epoch")
	p.apply(sent{9, 5, 1, 1, 48, false}.batch(t), 6000)
	assert.EqualValues(t, 47, p.list()[0].TxnStart, "a copy takes what its leader took")
	assert.EqualValues(t, 49, p.end)

	_, ended, err = p.apply(sent{id: -1, epoch: -1, seq: -1, n: 1, base: 49}.batch(t), 6000)
	assert.NoError(t, err)
	assert.False(t, ended)
	assert.EqualValues(t, 49, p.end, "no producer, no change")

	p.restore([]ProducerState{{5, -1, -1, -1, 0, 1, -1, -1}}, 60, 1, 1, 10)
	_, _, err = p.check(sent{5, 0, 17, 1, 0, false}.batch(t), fromClient)
	assert.NoError(t, err, "where no epoch is known any sequence will do")
}

func TestApplyEmptyBatches(t *testing.T) {
	// The cleaner keeps the header of an emptied batch that is a producer's last trace.
	p := applied(t, fromHex(t, vectorEmptyBatch))
	assert.Equal(t, []ProducerState{{9, 4, 11, 14, 4, 1234, -1, -1}}, p.list())

	empty := marker(record.Abort, 9, 5, 1, 20)[:record.HeaderSize]
	empty[11], empty[60] = 49, 0 // batch length and record count
	_, ended, err := p.apply(empty, 1)
	assert.NoError(t, err)
	assert.False(t, ended)
	assert.EqualValues(t, 4, p.list()[0].Epoch, "an empty control batch is ignored")
}

func TestTransactionsHoldStableBack(t *testing.T) {
	p := &producers{}
	unstable := func(high int64) int64 {
		if offset, ok := p.firstUnstable(high); ok {
			return offset
		}
		return noOffset
	}
	end := func(kind record.ControlType, id, offset int64) completedTxn {
		txn, ended, err := p.apply(marker(kind, id, 0, 0, offset), 1)
		require.NoError(t, err)
		require.True(t, ended)
		return txn
	}
	begin := func(id, offset int64, n int) { p.apply(sent{id, 0, 0, n, offset, true}.batch(t), 1) }

	assert.EqualValues(t, noOffset, unstable(0))
	begin(1, 10, 2)
	begin(2, 12, 3)
	begin(3, 15, 1)
	assert.EqualValues(t, 10, unstable(16), "the earliest open one")

	assert.Equal(t, completedTxn{2, 12, 16, 10, true}, end(record.Abort, 2, 16), "another open one bounds the entry's stable offset")
	assert.Equal(t, completedTxn{1, 10, 17, 15, false}, end(record.Commit, 1, 17))
	assert.EqualValues(t, 10, unstable(16), "completed, marker at 17 not yet below high")
	assert.EqualValues(t, 10, unstable(17), "high 17 does not include the marker at 17")
	assert.EqualValues(t, 15, unstable(18), "high has passed both markers; the third is open")
	assert.Equal(t, completedTxn{3, 15, 18, 19, true}, end(record.Abort, 3, 18), "none other open: next after the marker")
	assert.EqualValues(t, 15, unstable(18))
	assert.EqualValues(t, noOffset, unstable(19))
	assert.Empty(t, p.txns.open)
	assert.Empty(t, p.txns.ended)

	begin(4, 20, 1)
	begin(5, 21, 1)
	end(record.Commit, 5, 22) // inside the other: decides nothing once that one ends later
	assert.EqualValues(t, 20, unstable(30))
	end(record.Commit, 4, 23)
	assert.EqualValues(t, noOffset, unstable(30))
}

// A transaction of 6.2 that is complete but not replicated is remembered by a
// queue that drops what decides nothing; it must agree with the plain rule.
func TestUnstableAgainstPlainRule(t *testing.T) {
	seed := uint64(1)
	next := func(n int64) int64 { // xorshift: the same story each run
		seed ^= seed << 13
		seed ^= seed >> 7
		seed ^= seed << 17
		return int64(seed % uint64(n))
	}
	for range 200 {
		var u unstable
		open, ended := map[int64]int64{}, map[int64]int64{} // producer to first; first to marker
		high := int64(0)
		for offset := int64(0); offset < 60; offset++ {
			id := next(6)
			if first, ok := open[id]; ok {
				stable := u.complete(id, first, offset)
				delete(open, id)
				ended[first] = offset
				want := offset + 1
				for _, f := range open {
					want = min(want, f)
				}
				require.Equal(t, want, stable)
			} else {
				u.begin(id, offset)
				open[id] = offset
			}
			high = min(high+next(3), offset+1)
			want := int64(math.MaxInt64)
			for _, f := range open {
				want = min(want, f)
			}
			for f, m := range ended {
				if m >= high {
					want = min(want, f)
				}
			}
			got, ok := u.first(high)
			require.Equal(t, want != math.MaxInt64, ok)
			if ok {
				require.Equal(t, want, got)
			}
		}
	}
}

func TestExpire(t *testing.T) {
	const day = 86_400_000
	p := &producers{}
	p.apply(sent{1, 0, 0, 1, 0, false}.batch(t), 1000)
	p.apply(sent{2, 0, 0, 1, 1, true}.batch(t), 1000)
	p.apply(sent{3, 0, 0, 1, 2, false}.batch(t), 1001)
	assert.Zero(t, p.expire(1000+day-1, day))
	assert.Equal(t, 1, p.expire(1000+day, day), "1 goes at its time; 2 has a transaction open")
	assert.Nil(t, p.find(1))
	assert.EqualValues(t, 3, p.find(3).id)
	p.apply(sent{3, 0, 1, 1, 3, false}.batch(t), 1000+day)
	assert.Zero(t, p.expire(1001+day, day), "a batch renews it")
	p.apply(marker(record.Commit, 2, 0, 0, 4), 1000)
	assert.Equal(t, 2, p.expire(1000+2*day, day))
	assert.Nil(t, p.index)
	assert.Nil(t, p.known)

	for id := range int64(100) {
		p.apply(sent{id, 0, 0, 1, id, false}.batch(t), id)
	}
	assert.Equal(t, 50, p.expire(59, 10))
	for id := range int64(100) {
		if e := p.find(id); id < 50 {
			assert.Nil(t, e)
		} else {
			assert.EqualValues(t, id, e.id, "places stay right while the slab is packed")
		}
	}
}

func TestTruncateProducers(t *testing.T) {
	p := applied(t, sent{9, 4, 0, 3, 10, false}.batch(t))
	assert.True(t, p.truncate(20))
	assert.True(t, p.truncate(13), "nothing known was cut")
	assert.NotNil(t, p.list())
	assert.False(t, p.truncate(12))
	assert.Nil(t, p.list())
	assert.Nil(t, p.index)
	assert.True(t, (&producers{}).truncate(0))
}

func TestRestore(t *testing.T) {
	const day = 86_400_000
	now := int64(10 * day)
	states := []ProducerState{
		{7, 1, 5, 90, 2, now - 2*day, -1, -1},
		{8, 1, 5, 80, 2, now - 2*day, 3, 70},
		{9, 4, -1, -1, 0, now - 5, 13, -1},
	}
	p := &producers{}
	p.restore(states, 100, now-2*day, now, day)
	assert.Equal(t, states[1:], p.list(), "idle for a day and without a transaction: left out")
	assert.EqualValues(t, 100, p.end)
	offset, ok := p.firstUnstable(100)
	assert.True(t, ok)
	assert.EqualValues(t, 70, offset)
	_, found, err := p.check(sent{8, 1, 3, 3, 0, true}.batch(t), fromClient)
	assert.NoError(t, err)
	assert.True(t, found, "the last batch is still known")
	_, _, err = p.check(sent{9, 4, 1, 1, 0, false}.batch(t), fromClient)
	assert.ErrorIs(t, err, ErrOutOfOrderSequence, "only the epoch is known: from 0")

	p.restore(states, 100, now-5, now, day)
	assert.Equal(t, states, p.list(), "old records, but written just now")
	assert.Zero(t, p.expire(now+day-6, day))
	assert.Equal(t, 2, p.expire(now+day-5, day))
}

func TestProducersAllocateNothing(t *testing.T) {
	if invariant.Enabled {
		return // counts mean nothing under the race detector
	}
	p := applied(t, sent{9, 4, 0, 3, 0, false}.batch(t), sent{8, 0, 0, 1, 3, true}.batch(t),
		marker(record.Commit, 8, 0, 0, 4))
	next, again := sent{9, 4, 3, 3, 5, false}.batch(t), sent{9, 4, 0, 3, 0, false}.batch(t)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		_, _, _ = p.check(next, fromClient)
		_, _, _ = p.check(again, fromClient)
	}))
	data, txn, end := sent{9, 4, 0, 3, 5, false}.batch(t), sent{8, 0, 1, 1, 9, true}.batch(t), marker(record.Abort, 8, 0, 0, 10)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		_, _, _ = p.apply(data, 1)
		_, _, _ = p.apply(txn, 1)
		_, _, _ = p.check(end, fromCoordinator)
		_, _, _ = p.apply(end, 1)
		p.firstUnstable(11)
		p.expire(2, 100)
	}))
}

func BenchmarkProducersCheckApply(b *testing.B) {
	p := applied(b, sent{9, 4, 0, 1, 0, false}.batch(b))
	batch := sent{9, 4, 0, 1, 0, false}.batch(b)
	b.ReportAllocs()
	for i := range b.N {
		batch.SetProducer(9, 4, int32(i&math.MaxInt32))
		_, _, _ = p.check(batch, fromClient)
		_, _, _ = p.apply(batch, 1)
	}
}
