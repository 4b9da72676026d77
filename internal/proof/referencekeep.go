package main

import (
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/topic"
)

// fillKept fills a topic that is compacted: with transactions of both ends, one of them
// in the active segment; a producer whose last batch loses its records; tombstones that
// wait; and gaps.
func fillKept(t *topic.Topic, id int) error {
	p, err := t.Partition(0)
	if err != nil {
		return err
	}
	f := &filler{p: p, id: keyedIDs + id}
	aborts, commits, lone := int64(id), int64(id+1), int64(id+2)
	f.add(producerOf(lone, false), 1)
	f.add(producerOf(aborts, true), 2)
	f.add(producerOf(commits, true), 2)
	f.end(aborts, record.Abort)
	f.end(commits, record.Commit)
	for range 12 {
		f.add(record.BuilderConfig{}, 6)
	}
	if f.err == nil {
		_, f.err = p.Compact(ctx())
	}
	last := producerOf(aborts, true)
	last.BaseSequence = 2
	f.add(last, 3)
	f.add(record.BuilderConfig{}, 2)
	f.end(aborts, record.Abort)
	f.add(record.BuilderConfig{}, 2)
	return f.err
}

func producerOf(id int64, transactional bool) record.BuilderConfig {
	return record.BuilderConfig{HasProducer: true, ProducerID: id, Transactional: transactional}
}

// filler appends batches of records with consecutive numbers, up to the first failure.
type filler struct {
	p   *topic.Partition
	id  int
	err error
}

func (f *filler) add(cfg record.BuilderConfig, n int) { f.append(batchOf(cfg, f.id, n), n, false) }

func (f *filler) end(producer int64, kind record.ControlType) {
	f.append(markerOf(f.id, producer, kind), 1, true)
}

func (f *filler) append(b record.Batch, n int, coordinator bool) {
	f.id += n
	if f.err == nil {
		_, f.err = f.p.AppendRaw(ctx(), b, topic.RawAppend{Coordinator: coordinator})
	}
}

// committedIn is how many records of raw are for readers of committed records.
func committedIn(raw []byte, start int64, aborted []log.Aborted) (n int64, err error) {
	for b, err := range record.Batches(raw) {
		if err != nil {
			return 0, err
		}
		if !b.Control() && !hiddenBy(aborted, b) {
			n += int64(b.Count()) - max(start-b.BaseOffset(), 0)
		}
	}
	return n, nil
}

func hiddenBy(aborted []log.Aborted, b record.Batch) bool {
	for _, a := range aborted {
		if b.Transactional() && a.ProducerID == b.ProducerID() && a.First <= b.BaseOffset() && b.LastOffset() <= a.Last {
			return true
		}
	}
	return false
}
