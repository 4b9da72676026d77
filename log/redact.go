package log

import (
	"context"
	"fmt"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/segment"
)

// RedactOptions say what a record holds afterwards.
type RedactOptions struct {
	// Value takes the place of the record's value; nil is null, which in a compacted log
	// deletes the key.
	Value []byte
	// DropHeaders removes the record's headers.
	DropHeaders bool
	// Throttle is as in CompactOptions.
	Throttle func(ctx context.Context, bytes int) error
	// Wait is as in CompactOptions.
	Wait bool
}

// Redact replaces the value of the one record at offset, which keeps its offset, key,
// timestamp and place: for what must not be kept but cannot be deleted with all that
// surrounds it. The segment that holds it is written anew, the active one after a roll;
// the old file, and what earlier passes have replaced, is unlinked as soon as no reader
// holds it, without Config.FileDeleteDelay.
// When it returns nil no file of the log holds the old value any more, but for those that
// such a reader keeps, and for what recovery or a repair once saved aside as *.cut-* and
// *.damaged; what a disk keeps of unlinked files is beyond it, and so is what a copy of the
// log holds.
//
// Errors: [RangeError] outside [start, high watermark), [ErrNoRecord], [ErrTooLarge] for a
// value that does not fit, and those of [Log.Compact]. After an error the log holds the old
// value or, if it is fenced, either; if an old file could not be unlinked, the new one, and that
// file goes later, at the latest with the next Open.
func (l *Log) Redact(ctx context.Context, offset int64, o RedactOptions) error {
	out, err := bounded.Err(ctx, &l.calls().others, grace, func() error { return l.redactInTurn(ctx, offset, o) })
	if out == bounded.Alone {
		return uncertain(err)
	}
	return err
}

func (l *Log) redactInTurn(ctx context.Context, offset int64, o RedactOptions) error {
	defer l.tell()
	return l.inTurn(ctx, o.Wait, func(ctx context.Context) error {
		// A segment that was deleted meanwhile is looked for again: then the offset is out of range.
		return retried(ctx, func() error { return l.redact(ctx, offset, o) })
	})
}

func (l *Log) redact(ctx context.Context, offset int64, o RedactOptions) error {
	if start, high := l.start.Load(), l.high.Load(); offset < start || offset >= high {
		return &RangeError{Offset: offset, Start: start, End: high}
	}
	s, err := l.sealedHolder(offset)
	if err != nil {
		return err
	}
	r := &redaction{rewriting: rewriting{l: l, ctx: ctx, cfg: l.cfg.Load(), throttle: o.Throttle, atOnce: true}, offset: offset, o: o}
	if err := r.cause(r.run(s)); err != nil {
		return err
	}
	if err := l.deleteAll(); err != nil {
		return diskError(fmt.Errorf("the record is redacted, but an old file is still there: %w", err))
	}
	return nil
}

// sealedHolder is the segment that holds offset, sealed if it was the active one.
func (l *Log) sealedHolder(offset int64) (*segment.Segment, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.changeable(); err != nil {
		return nil, err
	}
	v := l.view.Load()
	s := v.segments[v.floor(offset)]
	if s != v.active() {
		return s, nil
	}
	if err := l.beginWritingLocked(); err != nil {
		return nil, diskError(err)
	}
	_, err := l.rollLocked(l.cfg.Load(), l.end.Load())
	return s, err
}

// redaction is one Redact.
type redaction struct {
	rewriting
	offset int64
	o      RedactOptions
	found  bool
}

func (r *redaction) run(s *segment.Segment) error {
	aborted, err := r.l.AbortedIn(s.Base(), s.Next())
	if err != nil {
		return err
	}
	_, err = r.rewrite([]*segment.Segment{s}, func(b record.Batch) error {
		for len(aborted) > 0 && aborted[0].Last <= b.LastOffset() {
			txn := aborted[0]
			aborted = aborted[1:]
			if err := r.out.AddAborted(txn.ProducerID, txn.First, txn.Last, txn.Stable); err != nil {
				return err
			}
		}
		if r.offset < b.BaseOffset() || r.offset > b.LastOffset() || b.Control() {
			return r.verbatim(b)
		}
		return r.redact(b)
	})
	if err == nil && !r.found {
		return fmt.Errorf("%w: %d", ErrNoRecord, r.offset)
	}
	return err
}

// redact writes the batch with the record changed.
func (r *redaction) redact(b record.Batch) error {
	if err := r.w.Reset(b, r.cfg.decodeLimit()); err != nil {
		return recordsFault(err)
	}
	for r.w.Next(&r.r) {
		r.w.Keep()
		r.found = r.found || r.r.Offset == r.offset
	}
	if err := r.w.Err(); err != nil || !r.found {
		if err == nil {
			err = r.verbatim(b)
		}
		return err
	}
	changed, err := r.w.Batch(record.RewriteOptions{Edit: func(rec *record.Record) {
		if rec.Offset == r.offset {
			rec.Value = r.o.Value
			if r.o.DropHeaders {
				rec.Headers = nil
			}
		}
	}})
	if err != nil {
		return err
	}
	if growth := int64(len(changed) - len(b)); growth > r.room || growth > 0 && len(changed) > r.cfg.maxBatchBytes() {
		return fmt.Errorf("%w: redacted batch of %d bytes", ErrTooLarge, len(changed))
	}
	return r.write(changed)
}
