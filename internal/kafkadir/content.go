package kafkadir

import (
	"cmp"
	"iter"
	"math"
	"slices"

	"github.com/quirelog/quire/index"
	"github.com/quirelog/quire/log"
)

// Content is what readers find in a partition.
type Content struct {
	Start, Stable, End int64
	All                []int64 // offsets of the records from Start on, markers left out
	Committed          []int64 // those that a reader of committed records sees
}

// batches are those of all segments.
func (p *Partition) batches() iter.Seq[Batch] {
	return func(yield func(Batch) bool) {
		for _, s := range p.Segments {
			for _, b := range s.Batches {
				if !yield(b) {
					return
				}
			}
		}
	}
}

// end is where the last segment ends.
func (p *Partition) end() int64 {
	last := p.Segments[len(p.Segments)-1]
	if n := len(last.Batches); n > 0 {
		return last.Batches[n-1].Next()
	}
	return last.Base
}

// Content is the model: what Kafka would show.
func (p *Partition) Content() Content {
	c := Content{Start: max(p.Start, p.Segments[0].Base), End: p.end()}
	c.End = max(c.End, c.Start) // a start above the end: the partition goes on there, empty
	c.Stable = c.End
	state := newReplay()
	aborted := map[int64]bool{} // by offset of the batch
	open := map[int64][]int64{} // batches by producer
	for b := range p.batches() {
		if b.Next() <= c.Start && !p.Snapshots {
			continue // nothing knows of a transaction with no record behind the start
		}
		state.apply(b)
		switch b.Kind {
		case Data:
			open[b.Producer] = append(open[b.Producer], b.Offset)
		case Abort:
			for _, offset := range open[b.Producer] {
				aborted[offset] = true
			}
			delete(open, b.Producer)
		case Commit:
			delete(open, b.Producer)
		}
	}
	for _, first := range state.open {
		c.Stable = min(c.Stable, max(first, c.Start))
	}
	for b := range p.batches() {
		for offset := b.Offset; offset < b.Next(); offset++ {
			if offset < c.Start || b.Kind == Commit || b.Kind == Abort {
				continue
			}
			c.All = append(c.All, offset)
			if offset < c.Stable && !aborted[b.Offset] {
				c.Committed = append(c.Committed, offset)
			}
		}
	}
	return c
}

// replay follows the producers.
type replay struct {
	open  map[int64]int64 // first offset by producer
	known map[int64]*log.ProducerState
}

func newReplay() *replay { return &replay{map[int64]int64{}, map[int64]*log.ProducerState{}} }

// apply takes a batch in; ok says that it ended a transaction with records.
func (r *replay) apply(b Batch) (txn index.AbortedTxn, ok bool) {
	if b.Kind == Plain {
		return txn, false
	}
	s := r.known[b.Producer]
	if s == nil {
		s = &log.ProducerState{ProducerID: b.Producer, LastSequence: -1, LastOffset: -1, CoordinatorEpoch: -1, TxnStart: -1}
		r.known[b.Producer] = s
	}
	s.LastTimestamp = epochMillis
	if b.Kind == Data {
		last := b.Next() - 1
		s.LastOffset, s.OffsetDelta, s.LastSequence = last, int32(b.Count-1), int32(last%math.MaxInt32)
		if s.TxnStart < 0 {
			s.TxnStart, r.open[b.Producer] = b.Offset, b.Offset
		}
		return txn, false
	}
	s.CoordinatorEpoch = 0
	first := s.TxnStart
	s.TxnStart = -1
	delete(r.open, b.Producer)
	if first < 0 {
		return txn, false
	}
	stable := b.Offset + 1
	for _, other := range r.open {
		stable = min(stable, other)
	}
	return index.AbortedTxn{ProducerID: b.Producer, FirstOffset: first, LastOffset: b.Offset, LastStable: stable}, true
}

func (r *replay) snapshot() []byte {
	var list []log.ProducerState
	for _, s := range r.known {
		list = append(list, *s)
	}
	slices.SortFunc(list, func(a, b log.ProducerState) int { return cmp.Compare(a.ProducerID, b.ProducerID) })
	return log.EncodeProducerSnapshot(nil, list)
}
