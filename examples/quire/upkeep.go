package main

import (
	"errors"
	"fmt"

	"github.com/quirelog/quire/topic"
)

func (t *tool) scrub(name string, args []string) error {
	f := t.flags(name, "", `Read all data from where the last scrub stopped to the end, at a bounded rate, and compare it with its checksums. An
interrupted scrub goes on where it stopped. The directory needs to be closed: a program that has it open scrubs by itself,
and verify works beside it.`)
	dir := dirFlag(f)
	rate := f.Int64("rate", 0, "`bytes` per second; 0: as fast as the disk")
	quiet := f.Bool("q", false, "tell damage only")
	asJSON := f.Bool("json", false, "one JSON object a line")
	if _, err := t.parse(f, args, 0, 0); err != nil {
		return err
	}
	bar := t.progress("reading")
	var found *topic.VerifyReport
	err := t.withData(*dir, func(eng *topic.Engine) (err error) {
		found, err = eng.Scrub(t.ctx, topic.ScrubOptions{Progress: bar.show})
		return err
	}, topic.ScrubEvery(0, *rate))
	bar.done()
	if found == nil {
		return err
	}
	return errors.Join(err, t.tellFound(*dir, found, *quiet, *asJSON))
}

func (t *tool) retain(name string, args []string) error {
	return t.upkeep(name, args, `Remove what the topics, all of them if none is named, need not keep any more by their settings: retention.ms,
retention.bytes, and what lies below a partition's start.`, func(p *topic.Partition, _ bool, out *teller) error {
		done, err := p.ApplyRetention(t.ctx)
		if err == nil && done.Segments > 0 {
			out.tell(retainFact{"retained", p.Topic().Name(), p.ID(), done.Segments, done.Bytes, done.Start})
		}
		return err
	})
}

func (t *tool) compact(name string, args []string) error {
	return t.upkeep(name, args, `Compact the topics now, all whose cleanup.policy includes compact if none is named: of each key only the newest record
stays. The segment that is written to is left out.`, func(p *topic.Partition, named bool, out *teller) error {
		if !named && p.Topic().Settings().Cleanup&topic.CleanupCompact == 0 {
			return nil
		}
		done, err := p.Compact(t.ctx)
		if err == nil {
			out.tell(compactFact{"compacted", p.Topic().Name(), p.ID(), done.SegmentsIn, done.SegmentsOut, done.BytesIn, done.BytesOut,
				done.Kept, done.Dropped, done.Checkpoint})
		}
		return err
	})
}

func (t *tool) rebuildIndex(name string, args []string) error {
	return t.upkeep(name, args, `Make every derived file of the topics, all of them if none is named, anew from the batches: indexes, side files,
producer snapshots, histories of leader epochs.`, func(p *topic.Partition, _ bool, out *teller) error {
		err := p.RebuildIndexes(t.ctx)
		if err == nil && out.asJSON {
			out.tell(rebuildFact{"rebuilt", p.Topic().Name(), p.ID()})
		}
		return err
	})
}

// upkeep is a command that does one thing to each partition of the topics that are named, or of all.
func (t *tool) upkeep(name string, args []string, about string, do func(p *topic.Partition, named bool, out *teller) error) error {
	f := t.flags(name, "[TOPIC...]", about)
	dir := dirFlag(f)
	asJSON := f.Bool("json", false, "one JSON object a line")
	topics, err := t.parse(f, args, 0, -1)
	if err != nil {
		return err
	}
	out := &teller{t: t, dir: *dir, asJSON: *asJSON}
	err = t.eachPartition(*dir, topics, func(p *topic.Partition) error { return do(p, len(topics) > 0, out) })
	return errors.Join(err, out.err)
}

// compactFact tells what the compaction of a partition did.
type compactFact struct {
	Kind        string `json:"kind"`
	Topic       string `json:"topic"`
	Partition   int32  `json:"partition"`
	SegmentsIn  int    `json:"segmentsIn"`
	SegmentsOut int    `json:"segmentsOut"`
	BytesIn     int64  `json:"bytesIn"`
	BytesOut    int64  `json:"bytesOut"`
	Kept        int64  `json:"kept"`
	Dropped     int64  `json:"dropped"`
	Checkpoint  int64  `json:"checkpoint"` // the first offset that was not compacted
}

func (c compactFact) String() string {
	return fmt.Sprintf("%s/%d: %d records kept, %d dropped; %d segments of %d bytes became %d of %d; compacted up to offset %d",
		c.Topic, c.Partition, c.Kept, c.Dropped, c.SegmentsIn, c.BytesIn, c.SegmentsOut, c.BytesOut, c.Checkpoint)
}

// eachPartition opens the directory and calls f for the partitions of topics, of all if none is named.
func (t *tool) eachPartition(dir string, topics []string, f func(p *topic.Partition) error) error {
	return t.withData(dir, func(eng *topic.Engine) error {
		list, err := eng.Topics(t.ctx, topic.WithInternal())
		if err != nil {
			return err
		}
		if len(topics) > 0 {
			list = list[:0]
			for _, name := range topics {
				have, err := t.existing(eng, name)
				if err != nil {
					return err
				}
				list = append(list, have)
			}
		}
		return t.eachOf(list, f)
	})
}

// eachOf calls f for each partition of the topics, with a bar that counts them.
func (t *tool) eachOf(list []*topic.Topic, f func(p *topic.Partition) error) error {
	total, done := 0, 0
	for _, tp := range list {
		total += tp.Partitions()
	}
	bar := t.progress("partitions")
	defer bar.done()
	for _, tp := range list {
		for n := range tp.Partitions() {
			p, err := tp.Partition(int32(n))
			if err == nil {
				err = f(p)
			}
			if err != nil {
				return err
			}
			done++
			bar.show(topic.Progress{Done: int64(done), Total: int64(total)})
		}
	}
	return nil
}

// retainFact tells what was removed from a partition.
type retainFact struct {
	Kind      string `json:"kind"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Segments  int    `json:"segments"`
	Bytes     int64  `json:"bytes"`
	Start     int64  `json:"start"`
}

func (r retainFact) String() string {
	return fmt.Sprintf("%s/%d: %d segments removed, %d bytes; begins at offset %d now", r.Topic, r.Partition, r.Segments, r.Bytes, r.Start)
}

// rebuildFact tells that a partition's derived files were made anew.
type rebuildFact struct {
	Kind      string `json:"kind"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
}

func (r rebuildFact) String() string { return fmt.Sprintf("%s/%d: rebuilt", r.Topic, r.Partition) }
