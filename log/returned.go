package log

import (
	"path/filepath"
	"slices"

	"github.com/quirelog/quire/segment"
)

// A partition directory can be put under a broker and come back. Kafka leaves the files that it does not know as they are, and they then say
// of segments that it appended to, compacted or deleted what is true no more.

// ledElsewhere tells that another program may have led the partition: the history goes on, behind the end that the slot knows, with an epoch
// that it does not know. Every leader of Kafka's adds one before its first record. After a crash the epoch may also be our own, saved
// just before.
func (o *opener) ledElsewhere() bool {
	e := o.l.writer.epochs.entries
	if !o.haveSlot || o.slot.truncating || len(e) == 0 {
		return false
	}
	last := e[len(e)-1]
	return last.epoch > o.slot.leaderEpoch && last.start >= o.slot.durable
}

// rolledElsewhere tells that another program began a segment: ours begin when the one before is sealed.
func (o *opener) rolledElsewhere() bool {
	for i, base := range o.bases {
		last := i == len(o.bases)-1
		if !last && base >= o.slot.segmentBase && !slices.Contains(o.names, segment.FileName(base, segment.SumsSuffix)) {
			return true
		}
	}
	return false
}

// takeBack makes such a directory ours again. Of the slot only what no program takes back counts: everything below the durable watermark was on
// disk. The start is where Kafka raised it to, by retention too. Seals go, and are made again from the data. A crash in here is met by
// the next open like the first: the slot is written at the end.
func (o *opener) takeBack() error {
	if !o.ledElsewhere() || o.st.ReadOnly {
		return nil
	}
	o.slot.anonymous, o.slot.plain = false, false
	if !o.slot.clean && !o.rolledElsewhere() {
		return nil // our own epoch, or a broker's that has changed nothing but the last segment
	}
	o.returned, o.noteNow, o.slot.clean = true, true, false
	o.slot.start = max(o.slot.start, o.st.Kafka.Start)
	if len(o.bases) > 0 {
		o.slot.start = max(o.slot.start, o.bases[0])
	}
	return o.breakSeals()
}

// breakSeals removes all seals.
func (o *opener) breakSeals() error {
	var left []string
	for _, name := range o.names {
		if _, kind, ok := segment.ParseName(name); !ok || kind != segment.KindSums {
			left = append(left, name)
			continue
		}
		if err := o.l.fs.Remove(filepath.Join(o.l.dir, name)); err != nil {
			return err
		}
	}
	o.names = left
	return o.l.fs.SyncDir(o.l.dir)
}
