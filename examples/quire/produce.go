package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"sync"

	"github.com/quirelog/quire/compress"
	"github.com/quirelog/quire/topic"
)

// maxLine is the longest line that produce takes from standard input.
const maxLine = 64 << 20

func (t *tool) produce(name string, args []string) error {
	f := t.flags(name, "TOPIC", "Append each line of standard input as a record. Returns when all are as durable as the topic asks.")
	dir := dirFlag(f)
	separator := f.String("key-separator", "", "a line is key, `separator`, value; without it lines have no key")
	partition := f.Int("partition", -1, "append to this partition; otherwise the key decides")
	create := f.Bool("create", false, "make the topic, and the directory, if it does not exist")
	producer := producerFlags(f)
	rest, err := t.parse(f, args, 1, 1)
	if err != nil {
		return err
	}
	opts, err := producer.options()
	if err != nil {
		return t.misuse(f, "%v", err)
	}
	if *partition >= 0 {
		opts = append(opts, topic.PartitionBy(topic.Manual()))
	}
	open := t.withData
	if *create {
		open = t.withEngine
	}
	return open(*dir, func(eng *topic.Engine) error {
		if *create {
			if _, err := eng.Topic(t.ctx, rest[0]); err != nil {
				return err
			}
		}
		p, err := eng.NewProducer(opts...)
		if err != nil {
			return err
		}
		in := lines{name: rest[0], separator: []byte(*separator), partition: int32(*partition)}
		return errors.Join(t.send(p, in), p.Close())
	})
}

// lines says what a line of input becomes.
type lines struct {
	name      string
	separator []byte
	partition int32
}

// record splits a line. A line without the separator is an error: a key that was forgotten would go unnoticed.
func (in lines) record(line []byte) (topic.Record, error) {
	rec := topic.Record{Partition: in.partition, Value: line}
	if len(in.separator) == 0 {
		return rec, nil
	}
	key, value, ok := bytes.Cut(line, in.separator)
	if !ok {
		return rec, fmt.Errorf("no %q in it", in.separator)
	}
	rec.Key, rec.Value = key, value
	return rec, nil
}

// send reads standard input to its end, or to the first line that fails.
func (t *tool) send(p *topic.Producer, in lines) error {
	var done outcome
	input := bufio.NewScanner(t.stdin)
	input.Buffer(make([]byte, 64<<10), maxLine)
	sent := 0
	var fault error
	for input.Scan() && done.err() == nil {
		rec, err := in.record(input.Bytes())
		if err == nil {
			err = p.Send(t.ctx, in.name, rec, done.note)
		}
		if err != nil {
			fault = fmt.Errorf("line %d: %w", sent+1, err)
			break
		}
		sent++
	}
	fault = errors.Join(fault, input.Err(), p.Flush(t.ctx), done.err())
	fmt.Fprintf(t.stderr, "%d records written\n", done.count())
	return fault
}

// An outcome counts what producers' callbacks tell.
type outcome struct {
	mu     sync.Mutex
	good   int
	failed error // the first
}

func (o *outcome) note(_ topic.Position, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err == nil {
		o.good++
	} else if o.failed == nil {
		o.failed = err
	}
}

func (o *outcome) err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failed
}

func (o *outcome) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.good
}

// producerChoice is the flags of a producer.
type producerChoice struct {
	codec  *string
	acks   *string
	linger func() topic.ProducerOption
	batch  *int
}

func producerFlags(f *flag.FlagSet) producerChoice {
	linger := f.Duration("linger", 0, "how long a batch that is not full waits for more records")
	return producerChoice{
		codec:  f.String("compress", "", "none, gzip, snappy, lz4 or zstd; otherwise as the topic says"),
		acks:   f.String("acks", "all", "what counts as written: all, 1 or 0"),
		linger: func() topic.ProducerOption { return topic.Linger(*linger) },
		batch:  f.Int("batch-size", topic.DefaultBatchSize, "`bytes` at which a batch is full"),
	}
}

// options turns the flags into what NewProducer takes.
func (c producerChoice) options() ([]topic.ProducerOption, error) {
	opts := []topic.ProducerOption{c.linger(), topic.BatchSize(*c.batch)}
	if *c.codec != "" {
		codec, err := compress.Parse(*c.codec)
		if err != nil {
			return nil, err
		}
		opts = append(opts, topic.Compress(codec))
	}
	for _, level := range []topic.AckLevel{topic.None, topic.Leader, topic.All} {
		if level.String() == *c.acks {
			return append(opts, topic.Acks(level)), nil
		}
	}
	return nil, fmt.Errorf("acks %q is none of all, 1, 0", *c.acks)
}
