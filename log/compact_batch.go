package log

import (
	"errors"

	"github.com/quirelog/quire/log/record"
)

// batch decides what becomes of one batch (Kafka's Cleaner and RecordFilter).
func (c *compaction) batch(b record.Batch) error {
	if b.BaseOffset() >= c.upper {
		return c.untouched(b)
	}
	discardable, err := c.txns.pass(b)
	if err != nil {
		return err
	}
	discard := discardable
	if b.Control() { // a marker waits as long as a tombstone
		discard = discardable && discards(b, c.now)
	}
	if !discard {
		if err := c.keepAborted(b); err != nil {
			return err
		}
	}
	survives := c.mustSurvive(b)
	if discard {
		c.facts.Dropped += int64(b.Count())
		return c.emptied(b, survives)
	}
	tombstones, err := c.pick(b)
	if errors.Is(err, record.ErrTooLarge) {
		c.facts.Kept += int64(b.Count())
		return c.verbatim(b)
	}
	if err != nil {
		return err
	}
	kept := c.w.Kept()
	c.facts.Kept += int64(kept)
	c.facts.Dropped += int64(b.Count() - kept)
	if kept == 0 {
		return c.emptied(b, survives)
	}
	waits := (tombstones || b.Control() && discardable) && !b.HasDeleteHorizon()
	if c.w.Whole() && !waits {
		return c.verbatim(b)
	}
	o := record.RewriteOptions{Level: c.level(b)}
	if waits {
		o.DeleteHorizon = c.now + c.cfg.deleteRetention().Milliseconds()
	}
	return c.rewritten(b, o)
}

// untouched copies a batch that lies behind what may be cleaned; an abort marker among
// them keeps its entry in the index.
func (c *compaction) untouched(b record.Batch) error {
	c.facts.Kept += int64(b.Count())
	if err := c.keepAborted(b); err != nil {
		return err
	}
	return c.verbatim(b)
}

// keepAborted carries the entry of an abort marker that stays over to the new segment's
// index. Kafka drops the entry one pass earlier, when nothing of the transaction is left;
// kept as long as the marker it serves readers that took the transaction's records
// from a segment that is replaced by now and only then ask which of them count.
func (c *compaction) keepAborted(b record.Batch) error {
	if !b.Control() {
		return nil
	}
	txn := c.txns.endedBy(b)
	if txn == nil {
		return nil
	}
	return c.out.AddAborted(txn.ProducerID, txn.First, txn.Last, txn.Stable)
}

// mustSurvive tells whether a batch stays even without records: it tells the last
// sequence, or the epoch, of a producer that the log remembers, or where the round ended.
func (c *compaction) mustSurvive(b record.Batch) bool {
	if b.NextOffset() == c.upper {
		return true
	}
	id := b.ProducerID()
	if id < 0 {
		return false
	}
	last, known := c.active[id]
	switch {
	case !known:
		return false
	case last.offset != noOffset:
		return b.LastOffset() == last.offset
	}
	return b.Control() && b.ProducerEpoch() == last.epoch
}

// emptied writes the header of a batch that has lost its records, if it must survive.
func (c *compaction) emptied(b record.Batch, survives bool) error {
	if !survives {
		c.changed = true
		return nil
	}
	if len(b) == record.HeaderSize && !b.HasDeleteHorizon() && !b.Compressed() {
		return c.verbatim(b)
	}
	return c.write(b.Emptied())
}

// pick reads the records of a batch and marks those that stay. It reports whether there
// is a tombstone among them.
func (c *compaction) pick(b record.Batch) (tombstones bool, err error) {
	if err := c.w.Reset(b, c.cfg.decodeLimit()); err != nil {
		return false, err
	}
	expired := discards(b, c.now)
	for more := true; more; {
		list := c.list[:0:lookAhead]
		for len(list) < cap(list) {
			if more = c.w.Next(&c.r); !more {
				break
			}
			switch r := &c.r; {
			case b.Control():
				c.w.Keep()
			case r.Offset > c.keys.latest: // what the map does not cover
				c.w.Keep()
				tombstones = tombstones || r.Value == nil
			case r.Key == nil: // which a compacted log cannot have
				c.facts.Keyless++
			default:
				k := mapKey{offset: r.Offset, index: c.w.Read() - 1, tombstone: r.Value == nil}
				k.first, k.second = c.keys.hash.of(r.Key)
				list = append(list, k)
			}
		}
		tombstones = c.keep(list, expired) || tombstones
	}
	return tombstones, c.w.Err()
}

// keep marks those of the records listed that stay: the newest of each key does, unless it
// is a tombstone whose time is over. It reports whether there is a tombstone among them.
func (c *compaction) keep(list []mapKey, expired bool) (tombstones bool) {
	c.keys.fetch(list)
	for i := range list {
		k := &list[i]
		newest, known := c.keys.get(k)
		older := known && (k.offset < newest || c.o.Strategy != nil && k.offset != newest)
		if older || k.tombstone && expired {
			continue
		}
		c.w.KeepAt(k.index)
		tombstones = tombstones || k.tombstone
	}
	return tombstones
}

// level is the level to compress a batch with: the topic's, if it is the topic's codec.
func (c *compaction) level(b record.Batch) int {
	if c.cfg.Recompress && b.Codec() == c.cfg.Codec {
		return c.cfg.Level
	}
	return 0
}
