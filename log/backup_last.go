package log

import (
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/segment"
)

// rewrite writes a segment batch by batch, up to where the copy ends. The last one is what the slot speaks of.
func (b *backup) rewrite(s *segment.Segment, last bool) error {
	b.changed(s.Base())
	if err := b.forget(s.Base()); err != nil {
		return err
	}
	cfg := b.l.cfg.Load()
	fresh, err := segment.Create(b.opt.FS, b.opt.Dir, s.Base(), cfg.segmentConfig())
	if err != nil {
		return err
	}
	err = b.batches(fresh, s)
	if err == nil {
		err = b.aborted(fresh, s)
	}
	if err == nil && s.Retired() {
		err = errShifted // the log's list of aborted transactions may be of what took its place
	}
	reach := s.Reach()
	if last {
		reach = fresh.Next()
	}
	if err == nil {
		err = fresh.Seal(segment.SideFacts{TopicID: cfg.TopicID, Sparse: s.Sparse(), Reach: reach})
	}
	if err == nil {
		err = b.syncTables(s.Base())
	}
	b.out.Copied += fresh.Size()
	b.out.End = fresh.Next()
	if last {
		b.slot = slotState{segmentBase: fresh.Base(), position: fresh.Size(), sparse: fresh.Sparse(), indexes: fresh.IndexSums()}
	}
	for _, suffix := range familySuffixes {
		b.want[segment.FileName(s.Base(), suffix)] = true
	}
	return errors.Join(err, fresh.Close())
}

func (b *backup) batches(fresh, s *segment.Segment) error {
	for at := At(s.Base()); ; {
		run, next, err := s.Read(b.buf[:0], at, b.until, copyBytes)
		if err != nil || len(run) == 0 {
			return err
		}
		if err := fresh.Append(run); err != nil {
			return err
		}
		if err := b.step(int64(len(run))); err != nil {
			return err
		}
		at = next
	}
}

// aborted gives the copy of a segment the transactions whose abort markers it holds.
func (b *backup) aborted(fresh, s *segment.Segment) error {
	if !b.l.transacted.Load() || fresh.Next() == fresh.Base() {
		return nil
	}
	all, err := b.l.AbortedIn(fresh.Base(), fresh.Next())
	if err != nil {
		return err
	}
	var list []segment.AbortedTxn
	for _, txn := range all {
		if txn.Last >= fresh.Base() && txn.Last < fresh.Next() {
			list = append(list, segment.AbortedTxn{ProducerID: txn.ProducerID, FirstOffset: txn.First, LastOffset: txn.Last, LastStable: txn.Stable})
		}
	}
	if len(list) == 0 {
		return nil
	}
	return fresh.SetAborted(list)
}

// snapshots links or copies the producer snapshots up to the end.
func (b *backup) snapshots() error {
	names, err := b.l.fs.List(b.l.dir)
	if err != nil {
		return err
	}
	for _, offset := range snapshotOffsets(names) {
		name := snapshotName(offset)
		if offset > b.out.End || !b.snapshotSound(name) {
			continue
		}
		if err := b.opt.FS.Remove(filepath.Join(b.opt.Dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if _, err := b.file(name); errors.Is(err, fs.ErrNotExist) {
			continue // replaced by a newer one
		} else if err != nil {
			return err
		}
		b.want[name] = true
	}
	return nil
}

// snapshotSound tells a snapshot from one that is damaged, which the copy does without.
func (b *backup) snapshotSound(name string) bool {
	data, err := vfs.ReadFile(b.l.fs, filepath.Join(b.l.dir, name), maxSnapshotBytes)
	if err == nil {
		_, err = DecodeProducerSnapshot(data)
	}
	return err == nil
}

// clean removes files of ours that do not belong to the result.
func (b *backup) clean() error {
	names, err := b.opt.FS.List(b.opt.Dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, _, ok := segment.ParseName(name); !ok || b.want[name] {
			continue
		}
		if err := b.opt.FS.Remove(filepath.Join(b.opt.Dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// history writes the leader epochs and whose the directory is, and makes all names durable, those that are gone too.
func (b *backup) history() error {
	var e epochs
	if known := b.l.history.Load(); known != nil {
		e.entries = *known
	}
	// What was deleted meanwhile is deleted in the copy: the history tells of nothing below the start any more.
	b.out.Start = max(b.out.Start, b.l.start.Load())
	if b.out.End < b.out.Start {
		b.out.Start = b.out.End // a batch that holds both was left out
	}
	e.truncateEnd(b.out.End)
	e.truncateFront(b.out.Start)
	if err := e.save(b.opt.FS, b.opt.Dir); err != nil {
		return err
	}
	b.slot.leaderEpoch, b.slot.epochSum = e.latest(), e.sum()
	id := b.l.cfg.Load().TopicID
	if id == [16]byte{} {
		return nil
	}
	return vfs.WriteFile(b.opt.FS, filepath.Join(b.opt.Dir, PartitionMetadataFile), EncodePartitionMetadata(id))
}

// writeSlot says, last of all, what the copy is: a log that was stopped in order.
func (b *backup) writeSlot() error {
	st := b.slot
	st.durable, st.start, st.high = b.out.End, b.out.Start, b.out.End
	st.topicID, st.partition, st.clean = b.l.cfg.Load().TopicID, segment.PartitionOf(b.opt.Dir), true
	st.anonymous, st.plain = !b.l.identified.Load(), !b.l.transacted.Load()
	if !b.begun {
		b.out.Changed = b.out.End
	}
	var s slot
	_, _, err := s.open(b.opt.FS, b.opt.Dir)
	for range 2 {
		if err == nil {
			err = s.write(st)
		}
		if err == nil {
			err = s.sync()
		}
	}
	return errors.Join(err, s.close())
}
