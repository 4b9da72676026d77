package log

import (
	"errors"
	"slices"
	"time"

	"github.com/quirelog/quire/log/record"
)

// What is derived from the batches: producer state and leader epochs. At open, and
// after a truncation, their files give most of it and the batches behind give the rest.

// loadProducers restores the producer state as of the end: the newest snapshot
// and a replay of the batches after it.
func (o *opener) loadProducers() error {
	l := o.l
	offsets := snapshotOffsets(o.names)
	if len(offsets) == 0 && o.report.Created {
		l.stable.Store(l.high.Load()) // nothing to replay
		return nil
	}
	from := l.start.Load()
	if o.haveSlot && o.slot.anonymous {
		from = max(from, min(o.slot.durable, l.end.Load()))
	}
	l.transacted.Store(o.haveSlot && !o.slot.plain)
	if err := l.reloadProducers(offsets, from, l.end.Load()); err != nil {
		return err
	}
	if !o.haveSlot {
		l.transacted.Store(l.identified.Load())
	}
	if p := &l.writer.producers; o.haveSlot && p.snapped && p.saved > o.slot.durable {
		// The slot knows of transactions below its watermark, the replay of those behind the snapshot; nobody of those in between.
		l.transacted.Store(true)
	}
	if o.recovered && l.transacted.Load() {
		o.active().InvalidateAborted() // as a power cut may have left it
	}
	l.mu.Lock()
	l.raiseStableLocked()
	l.mu.Unlock()
	if o.st.ReadOnly {
		return nil
	}
	if err := l.dropSnapshotsAbove(l.end.Load()); err != nil {
		return err
	}
	return dropSnapshots(l.fs, l.dir, offsets, func(offset int64) bool {
		return offset < l.writer.producers.saved && !l.view.Load().begins(offset)
	})
}

// saveEpochs publishes the epoch history, cut to the log, and stores it if it changed.
func (o *opener) saveEpochs() error {
	e := &o.l.writer.epochs
	if o.staleEpochs() {
		o.rebuildEpochs = true
	}
	if o.rebuildEpochs {
		if err := o.replayEpochs(); err != nil {
			return err
		}
		o.epochsChanged = true
	}
	changed := e.truncateEnd(o.l.end.Load())
	changed = e.truncateFront(o.l.start.Load()) || changed || o.epochsChanged
	o.l.writer.epoch = max(o.st.Epoch, e.latest())
	if changed && !o.st.ReadOnly {
		o.slotDue = true // the slot tells of what was saved
		return o.l.saveEpochs()
	}
	o.l.publishEpochs()
	o.l.epochSum.Store(e.sum())
	return nil
}

// staleEpochs tells that the history lacks the newest epoch, because its file is missing
// or could not be written in time.
func (o *opener) staleEpochs() bool {
	latest, end := o.l.writer.epochs.latest(), o.l.end.Load()
	switch {
	case end == o.l.start.Load():
		return false
	case o.haveSlot:
		return !o.slot.truncating && o.slot.leaderEpoch > latest
	}
	return (latest == noEpoch || o.noHistory) && o.newestEpoch() > noEpoch
}

// newestEpoch is the leader epoch of the last batch there is.
func (o *opener) newestEpoch() int32 {
	for _, s := range slices.Backward(o.segments) {
		if s.Size() > 0 {
			return s.LastEpoch()
		}
	}
	return noEpoch
}

// replayEpochs builds the history from all batches: only after its file was damaged.
func (o *opener) replayEpochs() error {
	o.l.writer.epochs.clear()
	err := o.l.replay(o.l.start.Load(), o.l.end.Load(), o.scan.visit)
	o.scan.end(false)
	return err
}

// reloadProducersLocked rebuilds the producer state after a truncation to end.
func (l *Log) reloadProducersLocked(end int64) error {
	names, err := listFiles(l.fs, l.dir)
	if err != nil {
		return err
	}
	return l.reloadProducers(snapshotOffsets(names), l.start.Load(), end)
}

// reloadProducers loads the newest snapshot at or below end and replays the rest;
// from is where to begin if there is no snapshot.
func (l *Log) reloadProducers(offsets []int64, from, end int64) error {
	w := &l.writer
	now := time.Now().UnixMilli()
	load, err := w.producers.loadSnapshot(l.fs, l.dir, offsets, snapshotWindow{
		after: l.start.Load() - 1, upTo: end, now: now, ttl: l.cfg.Load().producerExpiry().Milliseconds()})
	if err != nil {
		return err
	}
	if load.found {
		from = load.offset
		l.identified.Store(true)
	}
	return l.replay(from, end, func(b record.Batch) {
		if b.ProducerID() >= 0 {
			l.identified.Store(true)
			if b.Transactional() {
				l.transacted.Store(true)
			}
			_, _, _ = w.producers.apply(b, now)
		}
	})
}

// replay visits the batches of [from, end). Damaged stretches are stepped over:
// whoever reads them is told.
func (l *Log) replay(from, end int64, visit func(b record.Batch)) error {
	var run []byte
	var err error
	for place := At(from); place.Offset < end; {
		run, place, err = l.readBelow(run, place, end, 1<<20)
		var damage *CorruptionError
		if errors.As(err, &damage) && damage.NextOffset > place.Offset {
			place = At(damage.NextOffset)
			continue
		}
		if next := l.behindOld(place.Offset, err); next > place.Offset {
			place = At(next)
			continue
		}
		if err != nil {
			return err
		}
		if len(run) == 0 {
			return nil
		}
		for b, err := range record.Batches(run) {
			if err != nil {
				return err
			}
			visit(b)
		}
	}
	return nil
}

// behindOld is the base of the segment behind the one that holds offset, if that one is in an old format: there are no producers and no leader
// epochs in it. Else it is -1.
func (l *Log) behindOld(offset int64, err error) int64 {
	v := l.view.Load()
	if v == nil || !errors.Is(err, record.ErrOldFormat) {
		return -1
	}
	if i := v.floor(offset) + 1; i < len(v.segments) {
		return v.segments[i].Base()
	}
	return -1
}
