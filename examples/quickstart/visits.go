package main

import (
	"context"
	"errors"
	"strconv"

	"github.com/quirelog/quire/compress"
	"github.com/quirelog/quire/examples"
	"github.com/quirelog/quire/topic"
)

const (
	topicName  = "visits"
	partitions = 4
	lineHeader = "line" // the header that carries the line's number, so that each record can be traced to its line
)

// open opens the directory and creates the topic, or finds it there.
func open(ctx context.Context, dir string) (*topic.Engine, *topic.Topic, error) {
	eng, err := topic.Open(dir)
	if err != nil {
		return nil, nil, err
	}
	t, err := eng.Topic(ctx, topicName,
		topic.Partitions(partitions),
		topic.Compression(compress.LZ4),
		topic.Retention(-1)) // for ever, which is the default: what happened in 2015 is to stay
	if err != nil {
		return nil, nil, errors.Join(err, eng.Close())
	}
	return eng, t, nil
}

// recordOf is how a line of the log becomes a record.
func recordOf(v examples.Visit) topic.Record {
	return topic.Record{
		Key:     []byte(v.Client),
		Value:   v.Text,
		Time:    v.Time,
		Headers: []topic.Header{{Key: lineHeader, Value: strconv.AppendInt(nil, int64(v.Line), 10)}},
	}
}

// lineOf is the way back: the number of the line a record was made of, -1 if it carries none.
func lineOf(rec *topic.Record) int {
	for _, h := range rec.Headers {
		if h.Key == lineHeader {
			if n, err := strconv.Atoi(string(h.Value)); err == nil {
				return n
			}
		}
	}
	return -1
}
