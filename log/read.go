package log

import (
	"errors"
	"fmt"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/segment"
)

// Place is an offset with the position of its batch in a segment file. A Place
// that Read returned makes the next read start right there; make one by [At]
// for any other offset.
type Place = segment.Place

// At is the place of an offset whose position is not known.
func At(offset int64) Place { return Place{Offset: offset, Pos: -1} }

// ReadOptions say how much a read returns.
type ReadOptions struct {
	// Bound is up to where records may be returned. Default High.
	Bound Bound
	// MaxBytes is the most that is returned, except that the first batch comes whole. Default 1 MiB.
	MaxBytes int
	// Check verifies every batch's checksum and leader epoch. Without it only headers are checked.
	Check bool
}

func (o ReadOptions) maxBytes() int { return orDefault(o.MaxBytes, 1<<20) }

// Read returns whole batches, the first the one that holds from.Offset (it may
// begin below) or the first after it, none at or above the bound, of one segment.
// run reuses dst's memory if it has room, else it is newly allocated; it is the
// caller's. next is where to go on. An empty run without an error means that
// there is nothing below the bound yet.
//
// Errors: [RangeError] below the start or above the end; [CorruptionError] for
// damaged bytes, with the offsets it covers: everything before the damage is
// returned by earlier reads, and reading may go on behind it; [ErrClosed]; what the
// disk says. Read waits for no writer.
func (l *Log) Read(dst []byte, from Place, o ReadOptions) (run []byte, next Place, err error) {
	for {
		cuts := l.syncer.cuts()
		run, next, err = l.readOnce(dst, from, o)
		if l.syncer.cuts() == cuts {
			return run, next, err
		}
		dst = run // the log was cut meanwhile: what was read, and the bound, may be of two minds
	}
}

func (l *Log) readOnce(dst []byte, from Place, o ReadOptions) (run []byte, next Place, err error) {
	limit, err := l.readable(from.Offset, o.Bound)
	if err != nil || from.Offset >= limit {
		return dst[:0], from, err
	}
	run, next, err = l.readBelow(dst, from, limit, o.maxBytes())
	if gone := l.deleted(from.Offset); gone != nil {
		return run[:0], from, gone
	}
	if o.Check && err == nil && len(run) > 0 {
		return l.checkRead(run, from, next)
	}
	return run, next, err
}

// deleted is the error for an offset below the start. A reader asks once it has found something, or nothing: what came instead of what was
// deleted meanwhile lies further on.
func (l *Log) deleted(offset int64) error {
	if start := l.start.Load(); offset < start {
		return &RangeError{Offset: offset, Start: start, End: l.end.Load()}
	}
	return nil
}

// readBelow is Read without a look at the log's offsets.
func (l *Log) readBelow(dst []byte, from Place, limit int64, maxBytes int) (run []byte, next Place, err error) {
	s, last, err := l.pinned(from.Offset)
	if err != nil {
		return dst[:0], from, err
	}
	at := from
	if at.Offset <= s.Base() {
		at.Pos = 0 // what the caller knows is a position in the segment before this one
	}
	for {
		run, next, err = s.Read(dst, at, limit, maxBytes)
		if err != nil {
			s.Unpin()
			return run, from, l.located(err)
		}
		if len(run) > 0 {
			s.Unpin()
			return run, next, nil
		}
		// Nothing in this segment: go on behind it, unless the bound lies before that.
		follower := (*segment.Segment)(nil)
		if !last {
			follower, last, err = l.onward(s, at.Offset, limit)
		}
		s.Unpin()
		if follower == nil {
			return run, from, err
		}
		s = follower
		if s.Base() >= limit {
			s.Unpin()
			return run, from, nil
		}
		at = At(max(at.Offset, s.Base()))
	}
}

// checkSeam tells whether a segment, of which nothing is left to read, ends where the
// next one begins. If it does not, what lay between is lost, unless its side file, or where
// that does not know, anything else says that offsets are missing for a reason. The two are
// neighbours in one view: of others it says nothing.
func (l *Log) checkSeam(s, follower *segment.Segment, offset, limit int64) error {
	next, base := s.Next(), follower.Base()
	if next >= base || next >= limit || offset >= base {
		return nil
	}
	// A side file that cannot be read is not one that knows of no gap.
	if err := s.Load(); err != nil {
		return err
	}
	if reach := s.Reach(); reach >= 0 {
		next = reach
	} else if l.cfg.Load().Compacted || s.Sparse() {
		return nil
	} else if err := follower.Load(); err != nil || follower.Sparse() {
		return err
	}
	if next >= base || next >= limit {
		return nil
	}
	return &CorruptionError{Path: s.Path(), Pos: s.Size(), End: s.Size(), FirstOffset: max(next, offset), NextOffset: base,
		Cause: errors.New("the segment that held these offsets is missing")}
}

// readable returns the bound's offset, or an error for an offset the log does not hold.
func (l *Log) readable(offset int64, b Bound) (limit int64, err error) {
	if l.closed.Load() {
		return 0, ErrClosed
	}
	limit = l.Limit(b)
	if start := l.start.Load(); offset < start || (offset > limit && offset > l.end.Load()) {
		return 0, &RangeError{Offset: offset, Start: start, End: l.end.Load()}
	}
	return limit, nil
}

func (l *Log) activeSegment() *segment.Segment {
	v := l.view.Load()
	if v == nil {
		return nil
	}
	return v.active()
}

// located turns what a segment says of being closed into what the log says.
func (l *Log) located(err error) error {
	if err != nil && l.closed.Load() && (errors.Is(err, segment.ErrRetired) || errors.Is(err, segment.ErrClosed)) {
		return ErrClosed
	}
	return err
}

// checkRead verifies the batches of a run. Good batches before a bad one are
// returned without an error; the bad one is reported when it comes first.
func (l *Log) checkRead(run []byte, from, next Place) ([]byte, Place, error) {
	good, place := 0, from
	for good < len(run) {
		b, err := record.First(run[good:])
		if err == nil {
			err = b.Check()
		}
		if err == nil {
			err = l.checkEpoch(b)
		}
		if err != nil {
			if good > 0 {
				return run[:good], place, nil
			}
			return run[:0], from, l.damageAt(run, from, next, err)
		}
		good += len(b)
		place = Place{Offset: b.NextOffset(), Pos: -1}
	}
	return run, next, nil
}

// damageAt describes the first batch of a run, whose header was plausible and whose
// content is not. The offsets it covers end where the next batch begins.
func (l *Log) damageAt(run []byte, from, next Place, cause error) error {
	e := &CorruptionError{Path: l.dir, Pos: from.Pos, End: -1, FirstOffset: from.Offset, NextOffset: next.Offset, Cause: cause}
	if s, _, err := l.pinned(from.Offset); err == nil {
		e.Path = s.Path()
		s.Unpin()
	}
	b, err := record.First(run)
	if err != nil {
		return e
	}
	e.FirstOffset = b.BaseOffset()
	if e.Pos >= 0 {
		e.End = e.Pos + int64(len(b))
	}
	if follower := run[len(b):]; len(follower) >= record.HeaderSize {
		e.NextOffset = record.Batch(follower).BaseOffset()
	}
	return e
}

// checkEpoch compares a batch's leader epoch, which no checksum covers, with the
// epoch history.
func (l *Log) checkEpoch(b record.Batch) error {
	entries := l.history.Load()
	if entries == nil {
		return nil
	}
	if want, ok := epochAt(*entries, max(b.BaseOffset(), l.start.Load())); ok && want != b.LeaderEpoch() {
		return fmt.Errorf("leader epoch %d at offset %d, the history says %d", b.LeaderEpoch(), b.BaseOffset(), want)
	}
	return nil
}
