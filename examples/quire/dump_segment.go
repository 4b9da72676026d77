package main

import (
	"errors"
	"fmt"

	"github.com/quirelog/quire/log/record"
)

// batchFact is a batch's header.
type batchFact struct {
	Kind          string `json:"kind"`
	Pos           int64  `json:"pos"`
	Size          int64  `json:"size"`
	BaseOffset    int64  `json:"baseOffset"`
	LastOffset    int64  `json:"lastOffset"`
	Count         int    `json:"count"`
	LeaderEpoch   int32  `json:"leaderEpoch"`
	Codec         string `json:"codec"`
	Timestamps    string `json:"timestamps"`
	BaseTimestamp int64  `json:"baseTimestamp"`
	MaxTimestamp  int64  `json:"maxTimestamp"`
	ProducerID    int64  `json:"producerId"`
	ProducerEpoch int16  `json:"producerEpoch"`
	BaseSequence  int32  `json:"baseSequence"`
	LastSequence  int32  `json:"lastSequence"`
	Transactional bool   `json:"transactional"`
	Control       bool   `json:"control"`
	DeleteHorizon bool   `json:"deleteHorizon"`
	CRC           uint32 `json:"crc"`
	Sound         bool   `json:"sound"`
}

func (b batchFact) String() string {
	s := fmt.Sprintf("batch at %d, %d bytes: offsets %d-%d, %d records, %s, %s %s to %s, leader epoch %d, crc %08x", b.Pos, b.Size,
		b.BaseOffset, b.LastOffset, b.Count, b.Codec, b.Timestamps, showMillis(b.BaseTimestamp), showMillis(b.MaxTimestamp), b.LeaderEpoch, b.CRC)
	if b.ProducerID != record.NoProducer {
		s += fmt.Sprintf(", producer %d epoch %d sequence %d-%d", b.ProducerID, b.ProducerEpoch, b.BaseSequence, b.LastSequence)
	}
	return s + ifSo(b.Transactional, ", transactional") + ifSo(b.Control, ", control") + ifSo(b.DeleteHorizon, ", base time is a delete horizon")
}

func batchFacts(pos int64, b record.Batch, sound bool) batchFact {
	return batchFact{
		Kind: "batch", Pos: pos, Size: int64(len(b)), BaseOffset: b.BaseOffset(), LastOffset: b.LastOffset(), Count: b.Count(),
		LeaderEpoch: b.LeaderEpoch(), Codec: b.Codec().String(), Timestamps: b.TimestampType().String(), BaseTimestamp: b.BaseTimestamp(),
		MaxTimestamp: b.MaxTimestamp(), ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch(), BaseSequence: b.BaseSequence(),
		LastSequence: b.LastSequence(), Transactional: b.Transactional(), Control: b.Control(), DeleteHorizon: b.HasDeleteHorizon(),
		CRC: b.CRC(), Sound: sound,
	}
}

// storedFact is a record as it lies in a batch.
type storedFact struct {
	Kind      string       `json:"kind"`
	Offset    int64        `json:"offset"`
	Timestamp int64        `json:"timestamp"`
	Key       text         `json:"key"`
	Value     text         `json:"value"`
	Headers   []headerFact `json:"headers,omitempty"`
}

func (r storedFact) String() string {
	s := fmt.Sprintf("  %d %s key %s value %s", r.Offset, showMillis(r.Timestamp), quote(r.Key), quote(r.Value))
	for _, h := range r.Headers {
		s += fmt.Sprintf(" %s:%s", h.Key, quote(h.Value))
	}
	return s
}

func quote(b []byte) string {
	if b == nil {
		return "null"
	}
	return fmt.Sprintf("%q", b)
}

// markerFact is the record of a control batch.
type markerFact struct {
	Kind             string `json:"kind"`
	Offset           int64  `json:"offset"`
	Type             string `json:"type"`
	CoordinatorEpoch int32  `json:"coordinatorEpoch"`
}

func (m markerFact) String() string {
	return fmt.Sprintf("  %d marker %s, coordinator epoch %d", m.Offset, m.Type, m.CoordinatorEpoch)
}

// tailFact is space that was written ahead.
type tailFact struct {
	Kind string `json:"kind"`
	Pos  int64  `json:"pos"`
	Size int64  `json:"size"`
}

func (z tailFact) String() string {
	return fmt.Sprintf("%d bytes of zeros from %d to the end", z.Size, z.Pos)
}

// batches prints a data file.
func (d *dumper) batches() error {
	data, err := openData(d.path)
	if err != nil {
		return err
	}
	defer data.close()
	var dec record.Decoder
	for s, err := range data.spans() {
		if err != nil {
			return err
		}
		if err := d.span(s, &dec); err != nil {
			return err
		}
	}
	return nil
}

func (d *dumper) span(s span, dec *record.Decoder) error {
	if errors.Is(s.fault, errZeros) {
		return d.show(tailFact{"zeros", s.pos, s.size})
	}
	if s.batch != nil {
		if err := d.show(batchFacts(s.pos, s.batch, s.fault == nil)); err != nil {
			return err
		}
	}
	if s.fault != nil {
		return d.damage(s.pos, s.size, s.fault)
	}
	if !d.records {
		return nil
	}
	if s.batch.Control() {
		return d.marker(s)
	}
	return d.stored(s, dec)
}

func (d *dumper) marker(s span) error {
	kind, epoch, err := record.ParseControl(s.batch)
	if err != nil {
		return d.damage(s.pos, s.size, err)
	}
	return d.show(markerFact{"marker", s.batch.BaseOffset(), kind.String(), epoch})
}

// stored prints the records of a sound batch.
func (d *dumper) stored(s span, dec *record.Decoder) error {
	if err := dec.Reset(s.batch, record.MaxDecodeLimit); err != nil {
		return d.damage(s.pos, s.size, err)
	}
	var r record.Record
	for dec.Next(&r) {
		if err := d.show(storedFact{"record", r.Offset, r.Timestamp, r.Key, r.Value, headerFacts(r.Headers)}); err != nil {
			return err
		}
	}
	if err := dec.Err(); err != nil {
		return d.damage(s.pos, s.size, err)
	}
	return nil
}
