package main

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/quirelog/quire/examples"
	"github.com/quirelog/quire/topic"
)

// consume reads every record of the topic once, from the first, all partitions at a time.
func consume(ctx context.Context, eng *topic.Engine, t *topic.Topic, each func(*topic.Record)) error {
	c, err := eng.NewConsumer()
	if err != nil {
		return err
	}
	defer c.Close()

	if err := c.AssignTopics(t.Name()); err != nil {
		return err
	}
	left, err := count(t)
	if err != nil {
		return err
	}
	for left > 0 {
		records, err := c.Poll(ctx)
		if err != nil {
			return err
		}
		for i := range records {
			each(&records[i])
		}
		left -= int64(len(records))
	}
	return nil
}

// count adds up the topic's records: its offsets have no gaps, so the ends tell.
func count(t *topic.Topic) (records int64, err error) {
	for n := range int32(t.Partitions()) {
		p, err := t.Partition(n)
		if err != nil {
			return 0, err
		}
		at, err := p.Offsets()
		if err != nil {
			return 0, err
		}
		records += at.High - at.Start
	}
	return records, nil
}

// A tally holds what was read against the input.
type tally struct {
	visits    []examples.Visit
	values    [][]byte // by line: what was read
	consumed  int
	reordered int            // records that came after a later line of the same client
	twice     int            // records whose line had come before
	strange   int            // records that are no line of the input
	last      map[string]int // by client: the latest line that came
	places    []place        // of the good records, as they came
	lines     map[place]int
}

func newTally(visits []examples.Visit) *tally {
	return &tally{visits: visits, values: make([][]byte, len(visits)), last: map[string]int{}, lines: map[place]int{}}
}

// add counts one record.
func (t *tally) add(rec *topic.Record) {
	t.consumed++
	line := lineOf(rec)
	switch {
	case line < 0 || line >= len(t.visits) || !sameVisit(rec, t.visits[line]):
		t.strange++
		return
	case t.values[line] != nil:
		t.twice++
		return
	}
	at := place{rec.Partition, rec.Offset}
	t.values[line], t.lines[at] = rec.Value, line
	t.places = append(t.places, at)
	client := string(rec.Key)
	if last, seen := t.last[client]; seen && line < last {
		t.reordered++
	} else {
		t.last[client] = line
	}
}

// lost counts the lines that did not come back.
func (t *tally) lost() int {
	n := 0
	for _, value := range t.values {
		if value == nil {
			n++
		}
	}
	return n
}

// firstAt is the least offset of a partition whose record is of that time or later, -1 if there is none.
func (t *tally) firstAt(partition int32, at time.Time) int64 {
	first := int64(-1)
	for _, p := range t.places {
		if p.partition == partition && !t.visits[t.lines[p]].Time.Before(at) && (first < 0 || p.offset < first) {
			first = p.offset
		}
	}
	return first
}

// busiest is the client with the most records, and where they lie.
func (t *tally) busiest() (client string, places []place) {
	byClient := map[string][]place{}
	for _, p := range t.places {
		c := t.visits[t.lines[p]].Client
		byClient[c] = append(byClient[c], p)
		if len(byClient[c]) > len(places) {
			client, places = c, byClient[c]
		}
	}
	return client, places
}

// digest is the hash of all that was read, put back into the order of the input.
func (t *tally) digest() [sha256.Size]byte { return digest(t.values) }

// digestOf is the hash of the input.
func digestOf(visits []examples.Visit) [sha256.Size]byte {
	lines := make([][]byte, len(visits))
	for i, v := range visits {
		lines[i] = v.Text
	}
	return digest(lines)
}

func digest(lines [][]byte) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, line := range lines {
		h.Write(line)
		h.Write([]byte{'\n'})
	}
	h.Sum(sum[:0])
	return sum
}
