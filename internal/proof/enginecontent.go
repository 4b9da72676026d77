package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

// topicRecord is record number id as the front door takes it.
func topicRecord(id int) topic.Record {
	r := recordOf(id)
	return topic.Record{Time: time.UnixMilli(r.Timestamp), Key: r.Key, Value: r.Value, Headers: r.Headers}
}

// lowRecord is the other way round.
func lowRecord(r *topic.Record) record.Record {
	return record.Record{Offset: r.Offset, Timestamp: r.Time.UnixMilli(), Key: r.Key, Value: r.Value, Headers: r.Headers}
}

// content is what a directory's readers see, or those of some of its partitions.
type content struct {
	topics []topicContent // sorted by name
}

type topicContent struct {
	name       string
	id         topic.ID
	settings   map[string]string
	partitions []*partContent // nil: not looked at
}

// partContent is one partition: its offsets and the bytes of its batches, in which
// each record with offset, epoch, time, key, value and headers lies.
type partContent struct {
	start, high, end int64
	raw              []byte
	asked            []int64 // times that were looked up, ms since the epoch
	answers          []int64 // the offsets found; -1 for none
	committed        int64   // records that readers of committed records see
}

// scope chooses partitions to look at; nil is all.
type scope func(topic string, partition int32) bool

// contentOf opens a directory, reads everything in scope by offset and by time, and
// closes it: the timer of an engine's scheduler keeps all of an open one in memory. like,
// when not nil, says which times to ask for.
func contentOf(disk vfs.FS, like *content, in scope) (*content, error) {
	eng, err := topic.Open(engineDir, topic.On(disk))
	if err != nil {
		return nil, err
	}
	c, err := readEngine(eng, like, in)
	return c, errors.Join(err, eng.Close())
}

func readEngine(eng *topic.Engine, like *content, in scope) (*content, error) {
	list, err := eng.Topics(ctx())
	if err != nil {
		return nil, err
	}
	c := &content{}
	for _, t := range list {
		tc := topicContent{name: t.Name(), id: t.ID(), settings: t.Overrides()}
		for n := range int32(t.Partitions()) {
			var pc *partContent
			if in == nil || in(t.Name(), n) {
				if pc, err = readPartition(t, n, like.times(t.Name(), n)); err != nil {
					return nil, fmt.Errorf("%s-%d: %w", t.Name(), n, err)
				}
			}
			tc.partitions = append(tc.partitions, pc)
		}
		c.topics = append(c.topics, tc)
	}
	return c, nil
}

// times is what to ask of a partition.
func (c *content) times(name string, n int32) []int64 {
	if c == nil {
		return nil
	}
	for _, t := range c.topics {
		if t.name == name && int(n) < len(t.partitions) && t.partitions[n] != nil {
			return t.partitions[n].asked
		}
	}
	return nil
}

// readPartition reads all of a partition. Without times to ask it finds some.
func readPartition(t *topic.Topic, n int32, asked []int64) (*partContent, error) {
	p, err := t.Partition(n)
	if err != nil {
		return nil, err
	}
	o, err := p.Offsets()
	if err != nil {
		return nil, err
	}
	if f := p.Recovered(); f != nil && len(f.Damage) > 0 {
		return nil, fmt.Errorf("damage found at open: %+v", f.Damage)
	}
	c := &partContent{start: o.Start, high: o.High, end: o.End, asked: asked}
	for b, err := range t.Batches(ctx(), n, topic.FromStart(), topic.UntilEnd(), topic.ReadAhead(8<<10)) {
		if err != nil {
			return nil, err
		}
		c.raw = append(c.raw, b...)
	}
	for _, err := range t.Read(ctx(), topic.OnPartitions(n), topic.FromStart(), topic.UntilEnd(), topic.WithIsolation(topic.ReadCommitted)) {
		if err != nil {
			return nil, err
		}
		c.committed++
	}
	if asked == nil {
		if err := c.chooseTimes(); err != nil {
			return nil, err
		}
	}
	return c, c.ask(p)
}

// chooseTimes takes three times that records carry.
func (c *partContent) chooseTimes() error {
	recs, err := decode(nil, c.raw, c.start)
	for i := 1; i <= 3 && len(recs) > 0; i++ {
		c.asked = append(c.asked, recs[len(recs)*i/4].time-50)
	}
	return err
}

func (c *partContent) ask(p *topic.Partition) error {
	for _, ts := range c.asked {
		pos, _, ok, err := p.OffsetForTime(ctx(), time.UnixMilli(ts))
		if err != nil {
			return err
		}
		if !ok {
			pos.Offset = -1
		}
		c.answers = append(c.answers, pos.Offset)
	}
	return nil
}

// same tells the first difference between what is read and what should be.
func (c *content) same(want *content) error {
	if len(c.topics) != len(want.topics) {
		return faultf(undetected, "%d topics, there were %d", len(c.topics), len(want.topics))
	}
	for i := range c.topics {
		if err := c.topics[i].same(&want.topics[i]); err != nil {
			return err
		}
	}
	return nil
}

func (c *topicContent) same(want *topicContent) error {
	switch {
	case c.name != want.name || c.id != want.id:
		return faultf(undetected, "topic %s %v, was %s %v", c.name, c.id, want.name, want.id)
	case !maps.Equal(c.settings, want.settings):
		return faultf(undetected, "topic %s: settings %v, were %v", c.name, c.settings, want.settings)
	case len(c.partitions) != len(want.partitions):
		return faultf(undetected, "topic %s: %d partitions, there were %d", c.name, len(c.partitions), len(want.partitions))
	}
	for n, got := range c.partitions {
		if got == nil {
			continue
		}
		if err := got.same(want.partitions[n]); err != nil {
			return fmt.Errorf("%s-%d: %w", c.name, n, err)
		}
	}
	return nil
}

func (c *partContent) same(want *partContent) error {
	switch {
	case c.start != want.start || c.high != want.high || c.end != want.end:
		return faultf(undetected, "offsets %d, %d, %d, were %d, %d, %d", c.start, c.high, c.end, want.start, want.high, want.end)
	case !bytes.Equal(c.raw, want.raw):
		return faultf(undetected, "%d bytes of batches are not the %d that were written; first difference at %d",
			len(c.raw), len(want.raw), firstDifference(c.raw, want.raw))
	case c.committed != want.committed:
		return faultf(undetected, "%d records are committed, were %d", c.committed, want.committed)
	case !slices.Equal(c.answers, want.answers):
		return faultf(undetected, "offsets for times %v, were %v", c.answers, want.answers)
	}
	return nil
}

func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}
