package topic

import (
	"context"

	"github.com/quirelog/quire/log"
)

// RedactOptions say what a record holds once it was redacted.
type RedactOptions struct {
	// Value takes the place of the record's value; nil is null, which in a compacted topic deletes the key.
	Value []byte
	// DropHeaders removes the record's headers too.
	DropHeaders bool
}

// Redact replaces the value of the one record at offset, which keeps its offset, key, time and place: for what must
// not be kept and cannot be deleted with all that surrounds it. The segment that holds it is written anew, at the
// engine's [CompactionRate]; readers under way see the record before or after. When it returns nil no file of the
// partition holds the old value, but for one that a reader still has open, which goes with that reader, and what a
// recovery or repair once saved aside. Backups and copies are the caller's affair.
//
// Errors: [OffsetRangeError] outside what is visible, [ErrNoRecord], [ErrTooLarge] for a value that does not fit,
// ErrReadOnly, the context's cause, and what the disk says. A compaction or retention of the partition that is under way
// is waited for.
func (p *Partition) Redact(ctx context.Context, offset int64, opts RedactOptions) error {
	if p.topic == nil {
		return unmade("Partition")
	}
	e := p.topic.eng
	if err := e.mayRetain(ctx); err != nil {
		return p.fault(err)
	}
	l, err := p.openWith(ctx)
	if err != nil {
		return err
	}
	err = l.Redact(ctx, offset, log.RedactOptions{Value: opts.Value, DropHeaders: opts.DropHeaders, Throttle: e.cleaner.throttle(), Wait: true})
	return p.waitFault(ctx, err)
}
