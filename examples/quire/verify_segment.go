package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/quirelog/quire/index"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/segment"
)

// A segmentCheck holds a segment's data against everything that is said about it elsewhere.
type segmentCheck struct {
	p    *partitionCheck
	base int64
	last bool // the last segment of its partition: it may be written at this moment
	path string

	sums    *segment.Side // nil when there are none
	gaps    bool
	offsets table // entries still to be met
	times   table

	batches      int64
	end          int64 // position behind the last good batch
	next         int64 // offset behind it
	maxTimestamp int64
}

// A table is an index file whose entries are met one after the other.
type table struct {
	path string
	data []byte // all used bytes
	rest []byte // those not met yet
}

func (p *partitionCheck) file(base int64, suffix string) string {
	return filepath.Join(p.dir, segment.FileName(base, suffix))
}

// segment checks one segment: its data from the first byte to the last, and its index and side files against it.
func (p *partitionCheck) segment(base int64, last bool) error {
	c := &segmentCheck{p: p, base: base, last: last, path: p.file(base, segment.LogSuffix), next: base, maxTimestamp: -1}
	if p.next >= 0 && base != p.next && !p.gaps {
		p.v.damage(c.path, "offsets [%d, %d) are missing before this segment", p.next, base)
	}
	p.v.sum.Segments++
	if err := c.readBeside(); err != nil {
		return err
	}
	err := c.readData()
	if errors.Is(err, fs.ErrNotExist) {
		return nil // deleted meanwhile, by a program that has the directory open
	} else if err != nil {
		return err
	}
	c.checkTables()
	if c.sums != nil {
		c.checkSums()
	}
	p.next = c.next
	return nil
}

// readBeside reads the index and side files, before the data: of a segment that is being written they then say less than the data, not more.
func (c *segmentCheck) readBeside() error {
	path := c.p.file(c.base, segment.SumsSuffix)
	data, err := readSmall(path)
	if err == nil {
		if c.sums, err = segment.DecodeSide(data); err != nil {
			c.p.v.damage(path, "%v", err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	c.gaps = c.p.gaps || c.sums != nil && c.sums.Sparse || c.p.hasSlot && c.p.slot.Sparse
	if c.offsets, err = c.readTable(segment.IndexSuffix, index.OffsetEntrySize); err != nil {
		return err
	}
	c.times, err = c.readTable(segment.TimeIndexSuffix, index.TimeEntrySize)
	return err
}

func (c *segmentCheck) readTable(suffix string, width int) (table, error) {
	path := c.p.file(c.base, suffix)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return table{path: path}, nil
	}
	data = data[:used(data, width)]
	return table{path, data, data}, err
}

func (c *segmentCheck) readData() error {
	data, err := openData(c.path)
	if err != nil {
		return err
	}
	defer data.close()
	for s, err := range data.spans() {
		if err != nil {
			return fmt.Errorf("%s: %w", c.path, err)
		}
		if err := c.p.v.ctx.Err(); err != nil {
			return err
		}
		c.span(s)
		c.p.v.read += s.size
		c.p.v.bar.Show(c.p.v.read)
	}
	return nil
}

// span judges a stretch of the data file.
func (c *segmentCheck) span(s span) {
	v := c.p.v
	switch {
	case errors.Is(s.fault, errZeros) && c.p.torn(c.base, s.pos, c.last):
		return
	case s.fault != nil && c.p.torn(c.base, s.pos, c.last):
		v.note(c.path, "%d bytes at %d behind the durable end: %v", s.size, s.pos, s.fault)
		return
	case s.fault != nil:
		v.damage(c.path, "%d bytes at %d, behind offset %d: %v", s.size, s.pos, c.next-1, s.fault)
		if s.batch == nil {
			c.gaps = true // told already
		} else {
			c.next = max(c.next, s.batch.NextOffset())
		}
		return
	}
	c.batch(s)
}

// batch checks a sound batch: its offsets, its records, and that the indexes agree.
func (c *segmentCheck) batch(s span) {
	v, b := c.p.v, s.batch
	if b.BaseOffset() < c.next || b.BaseOffset() > c.next && !c.gaps {
		v.damage(c.path, "batch at %d begins with offset %d, expected %d", s.pos, b.BaseOffset(), c.next)
	}
	if !b.Control() {
		info, err := b.CheckRecords(&c.p.dec, 0)
		if err != nil {
			v.damage(c.path, "batch at %d, offsets %d-%d: %v", s.pos, b.BaseOffset(), b.LastOffset(), err)
		} else if b.TimestampType() == record.CreateTime && info.MaxTimestamp > b.MaxTimestamp() {
			v.damage(c.path, "batch at %d: a record's time %d is above the batch's largest, %d", s.pos, info.MaxTimestamp, b.MaxTimestamp())
		}
	} else if _, _, err := record.ParseControl(b); err != nil {
		v.damage(c.path, "control batch at %d: %v", s.pos, err)
	}
	c.maxTimestamp = max(c.maxTimestamp, b.MaxTimestamp())
	c.next, c.end = b.NextOffset(), s.pos+s.size
	c.batches++
	v.sum.Batches++
	v.sum.Records += b.Count()
	v.sum.Bytes += s.size
	c.meetOffset(s.pos, b.LastOffset())
	c.meetTime(b.LastOffset())
}

// meetOffset compares the next entry of the offset index with the batch at its position.
func (c *segmentCheck) meetOffset(pos, lastOffset int64) {
	for len(c.offsets.rest) >= index.OffsetEntrySize {
		e := readOffset(c.base, c.offsets.rest)
		if e.Pos > pos {
			return
		}
		if e.Pos < pos || e.Offset != lastOffset {
			c.p.v.damage(c.offsets.path, "entry %v is not where a batch begins and what it ends with", e)
		}
		c.offsets.rest = c.offsets.rest[index.OffsetEntrySize:]
	}
}

// meetTime compares the next entry of the time index with the largest timestamp up to its offset.
func (c *segmentCheck) meetTime(lastOffset int64) {
	for len(c.times.rest) >= index.TimeEntrySize {
		e := readTime(c.base, c.times.rest)
		if e.Offset > lastOffset {
			return
		}
		if e.Timestamp != c.maxTimestamp {
			c.p.v.damage(c.times.path, "entry %v: the largest time up to there is %d", e, c.maxTimestamp)
		}
		c.times.rest = c.times.rest[index.TimeEntrySize:]
	}
}

// checkTables checks the index files as a whole: whole entries that rise, none beyond the data. Entries of batches that were cut off with a
// torn tail are no damage: the next open drops them.
func (c *segmentCheck) checkTables() {
	v := c.p.v
	size := max(c.end, 1)
	for _, t := range []struct {
		table
		sound int
	}{
		{c.offsets, index.CheckOffsets(c.offsets.data, c.base, c.next, size)},
		{c.times, index.CheckTimes(c.times.data, c.base, c.next)},
	} {
		if rest := len(t.data) - t.sound; rest > 0 && !c.last {
			v.damage(t.path, "the last %d bytes are no sound entries for offsets below %d", rest, c.next)
		} else if rest > 0 {
			v.note(t.path, "the last %d bytes are no sound entries for offsets below %d", rest, c.next)
		}
	}
	path := c.p.file(c.base, segment.TxnIndexSuffix)
	data, err := readSmall(path)
	if err == nil && index.CheckAborted(data, c.base, c.next) != len(data) {
		v.damage(path, "not a sound list of aborted transactions")
	}
}

// checkSums compares the side file of a sealed segment with what was read.
func (c *segmentCheck) checkSums() {
	v, s, path := c.p.v, c.sums, c.p.file(c.base, segment.SumsSuffix)
	if s.Base != c.base || s.Next != c.next || s.Size != c.end || s.Batches != c.batches || s.MaxTimestamp != c.maxTimestamp {
		v.damage(path, "says offsets [%d, %d), %d batches in %d bytes, largest time %d; the data has [%d, %d), %d in %d, %d",
			s.Base, s.Next, s.Batches, s.Size, s.MaxTimestamp, c.base, c.next, c.batches, c.end, c.maxTimestamp)
	}
	for _, t := range []struct {
		table
		want index.Sum
	}{{c.offsets, s.Offsets}, {c.times, s.Times}} {
		if got := index.SumOf(t.data); got != t.want {
			v.damage(t.path, "%d bytes with checksum %08x, the side file says %d with %08x", got.Len, got.CRC, t.want.Len, t.want.CRC)
		}
	}
}
