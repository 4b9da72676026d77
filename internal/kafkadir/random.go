package kafkadir

import "math/rand/v2"

// Random is a sound partition: gaps within segments and between them, empty segments, transactions that commit, abort or stay open, with
// or without indexes, snapshots and checkpoints.
func Random(rng *rand.Rand) *Partition {
	coin := func() bool { return rng.IntN(2) == 0 }
	p := &Partition{Clean: coin(), Indexes: coin(), Aborted: coin(), Snapshots: coin(), Epochs: coin()}
	w := writer{rng: rng, gappy: rng.IntN(3) > 0, producers: rng.IntN(4), open: map[int64]bool{}}
	if rng.IntN(4) == 0 {
		w.next = rng.Int64N(50)
	}
	for n := 1 + rng.IntN(4); n > 0; n-- {
		p.Segments = append(p.Segments, w.segment())
		if w.gappy && coin() {
			w.next += rng.Int64N(20)
		}
	}
	switch end := p.end(); rng.IntN(4) {
	case 0:
		p.RecoveryPoint = p.Segments[rng.IntN(len(p.Segments))].Base
	case 1:
		p.RecoveryPoint = end
	}
	if rng.IntN(4) == 0 {
		p.Start = rng.Int64N(p.end() + 4)
	}
	return p
}

// writer makes segments in order.
type writer struct {
	rng       *rand.Rand
	next      int64
	epoch     int32
	gappy     bool
	producers int
	open      map[int64]bool
}

func (w *writer) segment() Segment {
	s := Segment{Base: w.next}
	for n := w.rng.IntN(7); n > 0; n-- {
		if w.gappy && w.rng.IntN(3) == 0 {
			w.next += 1 + w.rng.Int64N(9)
		}
		if w.rng.IntN(8) == 0 {
			w.epoch += int32(1 + w.rng.IntN(3))
		}
		b := w.batch()
		b.Offset, b.Epoch = w.next, w.epoch
		s.Batches = append(s.Batches, b)
		w.next = b.Next()
	}
	return s
}

func (w *writer) batch() Batch {
	count := 1 + w.rng.IntN(3)
	if w.producers == 0 || w.rng.IntN(3) == 0 {
		return Batch{Count: count}
	}
	id := int64(1 + w.rng.IntN(w.producers))
	b := Batch{Count: count, Kind: Data, Producer: id}
	if (w.open[id] || w.rng.IntN(8) == 0) && w.rng.IntN(2) == 0 { // a marker without records now and then
		b.Count, b.Kind = 1, Commit+Kind(w.rng.IntN(2))
	}
	w.open[id] = b.Kind == Data
	return b
}
