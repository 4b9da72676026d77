package main

import (
	"bytes"
	"context"

	"github.com/quirelog/quire/examples"
	"github.com/quirelog/quire/topic"
)

// A place is where a record lies in the topic.
type place struct {
	partition int32
	offset    int64
}

// survivors is what a killed writer left behind.
type survivors struct {
	present []bool // by line: whether it is in the topic
	count   int
	lost    int // acknowledged, and not at the place that was acknowledged
}

// findSurvivors reads the whole topic and holds it against the acknowledgements: the record of every acknowledged offset must be there,
// byte for byte. More may be there than was acknowledged: what was written and not yet told when the process died.
func findSurvivors(ctx context.Context, t *topic.Topic, visits []examples.Visit, acks []ack) (*survivors, error) {
	s := &survivors{present: make([]bool, len(visits))}
	lineAt := map[place]int{}
	for rec, err := range t.Read(ctx, topic.FromStart(), topic.UntilEnd()) {
		if err != nil {
			return nil, err
		}
		line := lineOf(rec)
		if line < 0 || line >= len(visits) || !sameVisit(rec, visits[line]) {
			continue // not one of ours as we wrote it: whoever was told it is here will miss it below
		}
		lineAt[place{rec.Partition, rec.Offset}] = line
		if !s.present[line] {
			s.present[line] = true
			s.count++
		}
	}
	for _, a := range acks {
		if line, ok := lineAt[place{a.partition, a.offset}]; !ok || line != a.line {
			s.lost++
		}
	}
	return s, ctx.Err()
}

// sameVisit tells whether the record says what the line says.
func sameVisit(rec *topic.Record, v examples.Visit) bool {
	return bytes.Equal(rec.Value, v.Text) && string(rec.Key) == v.Client && rec.Time.Equal(v.Time)
}

// missing lists the visits that are still to be written, in order.
func (s *survivors) missing(visits []examples.Visit) []examples.Visit {
	var list []examples.Visit
	for _, v := range visits {
		if !s.present[v.Line] {
			list = append(list, v)
		}
	}
	return list
}
