package log

import (
	"cmp"
	"slices"

	"github.com/quirelog/quire/log/record"
)

// passTxns is what a pass knows of transactions: which were aborted, and of which it has
// met a batch, also an empty one: as long as there is one, the marker stays.
type passTxns struct {
	aborted map[int64][]Aborted // by producer, ascending by marker
	seen    map[int64]bool      // aborted transactions met, by the offset of their marker
	commits map[int64]bool      // producers inside a transaction that was not aborted
}

// reset forgets what was met.
func (t *passTxns) reset() { *t = passTxns{} }

// learn adds the transactions that concern offsets in [from, to).
func (t *passTxns) learn(l *Log, from, to int64) error {
	if !l.transacted.Load() {
		return nil
	}
	list, err := l.AbortedIn(from, to)
	if err != nil {
		return err
	}
	if t.aborted == nil {
		t.aborted, t.seen, t.commits = map[int64][]Aborted{}, map[int64]bool{}, map[int64]bool{}
	}
	for _, txn := range list {
		of := t.aborted[txn.ProducerID]
		i, there := slices.BinarySearchFunc(of, txn.Last, byMarker)
		if !there {
			t.aborted[txn.ProducerID] = slices.Insert(of, i, txn)
		}
	}
	return nil
}

func byMarker(txn Aborted, marker int64) int { return cmp.Compare(txn.Last, marker) }

// abortedAt is the aborted transaction that a data batch belongs to, nil if none.
func (t *passTxns) abortedAt(b record.Batch) *Aborted {
	if !b.Transactional() {
		return nil
	}
	of := t.aborted[b.ProducerID()]
	i, _ := slices.BinarySearchFunc(of, b.LastOffset(), byMarker)
	if i == len(of) || of[i].First > b.BaseOffset() {
		return nil
	}
	return &of[i]
}

// endedBy is the aborted transaction whose marker a control batch is, nil if none.
func (t *passTxns) endedBy(b record.Batch) *Aborted {
	of := t.aborted[b.ProducerID()]
	i, there := slices.BinarySearchFunc(of, b.LastOffset(), byMarker)
	if !there {
		return nil
	}
	return &of[i]
}

// data takes note of a data batch and reports whether its transaction was aborted.
func (t *passTxns) data(b record.Batch) bool {
	if !b.Transactional() {
		return false
	}
	if txn := t.abortedAt(b); txn != nil {
		t.seen[txn.Last] = true
		return true
	}
	if t.commits == nil {
		t.commits = map[int64]bool{}
	}
	t.commits[b.ProducerID()] = true
	return false
}

// pass takes note of a batch and tells whether it is data of an aborted transaction, or a
// marker that has nothing left to mark.
func (t *passTxns) pass(b record.Batch) (discardable bool, err error) {
	if !b.Control() {
		return t.data(b), nil
	}
	if b.Count() == 0 {
		return true, nil
	}
	kind, _, err := record.ParseControl(b)
	if err != nil {
		return false, err
	}
	switch kind {
	case record.Abort:
		txn := t.endedBy(b)
		return txn == nil || !t.seen[txn.Last], nil
	case record.Commit:
		open := t.commits[b.ProducerID()]
		delete(t.commits, b.ProducerID())
		return !open, nil
	}
	return false, nil
}
