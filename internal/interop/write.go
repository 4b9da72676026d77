package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/quirelog/quire/compress"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

// A writer fills a directory through the engine and remembers what is in it, by the names of the partitions' directories.
type writer struct {
	dir     string
	topic   string
	id      topic.ID
	eng     *topic.Engine
	content *content
	records map[string][]topic.Record // what readers see, with offsets
	aborted map[string][]log.Aborted  // as the transaction indexes should list them
	markers map[string][]int64        // offsets of the markers that end transactions
	epochs  map[string][]log.LeaderEpoch

	compacted []string
}

// newWriter opens an engine on a new directory and creates a topic. Its segments are small, so that there are many, and its indexes dense.
func newWriter(dir, name string, partitions int) (*writer, error) {
	eng, err := topic.Open(dir)
	if err != nil {
		return nil, err
	}
	w := &writer{dir: dir, topic: name, eng: eng, content: newContent(), records: map[string][]topic.Record{},
		aborted: map[string][]log.Aborted{}, markers: map[string][]int64{}, epochs: map[string][]log.LeaderEpoch{}}
	t, err := eng.CreateTopic(context.Background(), name, topic.Partitions(partitions), topic.SegmentBytes(segmentBytes),
		topic.Set("index.interval.bytes", "512"))
	if err != nil {
		return nil, errors.Join(err, eng.Close())
	}
	w.id = t.ID()
	return w, nil
}

const segmentBytes = 20_000

func (w *writer) name(partition int32) string { return fmt.Sprintf("%s-%d", w.topic, partition) }

// produce sends n records to a partition by an idempotent producer of its own.
func (w *writer) produce(partition int32, codec compress.Codec, n int) error {
	p, err := w.eng.NewProducer(topic.Compress(codec), topic.PartitionBy(topic.Manual()), topic.BatchSize(2500))
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var fault error
	for _, r := range w.content.many(partition, n) {
		err := p.Send(context.Background(), w.topic, r, func(pos topic.Position, err error) {
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				fault = err
			}
			r.Offset = pos.Offset
			w.records[w.name(partition)] = append(w.records[w.name(partition)], r)
		})
		if err != nil {
			return err
		}
	}
	if err := p.Shutdown(context.Background()); err != nil {
		return err
	}
	mu.Lock()
	defer mu.Unlock()
	w.noteEpoch(w.name(partition), 0, 0)
	return fault
}

// noteEpoch remembers that a leader epoch begins at an offset.
func (w *writer) noteEpoch(name string, epoch int32, start int64) {
	if list := w.epochs[name]; len(list) == 0 || list[len(list)-1].Epoch < epoch {
		w.epochs[name] = append(list, log.LeaderEpoch{Epoch: epoch, Start: start})
	}
}

// A transactor is a transactional producer with its batches made by hand.
type transactor struct {
	w         *writer
	partition *topic.Partition
	id        int64
	epoch     int16
	sequence  int32
	first     int64 // offset of the open transaction's first batch, -1 if none is open
}

func (w *writer) transactor(partition int32, id int64) (*transactor, error) {
	p, err := w.eng.Partition(w.topic, partition)
	return &transactor{w: w, partition: p, id: id, epoch: 3, first: -1}, err
}

func (t *transactor) send(codec compress.Codec, n int) error {
	recs := t.w.content.many(t.partition.ID(), n)
	batch, err := sealed(record.BuilderConfig{Codec: codec, HasProducer: true, ProducerID: t.id, ProducerEpoch: t.epoch,
		BaseSequence: t.sequence, Transactional: true}, recs)
	if err != nil {
		return err
	}
	a, err := t.partition.AppendRaw(context.Background(), batch, topic.RawAppend{})
	if err != nil {
		return err
	}
	if t.first < 0 {
		t.first = a.First
	}
	t.sequence += int32(n)
	name := t.partition.String()
	for i, r := range recs {
		r.Offset = a.First + int64(i)
		t.w.records[name] = append(t.w.records[name], r)
	}
	t.w.noteEpoch(name, 0, 0)
	return nil
}

// end writes the marker. stable is the last stable offset that the transaction index should tell, -1 for right behind the marker.
func (t *transactor) end(how record.ControlType, stable int64) error {
	marker := record.EndTxnMarker(how, t.id, t.epoch, 0, t.w.content.next(0).Time.UnixMilli())
	a, err := t.partition.AppendRaw(context.Background(), marker, topic.RawAppend{Coordinator: true})
	if err != nil {
		return err
	}
	name := t.partition.String()
	t.w.markers[name] = append(t.w.markers[name], a.First)
	if how == record.Abort {
		if stable < 0 {
			stable = a.First + 1
		}
		t.w.aborted[name] = append(t.w.aborted[name], log.Aborted{ProducerID: t.id, First: t.first, Last: a.First, Stable: stable})
	}
	t.first = -1
	return nil
}

// transact writes transactions of two producers that overlap, committed and aborted, over several segments. With leaveOpen one more begins
// and does not end.
func (w *writer) transact(partition int32, leaveOpen bool) error {
	a, err := w.transactor(partition, 1<<40)
	if err != nil {
		return err
	}
	b, err := w.transactor(partition, 1<<40+1)
	if err != nil {
		return err
	}
	list := codecs()
	for round := range 20 {
		codec := list[round%len(list)]
		steps := []func() error{
			func() error { return a.send(codec, 12) },
			func() error { return b.send(codec, 7) },
			func() error { return a.send(codec, 5) },
			func() error { return a.end(record.ControlType(round%2), b.first) },
			func() error { return b.send(codec, 20) },
			func() error { return b.end(record.ControlType(round/2%2), -1) },
		}
		for _, step := range steps {
			if err := step(); err != nil {
				return err
			}
		}
	}
	if !leaveOpen {
		return nil
	}
	return b.send(compress.LZ4, 3)
}

// deleteBefore raises the partition's start.
func (w *writer) deleteBefore(partition int32, offset int64) error {
	p, err := w.eng.Partition(w.topic, partition)
	if err != nil {
		return err
	}
	start, err := p.DeleteRecords(context.Background(), offset)
	if err != nil {
		return err
	}
	name := w.name(partition)
	w.records[name] = slices.DeleteFunc(w.records[name], func(r topic.Record) bool { return r.Offset < start })
	return nil
}

// lead appends n records to a partition under a new leader epoch, as a new leader of a replicated partition would, below the closed engine.
func (w *writer) lead(partition, epoch int32, n int) error {
	name := w.name(partition)
	l, _, err := log.Open(vfs.OS(), filepath.Join(w.dir, name), &log.Config{SegmentBytes: segmentBytes, IndexInterval: 512}, log.OpenState{Epoch: epoch})
	if err != nil {
		return err
	}
	w.noteEpoch(name, epoch, l.End())
	for range n {
		recs := w.content.many(partition, 9)
		batch, err := sealed(record.BuilderConfig{Codec: compress.Zstd}, recs)
		if err != nil {
			return err
		}
		a, err := l.Append(context.Background(), batch, log.AppendOptions{})
		if err != nil {
			return err
		}
		for i, r := range recs {
			r.Offset = a.Base + int64(i)
			w.records[name] = append(w.records[name], r)
		}
	}
	return l.Close()
}

// compact compacts a partition below the closed engine: one pass, and a second so much later that tombstones go too. Of the sealed segments the
// last record of each key stays, if it has a value.
func (w *writer) compact(partition int32) error {
	name := w.name(partition)
	l, _, err := log.Open(vfs.OS(), filepath.Join(w.dir, name), &log.Config{SegmentBytes: segmentBytes, IndexInterval: 512, Compacted: true}, log.OpenState{})
	if err != nil {
		return err
	}
	segments := l.Segments()
	active := segments[len(segments)-1].Base
	for _, later := range []time.Duration{0, 48 * time.Hour} {
		if _, err := l.Compact(context.Background(), log.CompactOptions{Now: time.Now().Add(later)}); err != nil {
			return errors.Join(err, l.Close())
		}
	}
	last := map[string]int64{}
	for _, r := range w.records[name] {
		if r.Offset < active {
			last[string(r.Key)] = r.Offset
		}
	}
	w.records[name] = slices.DeleteFunc(w.records[name], func(r topic.Record) bool {
		return r.Offset < active && (r.Value == nil || last[string(r.Key)] != r.Offset)
	})
	w.compacted = append(w.compacted, name)
	return l.Close()
}

// sort puts what callbacks told in the order of offsets.
func (w *writer) sort() {
	for _, recs := range w.records {
		slices.SortFunc(recs, func(a, b topic.Record) int { return cmp.Compare(a.Offset, b.Offset) })
	}
}

// total is the number of records.
func (w *writer) total() (n int) {
	for _, recs := range w.records {
		n += len(recs)
	}
	return n
}

// end is the offset behind the last record or marker of a partition.
func (w *writer) end(name string) (offset int64) {
	if recs := w.records[name]; len(recs) > 0 {
		offset = recs[len(recs)-1].Offset + 1
	}
	if markers := w.markers[name]; len(markers) > 0 {
		offset = max(offset, markers[len(markers)-1]+1)
	}
	return offset
}
