package log

import (
	"path/filepath"
	"slices"

	"github.com/quirelog/quire/segment"
)

// A partition directory can be put under a broker and come back. Kafka leaves the files that it does not know as they are, and they then say
// of segments that it appended to, compacted or deleted what is true no more.

// ledElsewhere tells that another program has led the partition since the log was closed in order: the history goes on, behind the end of
// then, with an epoch that the slot does not know. Every leader of Kafka's adds one before its first record.
func (o *opener) ledElsewhere() bool {
	e := o.l.writer.epochs.entries
	if !o.haveSlot || !o.slot.clean || o.slot.truncating || len(e) == 0 {
		return false
	}
	last := e[len(e)-1]
	return last.epoch > o.slot.leaderEpoch && last.start >= o.slot.durable
}

// takeBack makes such a directory ours again. Of the slot only what no program takes back counts: everything below the durable watermark was on
// disk. The start is where Kafka raised it to, by retention too. Seals go, and are made again from the data. A crash in here is met by
// the next open like the first: the slot is written at the end.
func (o *opener) takeBack() error {
	if !o.ledElsewhere() || o.st.ReadOnly {
		return nil
	}
	o.returned, o.noteNow = true, true
	o.slot.clean, o.slot.anonymous, o.slot.plain = false, false, false
	o.slot.start = max(o.slot.start, o.st.Kafka.Start)
	if len(o.bases) > 0 {
		o.slot.start = max(o.slot.start, o.bases[0])
	}
	var seals []string
	o.names = slices.DeleteFunc(o.names, func(name string) bool {
		_, kind, ok := segment.ParseName(name)
		if ok && kind == segment.KindSums {
			seals = append(seals, name)
		}
		return ok && kind == segment.KindSums
	})
	for _, name := range seals {
		if err := o.l.fs.Remove(filepath.Join(o.l.dir, name)); err != nil {
			return err
		}
	}
	return o.l.fs.SyncDir(o.l.dir)
}
