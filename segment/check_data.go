package segment

import (
	"errors"
	"fmt"
	"io"

	"github.com/quirelog/quire/log/record"
)

// scan passes the batches of the data file, and what is none.
func (x *checker) scan() error {
	for c := newScanner(x.f, 0, x.size); c.pos < c.size; {
		from := c.pos
		b, err := c.next()
		if err == nil {
			err = x.checkBatch(c, b)
		}
		switch {
		case err == nil:
			err = x.take(c, b)
		case !isDamage(err):
			return err
		case x.torn(c.pos):
			goOn, e := x.tail(c, err)
			if !goOn || e != nil {
				return e
			}
			err = nil
		default:
			err = x.skip(c, b, err)
		}
		if err == nil && x.opt.Step != nil {
			err = x.opt.Step(c.pos - from)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// torn tells whether bytes at pos lie behind what is known to be on disk, so that they are a torn tail and no damage.
func (x *checker) torn(pos int64) bool {
	if !x.opt.Last || x.side != nil && x.side.facts.size == x.size {
		return false
	}
	return x.opt.Durable.Pos < 0 || pos >= x.opt.Durable.Pos
}

// tail passes what may be a torn tail, if it is a batch of which the header alone is damaged, which recovery puts right; else it is noted.
func (x *checker) tail(c *scanner, cause error) (goOn bool, err error) {
	end, err := lastNonZero(x.f, x.size)
	if err != nil || end <= c.pos {
		return false, unlessCut(err)
	}
	b, err := x.s.righted(x.f, c.pos, x.next, end, x.size, x.opt.Dense)
	if err != nil {
		return false, unlessCut(err)
	}
	if b == nil {
		x.addTail(c.pos, end, cause)
		return false, nil
	}
	x.damage(c.pos, c.pos+int64(len(b)), cause)
	x.pending.NextOffset, x.pending = b.NextOffset(), nil
	x.next = b.NextOffset()
	c.jump(c.pos + int64(len(b)))
	x.end = c.pos
	return true, nil
}

// unlessCut is the disk's error, but for that of a file that has become shorter while it was read, as when a segment is sealed: then there
// is no tail.
func unlessCut(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

func (x *checker) addTail(pos, end int64, cause error) {
	x.out.Notes = append(x.out.Notes, Fault{Kind: FaultTail, Path: x.s.path(KindLog, 0), Pos: pos, End: end, FirstOffset: x.next, NextOffset: x.next, Err: cause})
}

// badRecords is the cause when a batch is what was written, but its records cannot be read.
type badRecords struct{ cause error }

func (e *badRecords) Error() string   { return "records: " + e.cause.Error() }
func (e *badRecords) Unwrap() []error { return []error{record.ErrCorrupt, e.cause} }

// checkBatch decides whether a batch is sound and may be where it is.
func (x *checker) checkBatch(c *scanner, b record.Batch) error {
	if err := x.s.plausible(b, x.next, everything); err != nil {
		return err
	}
	if b.BaseOffset() > x.next && x.pending == nil {
		if err := x.checkGap(c.pos+int64(len(b)), b); err != nil {
			return err
		}
	}
	if x.opt.Shallow {
		return nil
	}
	if b.Control() {
		if _, _, err := record.ParseControl(b); err != nil {
			return &badRecords{err}
		}
		return nil
	}
	info, err := b.CheckRecords(&x.dec, 0)
	switch {
	case err != nil:
		return &badRecords{err}
	case b.TimestampType() == record.CreateTime && info.MaxTimestamp > b.MaxTimestamp():
		return &badRecords{fmt.Errorf("a time of %d, above the batch's largest, %d", info.MaxTimestamp, b.MaxTimestamp())}
	}
	return nil
}

// checkGap looks at a batch that leaves offsets out. When what follows it goes on as if there were no gap, its base offset, which its checksum
// does not cover, is wrong; otherwise the gap is, where there may be none.
func (x *checker) checkGap(behind int64, b record.Batch) error {
	switch durable := x.opt.Durable; { // as checkGap of a recovery
	case x.opt.Dense && x.torn(behind-int64(len(b))),
		x.opt.Last && durable.Pos >= 0 && x.next < durable.Offset && b.NextOffset() > durable.Offset:
		return errOutOfOrder
	}
	follows := x.next + int64(b.LastOffsetDelta()) + 1
	var head [record.HeaderSize]byte
	n, err := x.f.ReadAt(head[:], behind)
	switch {
	case n == len(head):
		if next := record.Batch(head[:]); next.Magic() == 2 && next.BaseOffset() == follows {
			return errOutOfOrder
		}
	case err != nil && err != io.EOF:
		return err
	case x.side != nil && !x.side.facts.loose && x.side.facts.next == follows:
		return errOutOfOrder
	}
	if x.out.Sparse {
		return nil
	}
	x.out.Faults = append(x.out.Faults, Fault{Kind: FaultGap, Path: x.s.path(KindLog, 0), Pos: x.end, End: x.end, FirstOffset: x.next, NextOffset: b.BaseOffset(),
		Err: errors.New("offsets are left out")})
	x.damaged = true
	return nil
}

// take counts a sound batch.
func (x *checker) take(c *scanner, b record.Batch) error {
	if x.opt.Visit != nil {
		if err := x.opt.Visit(c.pos, b); err != nil {
			return err
		}
	}
	if x.pending != nil {
		x.pending.NextOffset, x.pending = b.BaseOffset(), nil
	}
	x.facts.add(b)
	x.next = b.NextOffset()
	if !x.damaged {
		x.meet(c.pos, b.LastOffset())
	}
	x.out.Batches++
	x.out.Records += int64(b.Count())
	x.out.Bytes += int64(len(b))
	c.skip(len(b))
	x.end = c.pos
	return nil
}

// skip passes damage: the whole batch if it is one, else everything up to the next sound one.
func (x *checker) skip(c *scanner, b record.Batch, cause error) error {
	at := c.pos + int64(len(b))
	if b == nil || b.Check() != nil {
		var err error
		at, _, err = x.s.resync(x.f, c.pos+1, x.size, x.next, x.s.ceiling(), x.size)
		if err == io.EOF || err == errLimit {
			at, err = x.size, nil
		}
		if err != nil {
			return err
		}
	}
	x.damage(c.pos, at, cause)
	if b != nil && at == c.pos+int64(len(b)) {
		x.lostUpTo = max(x.lostUpTo, x.next+int64(b.LastOffsetDelta())+1)
	}
	c.jump(at)
	x.end = at
	return nil
}

// damage notes a stretch of bad bytes. Where its offsets end the next sound batch tells.
func (x *checker) damage(pos, end int64, cause error) {
	x.damaged = true
	if x.pending != nil && x.pending.End == pos {
		x.pending.End = end
		return
	}
	x.out.Faults = append(x.out.Faults, Fault{Kind: FaultData, Path: x.s.path(KindLog, 0), Pos: pos, End: end, FirstOffset: x.next, NextOffset: -1, Err: cause})
	x.pending = &x.out.Faults[len(x.out.Faults)-1]
}

// damagedUpTo is where the offsets of damage at the end of the data end, if no side file says so: as far as its own fields tell, or else the
// next segment.
func (x *checker) damagedUpTo() int64 {
	switch {
	case x.opt.Last || x.side != nil:
		return 0
	case x.lostUpTo > 0:
		return min(x.lostUpTo, x.opt.Limit)
	}
	return x.opt.Limit
}

// checkEnd settles where the offsets end: a side file, or what is known to be durable, may know of more than there is.
func (x *checker) checkEnd() {
	want := x.next
	switch {
	case x.side != nil && x.side.facts.size >= x.size:
		want = max(want, x.side.facts.next)
	case x.opt.Last && x.opt.Durable.Pos >= 0:
		want = max(want, min(x.opt.Durable.Offset, x.s.ceiling()))
	}
	if want > x.next && x.pending == nil {
		x.damage(x.end, x.end, io.ErrUnexpectedEOF)
	}
	if x.pending != nil {
		want = max(want, x.damagedUpTo())
		x.pending.NextOffset, x.pending = want, nil
	}
	x.next = want
}
