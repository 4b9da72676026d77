package kafkadir

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/quirelog/quire/topic"
)

// look asks an open engine everything about the partition and holds the answers against each other.
func look(e *topic.Engine) (Content, error) {
	var c Content
	p, err := e.Partition(Topic, 0)
	if err != nil {
		return c, err
	}
	at, err := p.Offsets()
	if err != nil {
		return c, err
	}
	c.Start, c.Stable, c.End = at.Start, at.Stable, at.End
	if c.All, err = read(p.Topic(), topic.UntilEnd()); err != nil {
		return c, err
	}
	if c.Committed, err = read(p.Topic(), topic.UntilEnd(), topic.WithIsolation(topic.ReadCommitted)); err != nil {
		return c, err
	}
	ctx := context.Background()
	for _, offset := range probes(c) {
		_, err := p.Get(ctx, offset)
		if there := slices.Contains(c.All, offset); there && err != nil || !there && !errors.Is(err, topic.ErrNoRecord) {
			return c, fmt.Errorf("get of %d: %w", offset, err)
		}
		i, _ := slices.BinarySearch(c.All, offset)
		rest, err := read(p.Topic(), topic.FromOffset(offset), topic.UntilEnd(), topic.ReadAhead(1))
		if err != nil || !slices.Equal(rest, c.All[i:]) {
			return c, fmt.Errorf("from %d: %v, not %v: %w", offset, rest, c.All[i:], err)
		}
	}
	return c, fetched(ctx, p, c)
}

// probes are offsets below the end, on records and between them.
func probes(c Content) (list []int64) {
	for _, offset := range c.All {
		list = append(list, offset-1, offset, offset+1)
	}
	list = append(list, c.Start, c.Start+1, c.End-1)
	slices.Sort(list)
	return slices.DeleteFunc(slices.Compact(list), func(offset int64) bool { return offset < c.Start || offset >= c.End })
}

func read(t *topic.Topic, opts ...topic.ReadOption) (list []int64, err error) {
	for rec, err := range t.Read(context.Background(), opts...) {
		if err != nil {
			return list, err
		}
		list = append(list, rec.Offset)
	}
	return list, nil
}

// fetched reads the raw batches.
func fetched(ctx context.Context, p *topic.Partition, c Content) error {
	for offset := c.Start; offset < c.End; {
		raw, err := p.FetchRaw(ctx, offset, topic.Fetch{MaxBytes: 1})
		if err != nil {
			return fmt.Errorf("fetch at %d: %w", offset, err)
		}
		before := offset
		for b, err := range raw.Batches() {
			if err == nil {
				err = b.Check()
			}
			if err != nil {
				raw.Release()
				return fmt.Errorf("fetch at %d: %w", before, err)
			}
			offset = b.NextOffset()
		}
		raw.Release()
		if offset == before {
			if i, _ := slices.BinarySearch(c.All, offset); i < len(c.All) {
				return fmt.Errorf("fetch at %d: nothing, where %v follow", offset, c.All[i:])
			}
			return nil
		}
	}
	return nil
}
