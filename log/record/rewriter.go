package record

import "slices"

// Rewriter makes a batch anew with some of its records left out or changed, and
// everything else as it was: base and last offset, producer, sequence, leader epoch,
// timestamp type, codec, and the offsets and timestamps of the records that stay.
// That is what compaction does to a batch. Its memory is used again from batch to
// batch. One goroutine at a time. The zero value is ready for Reset.
//
//	err := w.Reset(b, limit)
//	for w.Next(&r) { w.Keep(...) }
//	if err := w.Err(); err == nil && w.Kept() > 0 { out, err = w.Batch(o) }
type Rewriter struct {
	from Batch
	d    Decoder
	b    Builder
	r    Record // of Batch
	keep []bool // one for each record read, false until Keep
	kept int
}

// Reset begins with the records of b, which must stay unchanged until the next
// Reset; limit and errors are those of [Decoder.Reset].
func (w *Rewriter) Reset(b Batch, limit int) error {
	w.from, w.keep, w.kept = b, w.keep[:0], 0
	return w.d.Reset(b, limit)
}

// Next reads the next record, see [Decoder.Next]. It is left out unless Keep is
// called before the following Next, or KeepAt later.
func (w *Rewriter) Next(r *Record) bool {
	if !w.d.Next(r) {
		return false
	}
	w.keep = append(w.keep, false)
	return true
}

// Keep says that the record last read stays.
func (w *Rewriter) Keep() { w.KeepAt(len(w.keep) - 1) }

// KeepAt says that the i-th of the records read, counted from 0, stays.
func (w *Rewriter) KeepAt(i int) {
	if i >= 0 && i < len(w.keep) && !w.keep[i] {
		w.keep[i] = true
		w.kept++
	}
}

// Read is how many records were read.
func (w *Rewriter) Read() int { return len(w.keep) }

// Err is that of [Decoder.Err].
func (w *Rewriter) Err() error { return w.d.Err() }

// Kept is how many of the records read stay.
func (w *Rewriter) Kept() int { return w.kept }

// Whole reports whether all records stay.
func (w *Rewriter) Whole() bool { return w.kept == len(w.keep) }

// RewriteOptions say what changes about a batch beside its records.
type RewriteOptions struct {
	// DeleteHorizon, when above zero, is the time in ms since the epoch from which the
	// batch's tombstones or marker may go. One that the batch has already stays.
	DeleteHorizon int64
	// Level is the codec's level, 0 its default.
	Level int
	// Edit, if set, may change each record that stays. It must not change Offset or
	// Timestamp.
	Edit func(r *Record)
}

// Batch returns the batch made of the records that stay, of which there must be one.
// The bytes belong to the Rewriter until the next Batch. Call it after Next has
// returned false without an error.
func (w *Rewriter) Batch(o RewriteOptions) (Batch, error) {
	if w.kept == 0 {
		return nil, invalid("a batch without records")
	}
	w.b.Reset(w.config(o))
	w.d.Rewind()
	r := &w.r
	for _, keep := range w.keep {
		if !w.d.Next(r) {
			return nil, w.d.Err()
		}
		if !keep {
			continue
		}
		if o.Edit != nil {
			o.Edit(r)
		}
		if err := w.b.AddAt(int32(r.Offset-w.from.BaseOffset()), r); err != nil {
			return nil, err
		}
	}
	if err := w.b.SetLastOffsetDelta(w.from.LastOffsetDelta()); err != nil {
		return nil, err
	}
	out, err := w.b.Seal()
	if err != nil {
		return nil, err
	}
	out.SetBaseOffset(w.from.BaseOffset())
	out.SetLeaderEpoch(w.from.LeaderEpoch())
	return out, nil
}

// config is that of a builder for a batch like the one read.
func (w *Rewriter) config(o RewriteOptions) BuilderConfig {
	b := w.from
	if b.HasDeleteHorizon() {
		o.DeleteHorizon = b.BaseTimestamp()
	}
	return BuilderConfig{
		Codec: b.Codec(), Level: o.Level,
		HasProducer: b.ProducerID() >= 0, ProducerID: b.ProducerID(),
		ProducerEpoch: b.ProducerEpoch(), BaseSequence: b.BaseSequence(),
		Transactional: b.Transactional(), Control: b.Control(),
		TimestampType: b.TimestampType(), AppendTime: b.MaxTimestamp(),
		DeleteHorizon: o.DeleteHorizon,
	}
}

// Trim gives back memory above limit bytes that an unusually large batch made it take.
func (w *Rewriter) Trim(limit int) {
	if cap(w.b.buf) > limit || cap(w.b.out) > limit || cap(w.d.buf) > limit || cap(w.keep) > limit {
		w.from, w.d, w.b, w.r, w.keep = nil, Decoder{}, Builder{}, Record{}, slices.Clip(w.keep[:0:0])
	}
}
