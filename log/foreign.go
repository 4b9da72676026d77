package log

import (
	"path/filepath"
	"slices"

	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/segment"
)

// A partition directory can be put under a broker and come back. Kafka leaves the files that it does not know as they are, and they then say
// of segments that it appended to, compacted or deleted what is true no more.

// ledElsewhere tells that another program may have led the partition: the history goes on, behind the end that the slot knows, with an epoch
// that it does not know. Every leader of Kafka's adds one before its first record. After a crash the epoch may also be our own, saved
// just before.
func (st *slotState) ledElsewhere(history []epochEntry) bool {
	if st.truncating || len(history) == 0 {
		return false
	}
	last := history[len(history)-1]
	return last.epoch > st.leaderEpoch && last.start >= st.durable
}

func (o *opener) ledElsewhere() bool {
	return o.haveSlot && o.slot.ledElsewhere(o.l.writer.epochs.entries)
}

// changedElsewhere tells, of a partition that was led elsewhere, whether more than the last segment may have changed. Else the epoch is our own, or a
// broker's that has appended to that one at most.
func (st *slotState) changedElsewhere(bases []int64, names []string) bool {
	return st.clean || st.rolledElsewhere(bases, names)
}

// rolledElsewhere tells that another program began a segment: ours begin when the one before is sealed.
func (st *slotState) rolledElsewhere(bases []int64, names []string) bool {
	for i, base := range bases {
		last := i == len(bases)-1
		if !last && base >= st.segmentBase && !slices.Contains(names, segment.FileName(base, segment.SumsSuffix)) {
			return true
		}
	}
	return false
}

// returnTo makes of the slot what still holds: what no program takes back. Everything below the durable watermark was on disk. The start is where Kafka
// raised it to, by retention too.
func (st *slotState) returnTo(bases []int64, start int64) {
	st.clean = false
	st.start = max(st.start, start)
	if len(bases) > 0 {
		st.start = max(st.start, bases[0])
	}
}

// takeBack makes such a directory ours again. Seals go, and are made again from the data. A crash in here is met by
// the next open like the first: the slot is written at the end.
func (o *opener) takeBack() (err error) {
	if !o.ledElsewhere() || o.st.ReadOnly {
		return nil
	}
	o.slot.anonymous, o.slot.plain = false, false
	if !o.slot.changedElsewhere(o.bases, o.names) {
		return nil
	}
	o.returned, o.slotDue = true, true
	o.slot.returnTo(o.bases, o.st.Kafka.Start)
	o.names, err = breakSeals(o.l.fs, o.l.dir, o.names)
	return err
}

// takeBack looks at such a directory as an open finds it.
func (v *verifier) takeBack() (err error) {
	v.led = v.haveSlot && v.slot.ledElsewhere(v.epochs.entries)
	if !v.led || !v.slot.changedElsewhere(v.bases, v.names) {
		return nil
	}
	v.returned, v.out.Clean = true, false
	v.slot.returnTo(v.bases, 0)
	v.latest = v.slot
	v.fs = vfs.Preview(v.fs, v.dir)
	v.names, err = breakSeals(v.fs, v.dir, v.names)
	return err
}

// breakSeals removes all seals. It returns the names that are left. The caller syncs the directory before the slot says that it has been done:
// an open does when it comes to the last segment.
func breakSeals(fsys vfs.FS, dir string, names []string) (left []string, err error) {
	for _, name := range names {
		if _, kind, ok := segment.ParseName(name); !ok || kind != segment.KindSums {
			left = append(left, name)
			continue
		}
		if err := fsys.Remove(filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	return left, nil
}
