package log

import (
	"errors"
	"fmt"

	"github.com/quirelog/quire/log/record"
)

// errMapped ends a sweep when nothing more is to be mapped.
var errMapped = errors.New("mapped")

// buildMap fills the offset map from the first dirty offset up to the first uncleanable
// one, or until it is full: then the segment where that happened is mapped in part.
func (c *compaction) buildMap() (err error) {
	from := c.facts.From
	if c.keys, err = newOffsetMap(c.o.Memory, c.upper-from, c.o.Strategy != nil); err != nil {
		return err
	}
	c.keys.latest = from - 1
	if from >= c.upper {
		return nil
	}
	if err := c.txns.learn(c.l, from, c.upper); err != nil {
		return err
	}
	for _, s := range c.l.viewed(from, c.upper) {
		if !s.Pin() {
			continue // deleted meanwhile
		}
		err := s.Sweep(&c.sweeper, from, c.mapBatch)
		s.Unpin()
		if errors.Is(err, errMapped) {
			break
		}
		if err != nil {
			return err
		}
	}
	if !c.facts.MapFull {
		c.keys.latest = c.upper - 1 // across gaps too
	}
	return nil
}

// mapBatch maps the records of a batch that are dirty and count.
func (c *compaction) mapBatch(b record.Batch) error {
	if err := c.account(len(b)); err != nil {
		return err
	}
	c.facts.BytesRead += int64(len(b))
	if b.BaseOffset() >= c.upper {
		return errMapped
	}
	if !b.Control() && c.txns.abortedAt(b) == nil {
		if err := c.mapRecords(b); err != nil {
			return err
		}
	}
	c.keys.latest = max(c.keys.latest, min(b.LastOffset(), c.upper-1))
	return nil
}

func (c *compaction) mapRecords(b record.Batch) error {
	if err := c.w.Reset(b, c.cfg.decodeLimit()); err != nil {
		if errors.Is(err, record.ErrTooLarge) {
			return nil // stays as it is, and so does what it would supersede
		}
		return err
	}
	for more := true; more; {
		list := c.list[:0:lookAhead]
		for len(list) < cap(list) {
			if more = c.w.Next(&c.r); !more {
				break
			}
			r := &c.r
			if r.Key == nil || r.Offset < c.facts.From || r.Offset >= c.upper {
				continue
			}
			version, err := c.rank(r)
			if err != nil {
				return err
			}
			k := mapKey{offset: r.Offset, version: version}
			k.first, k.second = c.keys.hash.of(r.Key)
			list = append(list, k)
		}
		if err := c.mapKeys(list); err != nil {
			return err
		}
	}
	return c.w.Err()
}

// mapKeys maps as many as there is room for.
func (c *compaction) mapKeys(list []mapKey) error {
	c.keys.fetch(list)
	for i := range list {
		if c.keys.full() {
			c.facts.MapFull = true
			return errMapped
		}
		c.keys.put(&list[i])
		c.keys.latest = max(c.keys.latest, list[i].offset)
	}
	return nil
}

// rank asks the strategy, whose panic ends the pass.
func (c *compaction) rank(r *record.Record) (version int64, err error) {
	if c.o.Strategy == nil {
		return 0, nil
	}
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("log: compaction strategy panicked at offset %d: %v", r.Offset, v)
		}
	}()
	return c.o.Strategy.Version(r), nil
}
