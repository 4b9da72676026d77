package log

import (
	"errors"
	"fmt"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/segment"
)

// Special times for [Log.OffsetFor], Kafka's values of ListOffsets.
const (
	TimeLatest   int64 = -1 // the bound itself: the next offset a reader will see
	TimeEarliest int64 = -2 // the start
	TimeMax      int64 = -3 // the first record that carries the largest timestamp
)

// TimeOffset is the answer of [Log.OffsetFor].
type TimeOffset struct {
	Offset    int64
	Timestamp int64 // of the record at Offset, ms since the epoch; -1 for TimeLatest and TimeEarliest
	Epoch     int32 // leader epoch at Offset; -1 if none is known
}

// OffsetFor finds the first record, in offset order, whose timestamp is at least
// ts (ms since the epoch) and that lies in [start, bound). Records need not be in
// time order. ts may be one of TimeLatest, TimeEarliest, TimeMax; another negative
// time is an error. ok is false when no record qualifies.
func (l *Log) OffsetFor(ts int64, b Bound) (found TimeOffset, ok bool, err error) {
	if l.closed.Load() {
		return TimeOffset{}, false, ErrClosed
	}
	switch ts {
	case TimeLatest:
		return l.offsetAt(l.Limit(b)), true, nil
	case TimeEarliest:
		return l.offsetAt(l.start.Load()), true, nil
	case TimeMax:
		return l.offsetOfLargest(b)
	}
	if ts < 0 {
		return TimeOffset{}, false, fmt.Errorf("log: time %d is negative", ts)
	}
	return l.offsetForTime(ts, b)
}

func (l *Log) offsetAt(offset int64) TimeOffset {
	return TimeOffset{Offset: offset, Timestamp: record.NoTimestamp, Epoch: l.epochAt(offset)}
}

func (l *Log) epochAt(offset int64) int32 {
	if entries := l.history.Load(); entries != nil {
		if epoch, ok := epochAt(*entries, offset); ok {
			return epoch
		}
	}
	return noEpoch
}

// offsetForTime asks the segments in order; each tells by its time index whether
// it can hold the record.
func (l *Log) offsetForTime(ts int64, b Bound) (TimeOffset, bool, error) {
	from, limit := l.start.Load(), l.Limit(b)
	s, last, err := l.pinned(from)
	if err != nil {
		return TimeOffset{}, false, err
	}
	for {
		found, ok, err := l.findTime(s, ts, from)
		follower := (*segment.Segment)(nil)
		if err == nil && !ok && !last {
			follower, last, err = l.onward(s, s.Next(), noOffset)
		}
		s.Unpin()
		if err != nil {
			return TimeOffset{}, false, l.located(err)
		}
		if ok {
			if found.Offset >= limit {
				return TimeOffset{}, false, nil
			}
			found.Epoch = l.epochAt(found.Offset)
			return found, true, nil
		}
		if follower == nil {
			return TimeOffset{}, false, nil
		}
		s = follower
	}
}

func (l *Log) findTime(s *segment.Segment, ts, from int64) (TimeOffset, bool, error) {
	if largest, _ := s.MaxTimestamp(); largest != record.NoTimestamp && largest < ts {
		return TimeOffset{}, false, nil
	}
	offset, timestamp, ok, err := s.FindTime(ts, from, l.cfg.Load().decodeLimit())
	return TimeOffset{Offset: offset, Timestamp: timestamp}, ok, err
}

// offsetOfLargest finds the first record with the largest timestamp in [start, bound).
func (l *Log) offsetOfLargest(b Bound) (TimeOffset, bool, error) {
	v := l.view.Load()
	if v == nil {
		return TimeOffset{}, false, ErrClosed
	}
	largest := record.NoTimestamp
	for _, s := range v.segments {
		if ts, _ := s.MaxTimestamp(); ts > largest {
			largest = ts
		}
	}
	if largest == record.NoTimestamp {
		return TimeOffset{}, false, nil
	}
	found, ok, err := l.offsetForTime(largest, b)
	if ok || err != nil {
		return found, ok, err
	}
	return l.largestBelow(l.Limit(b))
}

// largestBelow walks the records below limit: the largest timestamp of the log
// belongs to a record that readers with this bound may not see yet, or no more.
func (l *Log) largestBelow(limit int64) (TimeOffset, bool, error) {
	best := TimeOffset{Timestamp: record.NoTimestamp}
	var d record.Decoder
	var r record.Record
	var run []byte
	var err error
	for place := At(l.start.Load()); place.Offset < limit; {
		run, place, err = l.Read(run, place, ReadOptions{Bound: End})
		if errors.Is(err, ErrOffsetOutOfRange) { // all that was looked at has gone meanwhile
			place, best, err = At(l.start.Load()), TimeOffset{Timestamp: record.NoTimestamp}, nil
			continue
		}
		if err != nil || len(run) == 0 {
			break
		}
		for b, err := range record.Batches(run) {
			if err != nil {
				return TimeOffset{}, false, err
			}
			if b.MaxTimestamp() <= best.Timestamp {
				continue
			}
			if err := d.Reset(b, l.cfg.Load().decodeLimit()); err != nil {
				return TimeOffset{}, false, err
			}
			for d.Next(&r) {
				if r.Timestamp > best.Timestamp && r.Offset < limit && r.Offset >= l.start.Load() {
					best = TimeOffset{Offset: r.Offset, Timestamp: r.Timestamp}
				}
			}
			if err := d.Err(); err != nil {
				return TimeOffset{}, false, err
			}
		}
	}
	best.Epoch = l.epochAt(best.Offset)
	return best, best.Timestamp != record.NoTimestamp, err
}
