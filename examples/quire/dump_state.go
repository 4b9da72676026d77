package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/quirelog/quire/log"
)

// producerFact is an entry of a producer snapshot.
type producerFact struct {
	Kind             string `json:"kind"`
	ProducerID       int64  `json:"producerId"`
	Epoch            int16  `json:"epoch"`
	LastSequence     int32  `json:"lastSequence"`
	LastOffset       int64  `json:"lastOffset"`
	OffsetDelta      int32  `json:"offsetDelta"`
	LastTimestamp    int64  `json:"lastTimestamp"`
	CoordinatorEpoch int32  `json:"coordinatorEpoch"`
	TxnStart         int64  `json:"txnStart"`
}

func (p producerFact) String() string {
	return fmt.Sprintf("producer %d epoch %d: last sequence %d, last offset %d, offset delta %d, last time %s, coordinator epoch %d, open transaction from %d",
		p.ProducerID, p.Epoch, p.LastSequence, p.LastOffset, p.OffsetDelta, showMillis(p.LastTimestamp), p.CoordinatorEpoch, p.TxnStart)
}

func (d *dumper) snapshot() error {
	data, err := d.small()
	if err != nil {
		return err
	}
	states, err := log.DecodeProducerSnapshot(data)
	if err != nil {
		return d.damage(0, int64(len(data)), err)
	}
	for _, s := range states {
		fact := producerFact{"producer", s.ProducerID, s.Epoch, s.LastSequence, s.LastOffset, s.OffsetDelta, s.LastTimestamp, s.CoordinatorEpoch, s.TxnStart}
		if err := d.show(fact); err != nil {
			return err
		}
	}
	return nil
}

// epochFact is an entry of a leader epoch history.
type epochFact struct {
	Kind  string `json:"kind"`
	Epoch int32  `json:"epoch"`
	Start int64  `json:"start"`
}

func (e epochFact) String() string {
	return fmt.Sprintf("leader epoch %d from offset %d", e.Epoch, e.Start)
}

func (d *dumper) epochs() error {
	data, err := d.small()
	if err != nil {
		return err
	}
	list, err := log.DecodeLeaderEpochs(data)
	if err != nil {
		return d.damage(0, int64(len(data)), err)
	}
	for _, e := range list {
		if err := d.show(epochFact{"epoch", e.Epoch, e.Start}); err != nil {
			return err
		}
	}
	return nil
}

// checkpointFact is an entry of an offset checkpoint.
type checkpointFact struct {
	Kind      string `json:"kind"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

func (c checkpointFact) String() string {
	return fmt.Sprintf("%s-%d offset %d", c.Topic, c.Partition, c.Offset)
}

func (d *dumper) checkpoint() error {
	data, err := d.small()
	if err != nil {
		return err
	}
	offsets, err := log.DecodeOffsetCheckpoint(data)
	if err != nil {
		return d.damage(0, int64(len(data)), err)
	}
	byName := func(a, b log.TopicPartition) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	}
	for _, tp := range slices.SortedFunc(maps.Keys(offsets), byName) {
		if err := d.show(checkpointFact{"checkpoint", tp.Topic, tp.Partition, offsets[tp]}); err != nil {
			return err
		}
	}
	return nil
}

// metadataFact is a partition's identity.
type metadataFact struct {
	Kind    string      `json:"kind"`
	TopicID log.TopicID `json:"topicId"`
}

func (m metadataFact) String() string { return "topic id " + m.TopicID.String() }

func (d *dumper) metadata() error {
	data, err := d.small()
	if err != nil {
		return err
	}
	id, err := log.DecodePartitionMetadata(data)
	if err != nil {
		return d.damage(0, int64(len(data)), err)
	}
	return d.show(metadataFact{"metadata", id})
}

// lineFact is a line of a file that is text anyway.
type lineFact struct {
	Kind string `json:"kind"`
	Text string `json:"text"`
}

func (l lineFact) String() string { return l.Text }

func (d *dumper) lines() error {
	data, err := d.small()
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(data)) {
		if err := d.show(lineFact{"line", strings.TrimRight(line, "\r\n")}); err != nil {
			return err
		}
	}
	return nil
}

func (d *dumper) slots() error {
	data, err := d.small()
	if err != nil {
		return err
	}
	list, _, ok := readSlots(data)
	for _, s := range list {
		if err := d.show(s); err != nil {
			return err
		}
	}
	if !ok && !allZero(data) {
		return d.damage(0, int64(len(data)), errors.New("neither slot is whole"))
	}
	return nil
}

func (d *dumper) sums() error {
	data, err := d.small()
	if err != nil {
		return err
	}
	sums, err := readSums(data)
	if err != nil {
		return d.damage(0, int64(len(data)), err)
	}
	return d.show(sums)
}

func (d *dumper) manifest() error {
	data, err := d.small()
	if err != nil {
		return err
	}
	m, err := readManifest(data)
	if err != nil {
		return d.damage(0, int64(len(data)), err)
	}
	return d.show(m)
}
