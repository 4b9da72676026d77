package log

import (
	"fmt"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/segment"
)

// beginWritingLocked is called before anything is written. The first time after
// open it takes back, durably, what says that the log was stopped cleanly: the
// slot's mark and the active segment's side file.
func (l *Log) beginWritingLocked() error {
	w := &l.writer
	if w.opened {
		return nil
	}
	if err := l.note(noteOptions{sync: true}); err != nil {
		return err
	}
	if err := l.view.Load().active().Unseal(); err != nil {
		return err
	}
	w.opened = true
	return nil
}

// rollLocked seals the active segment and starts one at base. The order is that
// of the doc's I4: the old data and its side file are on disk before the new file
// exists, and the new file's directory entry before its first batch.
func (l *Log) rollLocked(cfg *Config, base int64) (*segment.Segment, error) {
	v := l.view.Load()
	old := v.active()
	base = max(base, l.end.Load())
	if err := old.Seal(l.sideFacts()); err != nil {
		l.fail(err)
		return nil, fmt.Errorf("seal %s: %w", segment.FileName(old.Base(), ""), err)
	}
	l.raiseDurable(l.syncer.tip.load())
	l.raiseHighLocked(l.end.Load())
	if err := l.takeSnapshotLocked(); err != nil {
		return nil, diskError(err)
	}
	fresh, err := l.startSegment(cfg, base)
	if err != nil {
		return nil, diskError(err)
	}
	l.view.Store(v.with(fresh))
	l.publishTip(fresh, 0)
	l.raiseDurable(l.syncer.tip.load())
	l.writer.jitter = newJitter(cfg)
	l.writer.unindexed = 0
	l.writer.sparse = base > l.end.Load()
	if err := l.note(noteOptions{}); err != nil {
		l.fail(err)
		return nil, err
	}
	l.rolled.Store(true)
	return fresh, nil
}

// startSegment creates an empty segment whose directory entry is on disk when it returns.
func (l *Log) startSegment(cfg *Config, base int64) (*segment.Segment, error) {
	fresh, err := segment.Create(l.fs, l.dir, base, cfg.segmentConfig())
	if err != nil {
		return nil, err
	}
	if err := l.fs.SyncDir(l.dir); err != nil {
		l.fail(err)
		fresh.Close()
		return nil, err
	}
	return fresh, nil
}

// noteProducerLocked feeds the producer state with a written batch, and the
// aborted-transaction index when the batch is an abort marker.
func (l *Log) noteProducerLocked(b record.Batch, now int64) {
	l.identified.Store(true)
	txn, ended, err := l.writer.producers.apply(b, nowMillis(now))
	if err != nil {
		return // an unreadable control batch from a leader: it is kept, and ends nothing
	}
	if ended && txn.aborted {
		if err := l.view.Load().active().AddAborted(txn.producerID, txn.first, txn.last, txn.stable); err != nil {
			l.writer.damaged = true // derived: the next open builds it anew
		}
	}
	if b.Transactional() || ended {
		l.transactions.Store(true)
	}
}

// assignEpochLocked begins a leader epoch at offset. The history is derived from
// the batches: a failure to write its file costs a rebuild, not the append.
func (l *Log) assignEpochLocked(epoch int32, offset int64) {
	if !l.writer.epochs.assign(epoch, offset) {
		return
	}
	if err := l.saveEpochs(); err != nil {
		l.writer.damaged = true
	}
}

// saveEpochs publishes the epoch history and stores its file.
func (l *Log) saveEpochs() error {
	l.publishEpochs()
	l.epochSum.Store(0)
	if err := l.writer.epochs.save(l.fs, l.dir); err != nil {
		return err
	}
	l.epochSum.Store(l.writer.epochs.sum())
	return nil
}

// publishEpochs gives readers the epoch history as it stands; the entries are never changed in place.
func (l *Log) publishEpochs() {
	entries := l.writer.epochs.copyEntries()
	l.history.Store(&entries)
}

// takeSnapshotLocked writes the producer state as of the end, and drops the last
// snapshot unless it belongs to the begin of a segment.
func (l *Log) takeSnapshotLocked() error {
	w := &l.writer
	end := l.end.Load()
	last, taken := w.producers.saved, w.producers.snapped
	if err := w.producers.save(l.fs, l.dir, end); err != nil {
		return err
	}
	w.snapshotBytes = 0
	if taken && last >= 0 && last < end && !l.view.Load().begins(last) {
		return dropSnapshots(l.fs, l.dir, []int64{last}, func(int64) bool { return true })
	}
	return nil
}
