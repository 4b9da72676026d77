package log

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/quirelog/quire/log/record"
)

// checked is a client batch that may be appended.
type checked struct {
	batch        record.Batch
	maxTimestamp int64
	stamp        int64 // the log's own time if it was stamped, else -1
}

// validate applies a leader's rules to a client batch (Apache Kafka's
// LogValidator; kafka protocol guide, message format v2), all or nothing. It may
// change the batch's timestamps in place or replace the batch by a recompressed one.
func validate(cfg *Config, b record.Batch, o *AppendOptions) (checked, error) {
	if err := validateShape(cfg, b, o); err != nil {
		return checked{}, err
	}
	c := checked{batch: b, maxTimestamp: b.MaxTimestamp(), stamp: record.NoTimestamp}
	if !o.Trusted || cfg.Compacted || cfg.TimestampBeforeMax > 0 {
		largest, err := validateRecords(cfg, b, o.Now)
		if err != nil {
			return checked{}, err
		}
		c.maxTimestamp = largest
	}
	if err := claimTime(cfg, &c, o); err != nil {
		return checked{}, err
	}
	if cfg.Recompress && b.Codec() != cfg.Codec && !b.Control() {
		rebuilt, err := record.Recompress(b, cfg.Codec, cfg.Level, cfg.decodeLimit())
		if err != nil {
			return checked{}, recordsFault(err)
		}
		if err := checkSize(cfg, rebuilt); err != nil {
			return checked{}, err
		}
		c.batch = rebuilt
	}
	return c, stamp(cfg, &c, o)
}

// claimTime refuses a batch that claims the log's own time where that is the log's to
// say, and takes the claim away elsewhere. A trusted batch has it from an earlier try.
func claimTime(cfg *Config, c *checked, o *AppendOptions) error {
	if c.batch.TimestampType() != record.LogAppendTime || o.Trusted {
		return nil
	}
	if cfg.Timestamps == record.LogAppendTime {
		return fmt.Errorf("%w: the client claims log append time", ErrInvalidTimestamp)
	}
	c.batch.SetTimestamps(record.CreateTime, c.maxTimestamp)
	return nil
}

// validateShape checks what the header tells.
func validateShape(cfg *Config, b record.Batch, o *AppendOptions) error {
	if !o.Trusted {
		if whole, err := record.First(b); err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		} else if len(whole) != len(b) {
			return &InvalidRecordError{Reason: fmt.Sprintf("%d bytes after the batch: one batch per append", len(b)-len(whole))}
		}
		if err := b.Check(); err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
	}
	if err := checkSize(cfg, b); err != nil {
		return err
	}
	switch {
	case len(b) < record.HeaderSize:
		return &InvalidRecordError{Reason: fmt.Sprintf("%d bytes are no batch", len(b))}
	case b.BaseOffset() != 0 && !o.Trusted:
		return &InvalidRecordError{Reason: fmt.Sprintf("base offset %d, want 0", b.BaseOffset())}
	case b.Count() <= 0 || int(b.LastOffsetDelta())+1 != b.Count():
		return &InvalidRecordError{Reason: fmt.Sprintf("%d records over %d offsets", b.Count(), int64(b.LastOffsetDelta())+1)}
	case b.Control() && !o.Coordinator:
		return &InvalidRecordError{Reason: "control batch from a client"}
	case b.ProducerID() >= 0 && b.BaseSequence() < 0 && !o.Coordinator:
		return &InvalidRecordError{Reason: "producer id without a sequence"}
	case b.HasDeleteHorizon():
		return &InvalidRecordError{Reason: "delete horizon from a client"}
	}
	return nil
}

func checkSize(cfg *Config, b record.Batch) error {
	if limit := cfg.maxBatchBytes(); len(b) > limit {
		return fmt.Errorf("%w: %d bytes, limit %d", ErrTooLarge, len(b), limit)
	}
	if limit := cfg.segmentBytes(); int64(len(b)) > limit {
		return fmt.Errorf("%w: %d bytes, a segment holds %d", ErrTooLarge, len(b), limit)
	}
	return nil
}

// recordsFault puts what decoding a client's records says into this package's words.
func recordsFault(err error) error {
	if errors.Is(err, record.ErrTooLarge) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrCorrupt, err)
}

// validateRecords walks the records of a batch that comes from outside and
// returns their largest timestamp.
func validateRecords(cfg *Config, b record.Batch, now int64) (largest int64, err error) {
	if b.Control() {
		return b.MaxTimestamp(), nil
	}
	var d record.Decoder
	info, err := b.CheckRecords(&d, cfg.decodeLimit())
	if err != nil {
		return 0, recordsFault(err)
	}
	if !info.Contiguous {
		return 0, &InvalidRecordError{Reason: "offset deltas are not 0, 1, 2, ..."}
	}
	if cfg.Compacted && info.Keyless > 0 {
		return 0, &InvalidRecordError{Reason: "a compacted log needs a key in every record", Indexes: slices.Clone(info.KeylessIndexes)}
	}
	if b.TimestampType() == record.LogAppendTime && info.MissingTimestamps > 0 {
		return 0, fmt.Errorf("%w: the client claims log append time for records without a time", ErrInvalidTimestamp)
	}
	return info.MaxTimestamp, checkWindow(cfg, info.MinTimestamp, info.MaxTimestamp, now)
}

// checkWindow applies the accepted window to records that carry a time.
func checkWindow(cfg *Config, smallest, largest, now int64) error {
	if cfg.Timestamps == record.LogAppendTime || (cfg.TimestampBeforeMax == 0 && cfg.TimestampAfterMax == 0) {
		return nil
	}
	now = nowMillis(now)
	if before := cfg.TimestampBeforeMax; before > 0 && smallest != record.NoTimestamp && tooFar(now, smallest, before) {
		return fmt.Errorf("%w: %d is more than %v before now", ErrInvalidTimestamp, smallest, before)
	}
	if after := cfg.TimestampAfterMax; after > 0 && largest != record.NoTimestamp && tooFar(largest, now, after) {
		return fmt.Errorf("%w: %d is more than %v after now", ErrInvalidTimestamp, largest, after)
	}
	return nil
}

// tooFar reports whether later lies more than limit after earlier; a hostile
// timestamp must not overflow the difference.
func tooFar(later, earlier int64, limit time.Duration) bool {
	if later <= earlier {
		return false
	}
	distance := uint64(later) - uint64(earlier)
	return distance > uint64(limit.Milliseconds())
}

// stamp puts the timestamps into the header as the topic wants them.
func stamp(cfg *Config, c *checked, o *AppendOptions) error {
	b := c.batch
	if cfg.Timestamps == record.LogAppendTime {
		c.stamp = nowMillis(o.Now)
		c.maxTimestamp = c.stamp
		b.SetTimestamps(record.LogAppendTime, c.stamp)
		return nil
	}
	if o.Trusted {
		return checkWindow(cfg, record.NoTimestamp, c.maxTimestamp, o.Now)
	}
	if b.MaxTimestamp() != c.maxTimestamp {
		b.SetTimestamps(record.CreateTime, c.maxTimestamp)
	}
	return nil
}

// checkRun checks a leader's batches before any of them is written.
func checkRun(run []byte) error {
	if len(run) == 0 {
		return &InvalidRecordError{Reason: "no batch"}
	}
	next := int64(-1)
	for b, err := range record.Batches(run) {
		if err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		if err := b.Check(); err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		if b.BaseOffset() < next {
			return &InvalidRecordError{Reason: fmt.Sprintf("batch at offset %d after offset %d", b.BaseOffset(), next-1)}
		}
		next = b.NextOffset()
	}
	return nil
}
