package group

import (
	"cmp"
	"slices"

	"github.com/quirelog/quire/topic"
)

// A window is what a [Consumer.RunByKey] has in hand of one partition: its records from the oldest unfinished one on, and who of them waits
// for whom. It is pure.
//
//	offset       41      42      43      44      45      46
//	key           a       b       a       c       b       a
//	           at work  finished waits  at work  ready   waits
//	            ^ nothing beyond is committed
//
//	W1  Entries are in the order of their offsets, and the first, if there is one, is not finished.
//	W2  Of a key at most one batch is ready or at work; the others wait in its lane, in order.
//	W3  There is a lane for a key only while a batch of it is ready, at work or waiting.
type window struct {
	entries []inHand
	lanes   map[string]*keyLane
	reads   uint64
}

type inHand struct {
	offset   int64
	finished bool
}

// keyLane is the batches of one key.
type keyLane struct {
	key  string
	rest []*Batch // behind the one that is ready or at work
	last *Batch   // the last of all
	read uint64   // that last comes from
}

func newWindow() *window { return &window{lanes: map[string]*keyLane{}} }

// take takes in what one read brought, and gives the batches of it that need not wait: the records of one key make one batch, and each
// record without a key one of its own. Those that were finished before are only noted.
func (w *window) take(recs []topic.Record, done spans, batch func([]topic.Record) *Batch) (ready []*Batch) {
	w.reads++
	for i := range recs {
		finished := done.hold(recs[i].Offset)
		w.entries = append(w.entries, inHand{recs[i].Offset, finished})
		if finished {
			continue
		}
		if recs[i].Key == nil {
			ready = append(ready, batch(recs[i:i+1:i+1]))
			continue
		}
		ln := w.lanes[string(recs[i].Key)]
		switch {
		case ln == nil:
			ln = &keyLane{key: string(recs[i].Key)}
			w.lanes[ln.key] = ln
			ln.open(w.reads, batch(recs[i:i+1:i+1]))
			ready = append(ready, ln.last)
		case ln.read == w.reads:
			ln.last.Records = append(ln.last.Records, recs[i])
		default:
			ln.open(w.reads, batch(recs[i:i+1:i+1]))
			ln.rest = append(ln.rest, ln.last)
		}
	}
	return ready
}

// open makes b the lane's last batch.
func (ln *keyLane) open(read uint64, b *Batch) { ln.last, ln.read, b.lane = b, read, ln }

// leave takes a batch back that was at work, and gives the next of its key, nil if there is none.
func (w *window) leave(b *Batch) *Batch {
	ln := b.lane
	switch {
	case ln == nil:
		return nil
	case len(ln.rest) == 0:
		delete(w.lanes, ln.key)
		return nil
	}
	next := ln.rest[0]
	ln.rest[0] = nil
	ln.rest = ln.rest[1:]
	return next
}

// finish notes that a record is done, and tells how far all are: the offset behind the last of them, -1 when that is nowhere new.
func (w *window) finish(offset int64) (through int64) {
	at, ok := slices.BinarySearchFunc(w.entries, offset, func(e inHand, offset int64) int { return cmp.Compare(e.offset, offset) })
	if !ok || w.entries[at].finished {
		return -1
	}
	w.entries[at].finished = true
	return w.settle()
}

// settle lets go of what is finished at the beginning, and tells how far that is as finish does.
func (w *window) settle() (through int64) {
	through = -1
	for len(w.entries) > 0 && w.entries[0].finished {
		through = w.entries[0].offset + 1
		w.entries = w.entries[1:]
	}
	return through
}

// size is how many records count against the limit: the unfinished ones, and the finished ones between them.
func (w *window) size() int { return len(w.entries) }

// finished is what is finished behind the oldest record that is not.
func (w *window) finished() (list spans) {
	for i, e := range w.entries {
		switch {
		case !e.finished:
		case i > 0 && w.entries[i-1].finished:
			list[len(list)-1].end = e.offset + 1
		default:
			list = append(list, span{e.offset, e.offset + 1})
		}
	}
	return list
}

// oldest is the oldest record that is not finished.
func (w *window) oldest() (offset int64, ok bool) {
	if len(w.entries) == 0 {
		return 0, false
	}
	return w.entries[0].offset, true
}
