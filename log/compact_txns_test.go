package log

import (
	"fmt"
	"testing"
	"time"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/require"
)

// keyedTxns writes keyed batches of transactional and idempotent producers.
type keyedTxns struct {
	t    testing.TB
	l    *Log
	seqs map[int64]int32
}

func newKeyedTxns(t testing.TB, cfg *Config) *keyedTxns {
	return &keyedTxns{t, openLog(t, vfs.NewMem(), cfg), map[int64]int32{}}
}

func (x *keyedTxns) produce(id int64, txn bool, words ...string) Appended {
	x.t.Helper()
	list := kvs(words...)
	cfg := record.BuilderConfig{HasProducer: true, ProducerID: id, BaseSequence: x.seqs[id], Transactional: txn}
	a, err := x.l.Append(x.t.Context(), kvBatch(x.t, cfg, list...), AppendOptions{})
	require.NoError(x.t, err)
	x.seqs[id] += int32(len(list))
	return a
}

func (x *keyedTxns) send(id int64, words ...string) Appended { return x.produce(id, true, words...) }

func (x *keyedTxns) end(id int64, kind record.ControlType) {
	x.t.Helper()
	_, err := x.l.Append(x.t.Context(), marker(kind, id, 0, 1, 0), AppendOptions{Coordinator: true})
	require.NoError(x.t, err)
}

func (x *keyedTxns) requireBatches(want ...string) {
	x.t.Helper()
	require.Equal(x.t, want, headers(x.t, x.l))
}

func (x *keyedTxns) requireAborted(want ...Aborted) {
	x.t.Helper()
	list, err := x.l.AbortedIn(x.l.Start(), x.l.End())
	require.NoError(x.t, err)
	require.ElementsMatch(x.t, want, list)
}

var (
	txnCompacted = Config{Compacted: true, DeleteRetention: time.Hour}
	cleanTime    = time.UnixMilli(100_000_000)
)

func horizonText(at time.Time) string {
	return fmt.Sprintf("horizon=%d", at.Add(time.Hour).UnixMilli())
}

func TestAbortedDataGoesCommittedDataIsCompacted(t *testing.T) {
	x := newKeyedTxns(t, &txnCompacted)
	x.send(1, "a=1", "b=1")   // 0-1, aborted
	x.send(2, "b=2", "c=2")   // 2-3, committed
	x.send(1, "c=3", "d=3")   // 4-5, aborted
	x.end(1, record.Abort)    // 6
	x.end(2, record.Commit)   // 7
	x.produce(3, false, "e=") // 8
	roll(t, x.l)
	compactAt(t, x.l, cleanTime)
	// The aborted c=3 does not count against c=2. The last data batch of producer 1 stays, empty.
	x.requireBatches("segment 0", "[2,3] n=2", "[4,5] n=0", "[6,6] n=1 control", "[7,7] n=1 control", "[8,8] n=1", "segment 9")
	requireKeyed(t, x.l, "2:b=2", "3:c=2", "8:e=")
	x.requireAborted(Aborted{1, 0, 6, 2})
	require.NoError(t, x.l.Close())
}

// A producer's later transaction that is aborted takes nothing from the earlier one that was committed.
func TestCommittedDataAheadOfAnAbortedTransactionStays(t *testing.T) {
	x := newKeyedTxns(t, &txnCompacted)
	x.send(1, "a=1", "b=1")       // 0-1
	x.end(1, record.Commit)       // 2
	x.send(1, "b=2", "c=2")       // 3-4, aborted
	x.end(1, record.Abort)        // 5
	x.produce(9, false, "last=1") // 6
	roll(t, x.l)
	compactAt(t, x.l, cleanTime)
	requireKeyed(t, x.l, "0:a=1", "1:b=1", "6:last=1")
	require.NoError(t, x.l.Close())
}

// An abort marker stays until a pass has met nothing of its transaction, and then as long as a tombstone.
func TestAbortMarkerGoesLast(t *testing.T) {
	x := newKeyedTxns(t, &txnCompacted)
	x.send(1, "a=1")              // 0
	x.end(1, record.Abort)        // 1
	x.produce(1, false, "b=1")    // 2: now this is the producer's last batch
	x.produce(9, false, "last=1") // 3
	roll(t, x.l)
	compactAt(t, x.l, cleanTime)
	x.requireBatches("segment 0", "[1,1] n=1 control", "[2,2] n=1", "[3,3] n=1", "segment 4")
	x.requireAborted(Aborted{1, 0, 1, 2})
	compactAt(t, x.l, cleanTime.Add(time.Minute))
	later := horizonText(cleanTime.Add(time.Minute))
	x.requireBatches("segment 0", "[1,1] n=1 control "+later, "[2,2] n=1", "[3,3] n=1", "segment 4")
	x.requireAborted(Aborted{1, 0, 1, 2})
	compactAt(t, x.l, cleanTime.Add(time.Hour))
	x.requireBatches("segment 0", "[1,1] n=1 control "+later, "[2,2] n=1", "[3,3] n=1", "segment 4")
	compactAt(t, x.l, cleanTime.Add(time.Hour+time.Minute))
	x.requireBatches("segment 0", "[2,2] n=1", "[3,3] n=1", "segment 4")
	x.requireAborted()
	require.NoError(t, x.l.Close())
}

// The same for a commit marker, whose data is superseded.
func TestCommitMarkerGoesLast(t *testing.T) {
	x := newKeyedTxns(t, &txnCompacted)
	x.send(1, "a=1")           // 0
	x.end(1, record.Commit)    // 1
	x.produce(1, false, "a=2") // 2
	x.produce(9, false, "z=1") // 3
	roll(t, x.l)
	compactAt(t, x.l, cleanTime)
	x.requireBatches("segment 0", "[1,1] n=1 control", "[2,2] n=1", "[3,3] n=1", "segment 4")
	compactAt(t, x.l, cleanTime)
	x.requireBatches("segment 0", "[1,1] n=1 control "+horizonText(cleanTime), "[2,2] n=1", "[3,3] n=1", "segment 4")
	compactAt(t, x.l, cleanTime.Add(time.Hour))
	x.requireBatches("segment 0", "[2,2] n=1", "[3,3] n=1", "segment 4")
	require.NoError(t, x.l.Close())
}

// An empty batch that is kept for its producer's sequence still holds the marker back.
func TestEmptyBatchHoldsItsMarker(t *testing.T) {
	for _, kind := range []record.ControlType{record.Abort, record.Commit} {
		x := newKeyedTxns(t, &txnCompacted)
		x.send(1, "a=1")           // 0
		x.end(1, kind)             // 1
		x.produce(9, false, "a=2") // 2
		roll(t, x.l)
		for i := range 3 {
			compactAt(t, x.l, cleanTime.Add(time.Duration(i)*2*time.Hour))
			x.requireBatches("segment 0", "[0,0] n=0", "[1,1] n=1 control", "[2,2] n=1", "segment 3")
		}
		// The sequence is known after a restart from the batches alone.
		require.NoError(t, dropSnapshots(x.l.fs, testDir, []int64{3}, func(int64) bool { return true }))
		x.l.mu.Lock()
		require.NoError(t, x.l.reloadProducersLocked(x.l.End()))
		x.l.mu.Unlock()
		a, err := x.l.Append(t.Context(), kvBatch(t, record.BuilderConfig{HasProducer: true, ProducerID: 1, Transactional: true}, kv{"a", "1"}), AppendOptions{})
		require.NoError(t, err)
		require.True(t, a.Duplicate)
		x.send(1, "a=3") // sequence 1 follows
		require.NoError(t, x.l.Close())
	}
}

// A marker is all that tells the epoch of a producer without data: it stays, emptied once its time is over.
func TestMarkerOfAProducerWithoutData(t *testing.T) {
	x := newKeyedTxns(t, &txnCompacted)
	_, err := x.l.Append(t.Context(), marker(record.Abort, 5, 4, 1, 0), AppendOptions{Coordinator: true}) // 0
	require.NoError(t, err)
	x.produce(9, false, "a=2") // 1
	roll(t, x.l)
	compactAt(t, x.l, cleanTime)
	x.requireBatches("segment 0", "[0,0] n=1 control "+horizonText(cleanTime), "[1,1] n=1", "segment 2")
	compactAt(t, x.l, cleanTime.Add(time.Hour))
	x.requireBatches("segment 0", "[0,0] n=0 control", "[1,1] n=1", "segment 2")
	require.NoError(t, x.l.Close())
}

// A producer that the log has forgotten holds nothing back.
func TestForgottenProducersHoldNothing(t *testing.T) {
	x := newKeyedTxns(t, &Config{Compacted: true, ProducerExpiry: time.Millisecond})
	x.produce(1, false, "a=1") // 0
	putKV(t, x.l, "a=2")       // 1
	roll(t, x.l)
	compactAt(t, x.l, cleanTime)
	x.requireBatches("segment 0", "[0,0] n=0", "[1,1] n=1", "segment 2")
	expired, left := x.l.ExpireProducers(time.Now().Add(time.Hour))
	require.Equal(t, []int{1, 0}, []int{expired, left})
	compactAt(t, x.l, cleanTime)
	x.requireBatches("segment 0", "[1,1] n=1", "segment 2")
	require.NoError(t, x.l.Close())
}

// Nothing from the first open transaction on is touched.
func TestOpenTransactionsAreNotCleaned(t *testing.T) {
	x := newKeyedTxns(t, &txnCompacted)
	x.produce(9, false, "a=1") // 0
	x.produce(9, false, "a=2") // 1
	x.send(1, "a=3")           // 2
	x.produce(9, false, "a=4") // 3
	x.send(2, "b=1")           // 4
	x.end(2, record.Abort)     // 5
	roll(t, x.l)
	c := compactAt(t, x.l, cleanTime)
	require.EqualValues(t, 2, c.Checkpoint)
	found, err := x.l.Cleanable(cleanTime)
	require.NoError(t, err)
	require.Zero(t, found.Dirty, "what waits for the transaction is nothing to clean")
	x.requireBatches("segment 0", "[1,1] n=1", "[2,2] n=1", "[3,3] n=1", "[4,4] n=1", "[5,5] n=1 control", "segment 6")
	x.requireAborted(Aborted{2, 4, 5, 2})
	x.end(1, record.Commit) // 6
	roll(t, x.l)
	compactAt(t, x.l, cleanTime)
	x.requireBatches("segment 0", "[2,2] n=0", "[3,3] n=1", "[4,4] n=0", "[5,5] n=1 control", "[6,6] n=1 control", "segment 7")
	x.requireAborted(Aborted{2, 4, 5, 2})
	require.NoError(t, x.l.Close())
}

// A transaction's data and marker in different segments and different groups.
func TestTransactionsSpanSegments(t *testing.T) {
	x := newKeyedTxns(t, &Config{Compacted: true, DeleteRetention: time.Hour, SegmentBytes: 100})
	x.send(1, "a=1")           // 0
	x.send(1, "b=1")           // 1
	x.produce(9, false, "c=1") // 2
	x.end(1, record.Abort)     // 3
	x.produce(1, false, "d=1") // 4
	x.produce(9, false, "e=1") // 5
	roll(t, x.l)
	compactAt(t, x.l, cleanTime)
	list, err := keyed(x.l, High)
	require.NoError(t, err)
	require.Equal(t, []string{"2:c=1", "4:d=1", "5:e=1"}, list)
	x.requireAborted(Aborted{1, 0, 3, 4})
	first := x.l.Segments()
	require.EqualValues(t, 0, first[0].Base, "the log still begins where it did")
	compactAt(t, x.l, cleanTime)
	x.requireAborted(Aborted{1, 0, 3, 4})
	compactAt(t, x.l, cleanTime.Add(time.Hour))
	x.requireAborted()
	list, err = keyed(x.l, High)
	require.NoError(t, err)
	require.Equal(t, []string{"2:c=1", "4:d=1", "5:e=1"}, list)
	for _, text := range headers(t, x.l) {
		require.NotContains(t, text, "control")
	}
	require.NoError(t, x.l.Close())
}

// A slot that is older than the newest producer snapshot does not hide the transactions between the two: a compaction after
// the recovery still knows them as aborted.
func TestAbortedTransactionBehindAnOldSlot(t *testing.T) {
	disk := vfs.NewCrash()
	require.NoError(t, disk.MkdirAll(testDir))
	require.NoError(t, disk.SyncDir("/"))
	x := &keyedTxns{t, openLog(t, disk, &txnCompacted), map[int64]int32{}}
	x.produce(3, false, "a=1", "b=1") // 0-1
	old, err := vfs.ReadFile(disk, testDir+"/"+SlotFile, slotFileSize)
	require.NoError(t, err)
	x.send(1, "a=2", "b=2")    // 2-3
	x.end(1, record.Abort)     // 4
	x.produce(3, false, "c=1") // 5
	roll(t, x.l)
	x.produce(3, false, "c=2") // 6
	after := disk.After(vfs.KeepAll, 0)
	f, err := after.Open(testDir + "/" + SlotFile)
	require.NoError(t, err)
	_, err = f.WriteAt(old, 0)
	require.NoError(t, err)
	require.NoError(t, f.Close())

	y := &keyedTxns{t, openLog(t, after, &txnCompacted), nil}
	compactAt(t, y.l, cleanTime)
	requireKeyed(t, y.l, "0:a=1", "1:b=1", "5:c=1", "6:c=2")
}
