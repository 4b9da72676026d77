package log

import (
	"errors"
	"fmt"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/segment"
)

// ErrNoRecord: there is no record at an offset below the end: it was compacted
// away, or is a control record.
var ErrNoRecord = errors.New("log: no record at this offset")

// Finder is the memory of [Log.Get], to be used again and again by one goroutine
// at a time. The zero value is ready.
type Finder = segment.Finder

// Get reads the one record at offset, which must lie in [start, bound). Of a large
// uncompressed batch it reads only a part once the batch has been checked whole.
// The record borrows f's memory until f's next use. With bound [High] it may belong
// to an open or aborted transaction; with [Stable], to an aborted one.
//
// Errors: [RangeError] outside [start, bound), [ErrNoRecord], [CorruptionError],
// [ErrClosed], what the disk says. Get waits for no writer.
func (l *Log) Get(f *Finder, offset int64, b Bound) (r *record.Record, err error) {
	for {
		cuts := l.syncer.cuts()
		r, err = l.getOnce(f, offset, b)
		if l.syncer.cuts() == cuts { // as in Read
			return r, err
		}
	}
}

func (l *Log) getOnce(f *Finder, offset int64, b Bound) (*record.Record, error) {
	limit, err := l.readable(offset, b)
	if err != nil {
		return nil, err
	}
	if offset >= limit {
		return nil, &RangeError{Offset: offset, Start: l.start.Load(), End: limit}
	}
	s, _, err := l.pinned(offset)
	if err != nil {
		return nil, err
	}
	defer s.Unpin()
	f.DecodeLimit = l.cfg.Load().decodeLimit()
	r, ok, err := s.Find(f, offset, limit)
	if ok && err == nil {
		return r, nil
	}
	if gone := l.deleted(offset); gone != nil {
		return nil, gone
	}
	if err == nil {
		err = fmt.Errorf("%w: %d", ErrNoRecord, offset)
	}
	return nil, l.located(err)
}
