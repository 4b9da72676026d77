package log

import (
	"errors"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/segment"
)

// Aborted is one aborted transaction: FirstOffset of its first batch,
// LastOffset of its abort marker, LastStable the last stable offset when it ended.
type Aborted = segment.AbortedTxn

// AbortedIn lists the aborted transactions that have records in [from, to), in
// the order of their markers: what a reader of committed data has to leave out. A
// transaction may end far beyond to. Damaged indexes are answered from the batches.
func (l *Log) AbortedIn(from, to int64) ([]Aborted, error) {
	if !l.identified.Load() {
		return nil, nil // no batch has a producer id: there are no transactions
	}
	var found []Aborted
	s, last, err := l.pinned(from)
	if err != nil {
		return nil, err
	}
	for {
		var complete bool
		found, complete, err = s.Aborted(found, from, to)
		base := s.Base()
		s.Unpin()
		if errors.Is(err, segment.ErrIndexCorrupt) {
			return l.abortedByReplay(from, to)
		}
		if err != nil {
			return nil, l.located(err)
		}
		if complete || last {
			return found, nil
		}
		var ok bool
		if s, ok = l.pinnedAfter(base); !ok {
			return found, nil
		}
		last = s == l.activeSegment()
	}
}

// abortedByReplay finds aborted transactions by reading every batch.
func (l *Log) abortedByReplay(from, to int64) ([]Aborted, error) {
	var p producers
	var found []Aborted
	err := l.replay(l.start.Load(), l.end.Load(), func(b record.Batch) {
		txn, ended, err := p.apply(b, 0)
		if err == nil && ended && txn.aborted && txn.last >= from && txn.first < to {
			found = append(found, Aborted{ProducerID: txn.producerID, FirstOffset: txn.first, LastOffset: txn.last, LastStable: txn.stable})
		}
	})
	return found, err
}
