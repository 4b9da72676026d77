package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/segment"
	"github.com/quirelog/quire/topic"
)

// decoded shows what a small file holds, or that it is damaged.
func decoded[T any](d *dumper, decode func([]byte) (T, error), show func(T) error) error {
	data, err := d.small()
	if err != nil {
		return err
	}
	v, err := decode(data)
	if err != nil {
		return d.damage(0, int64(len(data)), err)
	}
	return show(v)
}

// each calls f for every element up to the first error.
func each[T any](list []T, f func(T) error) error {
	for _, v := range list {
		if err := f(v); err != nil {
			return err
		}
	}
	return nil
}

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
	return decoded(d, log.DecodeProducerSnapshot, func(states []log.ProducerState) error {
		return each(states, func(s log.ProducerState) error {
			return d.show(producerFact{"producer", s.ProducerID, s.Epoch, s.LastSequence, s.LastOffset, s.OffsetDelta, s.LastTimestamp, s.CoordinatorEpoch, s.TxnStart})
		})
	})
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
	return decoded(d, log.DecodeLeaderEpochs, func(list []log.LeaderEpoch) error {
		return each(list, func(e log.LeaderEpoch) error { return d.show(epochFact{"epoch", e.Epoch, e.Start}) })
	})
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
	byName := func(a, b log.TopicPartition) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	}
	return decoded(d, log.DecodeOffsetCheckpoint, func(offsets log.OffsetCheckpoint) error {
		return each(slices.SortedFunc(maps.Keys(offsets), byName), func(tp log.TopicPartition) error {
			return d.show(checkpointFact{"checkpoint", tp.Topic, tp.Partition, offsets[tp]})
		})
	})
}

// metadataFact is a partition's identity.
type metadataFact struct {
	Kind    string      `json:"kind"`
	TopicID log.TopicID `json:"topicId"`
}

func (m metadataFact) String() string { return "topic id " + m.TopicID.String() }

func (d *dumper) metadata() error {
	return decoded(d, log.DecodePartitionMetadata, func(id log.TopicID) error { return d.show(metadataFact{"metadata", id}) })
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
	slots, newest := log.DecodeSlots(data)
	for n := range slots {
		if err := d.show(slotFacts(n, &slots[n])); err != nil {
			return err
		}
	}
	if newest < 0 && !allZero(data) {
		return d.damage(0, int64(len(data)), errors.New("neither slot is whole"))
	}
	return nil
}

func (d *dumper) sums() error {
	return decoded(d, segment.DecodeSide, func(s *segment.Side) error { return d.show(sumsFacts(s)) })
}

func (d *dumper) manifest() error {
	return decoded(d, topic.DecodeManifest, func(m *topic.Manifest) error { return d.show(manifestFact{"manifest", m}) })
}

// journal prints the changes in a journal of the manifest, or the copy of a topic's entry.
func (d *dumper) journal() error {
	data, err := d.small()
	if err != nil {
		return err
	}
	lines, rest, fault := topic.DecodeManifestJournal(data)
	for _, l := range lines {
		if err := d.show(changesFact{"changes", l}); err != nil {
			return err
		}
	}
	if fault == nil && rest > 0 {
		fault = errors.New("no line, or one that was cut off")
	}
	if fault != nil {
		return d.damage(int64(len(data)-rest), int64(rest), fault)
	}
	return nil
}
