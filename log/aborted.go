package log

import (
	"errors"
	"math"
	"time"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/segment"
)

// Aborted is a transaction that was aborted: readers of committed records skip the
// producer's records in [First, Last]. Last is the offset of the abort marker, Stable the
// last stable offset when it was written (Apache Kafka's transaction index).
type Aborted struct {
	ProducerID          int64
	First, Last, Stable int64
}

// AbortedIn lists the aborted transactions that concern records in [from, to), ascending
// by the offset of their markers. A transaction may end far beyond to. The slice is the
// caller's.
func (l *Log) AbortedIn(from, to int64) ([]Aborted, error) {
	if l.closed.Load() {
		return nil, ErrClosed
	}
	if from >= to {
		return nil, nil
	}
	s, last, err := l.pinned(from)
	if err != nil {
		return nil, err
	}
	var found []segment.AbortedTxn
	for {
		var complete bool
		at := from // entries ascend by marker: those behind the last one found are new
		if n := len(found); n > 0 {
			at = max(from, found[n-1].LastOffset+1)
		}
		found, complete, err = l.abortedOf(s, found, at, to)
		if err != nil || complete || last {
			s.Unpin()
			break
		}
		var follower *segment.Segment
		follower, last, err = l.onward(s, s.Next(), noOffset)
		s.Unpin()
		if follower == nil {
			break
		}
		s = follower
	}
	if err != nil {
		return nil, l.located(err)
	}
	list := make([]Aborted, len(found))
	for i, txn := range found {
		list[i] = Aborted{txn.ProducerID, txn.FirstOffset, txn.LastOffset, txn.LastStable}
	}
	return list, nil
}

// abortedOf asks one segment, whose index is made anew if it cannot be trusted.
func (l *Log) abortedOf(s *segment.Segment, found []segment.AbortedTxn, from, to int64) ([]segment.AbortedTxn, bool, error) {
	more, complete, err := s.Aborted(found, from, to)
	if !errors.Is(err, segment.ErrIndexCorrupt) {
		return more, complete, err
	}
	l.mu.Lock()
	list, err := l.recallAbortedLocked(s)
	l.mu.Unlock()
	if err != nil {
		return found, false, err
	}
	for _, txn := range list {
		if txn.LastOffset >= from && txn.FirstOffset < to {
			found = append(found, txn)
		}
		if txn.LastOffset >= from && txn.LastStable >= to {
			return found, true, nil
		}
	}
	return found, false, nil
}

// recallAbortedLocked makes a segment's list of aborted transactions anew from the
// batches, and its index if the file system lets it. The producer snapshot at the
// segment's begin, or an earlier one, says what was open there.
func (l *Log) recallAbortedLocked(s *segment.Segment) ([]segment.AbortedTxn, error) {
	names, err := listFiles(l.fs, l.dir)
	if err != nil {
		return nil, err
	}
	var p producers
	now := time.Now().UnixMilli()
	from := l.start.Load()
	load, err := p.loadSnapshot(l.fs, l.dir, snapshotOffsets(names), snapshotWindow{
		after: from - 1, upTo: s.Base(), now: now, ttl: math.MaxInt64})
	if err != nil {
		return nil, err
	}
	if load.found {
		from = load.offset
	}
	var list []segment.AbortedTxn
	err = l.replay(from, s.Next(), func(b record.Batch) {
		if txn, ended, err := p.apply(b, now); err == nil && ended && txn.aborted && txn.last >= s.Base() {
			list = append(list, segment.AbortedTxn{ProducerID: txn.producerID, FirstOffset: txn.first,
				LastOffset: txn.last, LastStable: txn.stable})
		}
	})
	if err != nil {
		return nil, err
	}
	_ = s.SetAborted(list)
	return list, nil
}

// settleAbortedLocked completes the index of a segment that is about to be sealed. Where that fails the seal says
// that the index is to be made anew.
func (l *Log) settleAbortedLocked(s *segment.Segment) {
	if s.AbortedInvalid() {
		_, _ = l.recallAbortedLocked(s)
	}
}
