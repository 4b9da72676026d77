package kafkadir

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"path/filepath"

	"github.com/quirelog/quire/index"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/segment"
)

// Dir is the data directory that a partition is written to, Topic its topic. It is the only partition.
const (
	Dir   = "data"
	Topic = "t"
)

// epochMillis is the time of the first record: far enough ahead that no retention by age reaches it.
const epochMillis = 4102444800000

// Kind is what a batch holds.
type Kind uint8

// The kinds of batches.
const (
	Plain  Kind = iota
	Data        // records of a transaction
	Commit      // the marker that ends one
	Abort
)

// Batch is a batch of Count records with consecutive offsets, none left out; a marker is one record.
type Batch struct {
	Offset   int64
	Count    int
	Kind     Kind
	Producer int64 // of a transaction
	Epoch    int32 // leader epoch
}

// Next is the offset behind the batch.
func (b Batch) Next() int64 { return b.Offset + int64(max(b.Count, 1)) }

// Segment is a data file.
type Segment struct {
	Base    int64
	Batches []Batch
}

// Partition is a partition's directory and what the checkpoint files say of it. The zero values mean: no such file, no such line.
type Partition struct {
	Segments      []Segment
	Clean         bool  // the broker was stopped in order
	RecoveryPoint int64 // of the checkpoint file
	Start         int64 // of the checkpoint file
	Indexes       bool  // offset and time indexes with an entry for each batch; else empty ones
	Aborted       bool  // .txnindex files
	Snapshots     bool  // producer state at the begin of each segment and at the end
	Epochs        bool  // the history of leader epochs
}

// Write writes the files to an empty file system, durably.
func (p *Partition) Write(fsys vfs.FS) error {
	dir := filepath.Join(Dir, Topic+"-0")
	if err := errors.Join(fsys.MkdirAll(dir), fsys.SyncDir(".")); err != nil {
		return err
	}
	for name, data := range p.files() {
		if err := vfs.WriteFile(fsys, filepath.Join(dir, name), data); err != nil {
			return err
		}
	}
	if p.Clean {
		if err := vfs.WriteFile(fsys, filepath.Join(Dir, ".kafka_cleanshutdown"), []byte(`{"version":0,"brokerEpoch":-1}`)); err != nil {
			return err
		}
	}
	for name, offset := range map[string]int64{log.RecoveryPointFile: p.RecoveryPoint, log.LogStartFile: p.Start} {
		if offset == 0 {
			continue
		}
		line := log.OffsetCheckpoint{{Topic: Topic}: offset}
		if err := log.WriteOffsetCheckpoint(fsys, filepath.Join(Dir, name), line); err != nil {
			return err
		}
	}
	return fsys.SyncDir(Dir)
}

// files is the partition's directory.
func (p *Partition) files() map[string][]byte {
	all := map[string][]byte{}
	state := newReplay()
	n := int64(0) // batches so far
	for _, s := range p.Segments {
		if p.Snapshots && s.Base > 0 {
			all[segment.FileName(s.Base, segment.SnapshotSuffix)] = state.snapshot()
		}
		f := files{base: s.Base}
		for _, b := range s.Batches {
			n++
			f.add(b, n)
			if txn, ok := state.apply(b); ok && b.Kind == Abort {
				f.aborted = index.AppendAborted(f.aborted, txn)
			}
		}
		f.save(all, p)
	}
	if p.Snapshots {
		all[segment.FileName(p.end(), segment.SnapshotSuffix)] = state.snapshot()
	}
	if p.Epochs {
		all[log.LeaderEpochFile] = log.EncodeLeaderEpochs(p.epochs())
	}
	return all
}

func (p *Partition) epochs() (list []log.LeaderEpoch) {
	for b := range p.batches() {
		if n := len(list); n == 0 || list[n-1].Epoch < b.Epoch {
			list = append(list, log.LeaderEpoch{Epoch: b.Epoch, Start: b.Offset})
		}
	}
	return list
}

// files is a segment's files in the making.
type files struct {
	base                          int64
	data, offsets, times, aborted []byte
}

// add appends the n-th batch of the partition.
func (f *files) add(b Batch, n int64) {
	raw, be := encode(b, n), binary.BigEndian
	pos, last := int64(len(f.data)), b.Next()-1
	if rel := last - f.base; rel <= math.MaxInt32 { // the limit of an entry
		if pos > 0 {
			f.offsets = be.AppendUint32(be.AppendUint32(f.offsets, uint32(rel)), uint32(pos))
		}
		f.times = be.AppendUint32(be.AppendUint64(f.times, uint64(timeOf(n))), uint32(rel))
	}
	f.data = append(f.data, raw...)
}

func (f *files) save(all map[string][]byte, p *Partition) {
	all[segment.FileName(f.base, segment.LogSuffix)] = f.data
	all[segment.FileName(f.base, segment.IndexSuffix)], all[segment.FileName(f.base, segment.TimeIndexSuffix)] = nil, nil
	if p.Indexes {
		all[segment.FileName(f.base, segment.IndexSuffix)], all[segment.FileName(f.base, segment.TimeIndexSuffix)] = f.offsets, f.times
	}
	if p.Aborted && len(f.aborted) > 0 {
		all[segment.FileName(f.base, segment.TxnIndexSuffix)] = f.aborted
	}
}

// timeOf is the time of the records of the n-th batch.
func timeOf(n int64) int64 { return epochMillis + n }

// encode is the bytes of the n-th batch.
func encode(b Batch, n int64) record.Batch {
	raw := record.EndTxnMarker(record.Abort, b.Producer, 0, 0, timeOf(n))
	switch b.Kind {
	case Commit:
		raw = record.EndTxnMarker(record.Commit, b.Producer, 0, 0, timeOf(n))
	case Plain, Data:
		cfg := record.BuilderConfig{HasProducer: b.Kind == Data, ProducerID: b.Producer, Transactional: b.Kind == Data, BaseSequence: int32(b.Offset % math.MaxInt32)}
		builder := record.NewBuilder(cfg)
		for i := range b.Count {
			r := record.Record{Timestamp: timeOf(n), Key: fmt.Appendf(nil, "key of %d", b.Offset+int64(i)), Value: []byte("v")}
			if builder.Add(&r) != nil {
				return nil // a record of this size always fits
			}
		}
		raw, _ = builder.Seal()
	}
	raw.SetBaseOffset(b.Offset)
	raw.SetLeaderEpoch(b.Epoch)
	return raw
}
