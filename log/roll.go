package log

import (
	"fmt"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
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
	var err error
	if l.fresh && l.cfg.Load().Durability != OS { // nobody would come to sync the slot later
		err = l.nameFilesLocked()
	} else if err = l.writeSlot(slotOptions{sync: true}); err == nil {
		err = l.view.Load().active().Unseal()
	}
	if err != nil {
		if !retriable(err) {
			l.fail(err)
		}
		return err
	}
	w.opened, l.fresh = true, false
	return nil
}

// nameFilesLocked is the one barrier before the first batch of a new log: the names of all its files, the data file's
// that Open made, the slot's and perhaps the epoch history's, become durable together. The slot itself is synced when
// the next Tick does: it has nothing to take back, and says nothing yet that a recovery could not find out.
func (l *Log) nameFilesLocked() error {
	if err := l.writeSlot(slotOptions{}); err != nil {
		return err
	}
	if err := l.fs.SyncDir(l.dir); err != nil {
		l.fail(err)
		return err
	}
	l.slotFile.named()
	return nil
}

// foretellEpochLocked enters a leader's epoch in the history of a new log just before its first batch, not after it,
// so that the name of the history's file becomes durable with all others.
func (l *Log) foretellEpochLocked() {
	w := &l.writer
	if !l.fresh || !w.epochs.assign(w.epoch, l.end.Load()) {
		return
	}
	l.publishEpochs()
	l.epochSum.Store(0)
	if w.epochs.saveUnnamed(l.fs, l.dir) != nil {
		return // derived, as in assignEpochLocked
	}
	l.epochSum.Store(w.epochs.sum())
}

// retriable tells whether an error goes away by itself: with space or descriptors.
func retriable(err error) bool { return vfs.IsNoSpace(err) || vfs.IsTooManyFiles(err) }

// rollLocked seals the active segment and starts one at base. The order is that
// of the doc's I4: the old data and its side file are on disk before the new file
// exists, and the new file's directory entry before its first batch.
func (l *Log) rollLocked(cfg *Config, base int64) (*segment.Segment, error) {
	v := l.view.Load()
	old := v.active()
	l.settleAbortedLocked(old)
	base = max(base, l.end.Load())
	if err := old.Seal(l.sideFacts(base)); err != nil {
		// A failed fsync is final even if it says that there is no space.
		if !retriable(err) || old.Sync() != nil {
			l.fail(err)
		}
		return nil, diskError(fmt.Errorf("seal %s: %w", old.Path(), err))
	}
	l.tipSyncedLocked()
	if err := l.takeSnapshotLocked(); err != nil {
		return nil, diskError(err)
	}
	fresh, err := l.startSegment(cfg, base)
	if err != nil {
		return nil, diskError(err)
	}
	l.writer.jitter = newJitter(cfg)
	l.writer.unindexed = 0
	if l.writer.sparse = base > l.end.Load(); l.writer.sparse {
		fresh.MarkSparse()
	}
	l.view.Store(v.with(fresh))
	l.advanceEndLocked(cfg, base) // a gap belongs to the log as soon as its new segment exists
	l.publishTip(fresh, base, 0)
	l.tipSyncedLocked()
	l.writeSyncedSlot()
	l.news.Or(newsRolled)
	return fresh, nil
}

// startSegment creates an empty segment whose directory entry is on disk when it returns.
func (l *Log) startSegment(cfg *Config, base int64) (*segment.Segment, error) {
	fresh, err := segment.Create(l.fs, l.dir, base, cfg.segmentConfig())
	if err != nil {
		// The next Open must not take the file for the last one while appends go on in the one before; that one is sealed, and is
		// unsealed with a sync of the directory.
		if !retriable(err) || l.removeFile(base, segment.KindLog) != nil {
			l.fail(err)
		}
		return nil, err
	}
	if err := l.fs.SyncDir(l.dir); err != nil {
		l.fail(err)
		fresh.Close()
		return nil, err
	}
	return fresh, nil
}

// observeProducerLocked feeds the producer state with a written batch, and the
// aborted-transaction index when the batch is an abort marker.
func (l *Log) observeProducerLocked(b record.Batch, now int64) {
	l.identified.Store(true)
	txn, ended, err := l.writer.producers.apply(b, nowMillis(now))
	if err != nil {
		return // an unreadable control batch from a leader: it is kept, and ends nothing
	}
	if ended && txn.aborted {
		if active := l.view.Load().active(); active.AddAborted(txn.producerID, txn.first, txn.last, txn.stable) != nil {
			active.InvalidateAborted()
		}
	}
	if b.Transactional() || ended {
		l.transactions.Store(true)
		l.transacted.Store(true)
	}
}

// assignEpochLocked begins a leader epoch at offset. The history is derived from
// the batches: a failure to write its file costs another try at the stop, or a rebuild, not the append.
func (l *Log) assignEpochLocked(epoch int32, offset int64) {
	if l.writer.epochs.assign(epoch, offset) {
		_ = l.saveEpochs()
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
