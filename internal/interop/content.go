package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/quirelog/quire/compress"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/topic"
)

// codecs is all of them; each has a partition, or its turn, wherever this program writes.
func codecs() []compress.Codec {
	return []compress.Codec{compress.None, compress.Gzip, compress.Snappy, compress.LZ4, compress.Zstd}
}

// content makes records: text only, so that Kafka's printing tools can be compared with, null and empty keys and values, headers with and
// without values, times that go back and forth.
type content struct {
	begin time.Time
	made  int
	keyed bool // no record without a key, as a compacted partition wants it
}

// newContent begins an hour ago: a day after their last record producers are forgotten.
func newContent() *content {
	return &content{begin: time.Now().Add(-time.Hour).Truncate(time.Millisecond)}
}

func (c *content) next(partition int32) topic.Record {
	i := c.made
	c.made++
	at := c.begin.Add(time.Duration(i) * 7 * time.Millisecond)
	if i%11 == 0 {
		at = at.Add(-time.Duration(i%5) * time.Second)
	}
	r := topic.Record{Partition: partition, Time: at, Key: fmt.Appendf(nil, "key-%d", i%131)}
	switch {
	case i%17 == 0 && !c.keyed:
		r.Key = nil
	case i%23 == 0:
		r.Key = []byte{}
	}
	switch {
	case i%13 == 0:
	case i%29 == 0:
		r.Value = []byte{}
	default:
		r.Value = []byte(strings.Repeat(fmt.Sprintf("value %d of %d.", i, partition), 1+i%9))
	}
	if i%3 == 0 {
		r.Headers = []topic.Header{{Key: "trace", Value: fmt.Appendf(nil, "%x", i*7919)}, {Key: "again", Value: nil}, {Key: "again", Value: []byte("yes")}}
	}
	return r
}

// many makes n records.
func (c *content) many(partition int32, n int) []topic.Record {
	list := make([]topic.Record, n)
	for i := range list {
		list[i] = c.next(partition)
	}
	return list
}

// sealed makes a batch of records.
func sealed(cfg record.BuilderConfig, recs []topic.Record) (record.Batch, error) {
	b := record.NewBuilder(cfg)
	for _, r := range recs {
		if err := b.Add(&record.Record{Timestamp: r.Time.UnixMilli(), Key: r.Key, Value: r.Value, Headers: r.Headers}); err != nil {
			return nil, err
		}
	}
	return b.Seal()
}
