package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/segment"
	"github.com/quirelog/quire/topic"
)

// A partitionCheck is the state of checking one partition.
type partitionCheck struct {
	v       *verifier
	dir     string
	bases   []int64 // of its segments, ascending
	next    int64   // offset that the next batch must have, unless offsets may have gaps; -1 at the start
	slot    log.Slot
	hasSlot bool
	gaps    bool // offsets may have gaps: the topic is compacted, or Kafka wrote it and we cannot know
	dec     record.Decoder
}

// partition checks one partition's directory. topicName is empty when the directory was given by itself.
func (v *verifier) partition(dir, topicName string) error {
	p := &partitionCheck{v: v, dir: dir, next: -1}
	entry, known := entry(v.manifest, topicName)
	p.gaps = !known || strings.Contains(entry.Settings["cleanup.policy"], "compact")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	v.sum.Partitions++
	if err := p.readSlot(); err != nil {
		return err
	}
	for _, e := range entries {
		if err := p.small(e.Name(), entry.ID); err != nil {
			return err
		}
	}
	for i, base := range p.bases {
		if err := v.ctx.Err(); err != nil {
			return err
		}
		if err := p.segment(base, i == len(p.bases)-1); err != nil {
			return err
		}
	}
	return nil
}

// readSlot learns how far the data is known to be on disk.
func (p *partitionCheck) readSlot() error {
	path := filepath.Join(p.dir, log.SlotFile)
	data, err := readSmall(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	slots, newest := log.DecodeSlots(data)
	if newest >= 0 {
		p.slot, p.hasSlot = slots[newest], true
	}
	for n := range slots {
		switch fault := slots[n].Err; {
		case fault != nil && p.hasSlot:
			p.v.note(path, "slot %d: %v; the other one is whole", n, fault)
		case fault != nil:
			p.v.damage(path, "slot %d: %v", n, fault)
		}
	}
	return nil
}

// small checks the files that are not data, and notes the data files.
func (p *partitionCheck) small(name string, want topic.ID) error {
	path := filepath.Join(p.dir, name)
	base, kind, ok := segment.ParseName(name)
	switch {
	case ok && kind == segment.KindLog:
		p.bases = append(p.bases, base)
	case ok && kind == segment.KindSnapshot:
		return check(p.v, path, log.DecodeProducerSnapshot)
	case name == log.LeaderEpochFile:
		return check(p.v, path, p.epochs)
	case name == log.PartitionMetadataFile:
		return check(p.v, path, func(data []byte) (log.TopicID, error) {
			id, err := log.DecodePartitionMetadata(data)
			if err == nil && !want.IsZero() && id != want {
				err = fmt.Errorf("topic id %v, the manifest has %v", id, want)
			}
			return id, err
		})
	case strings.Contains(name, ".log.cut-"):
		p.v.note(path, "bytes that a recovery cut off and saved aside")
	}
	return nil
}

// epochs decodes the history of leader epochs and, after a clean stop, compares it with the checksum that the slot has of it.
func (p *partitionCheck) epochs(data []byte) ([]log.LeaderEpoch, error) {
	list, err := log.DecodeLeaderEpochs(data)
	if sum := log.LeaderEpochSum(data); err == nil && p.slot.Clean && p.slot.EpochSum != 0 && sum != p.slot.EpochSum {
		err = fmt.Errorf("checksum %08x, the slot has %08x", sum, p.slot.EpochSum)
	}
	return list, err
}

// torn tells whether bytes at a position of a segment lie behind what is known to be on disk, so that they are a torn tail and not damage.
// Without a slot (Kafka keeps none) the end of the last segment gets the benefit of the doubt.
func (p *partitionCheck) torn(base, pos int64, last bool) bool {
	if !p.hasSlot {
		return last
	}
	return last && (base > p.slot.SegmentBase || base == p.slot.SegmentBase && pos >= p.slot.Position)
}
