package log

import (
	"context"
	"slices"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/segment"
)

// RebuildIndexes makes every derived file anew from the batches: offset and time indexes, lists of aborted transactions and side files of
// sealed segments, the producer snapshots at the begin of each, and the history of leader epochs. The active segment's indexes live in
// memory and follow when it is sealed. It may run beside appends and reads. Damage in the data is a [CorruptionError], and ends it; what was
// made until then is whole. It takes turns with compaction, retention and redaction. A read-only log answers [ErrReadOnly].
func (l *Log) RebuildIndexes(ctx context.Context) error {
	_, err := bounded.Err(ctx, &l.calls().others, grace, func() error { return l.inTurn(ctx, true, l.rebuildIndexes) })
	return err
}

func (l *Log) rebuildIndexes(ctx context.Context) error {
	v := l.view.Load()
	if v == nil {
		return ErrClosed
	}
	for _, s := range v.segments {
		if err := bounded.Cause(ctx); err != nil {
			return err
		}
		if !s.Pin() {
			continue // removed meanwhile
		}
		err := l.rebuildSegment(s, l.transacted.Load())
		s.Unpin()
		if err != nil {
			return l.located(err)
		}
	}
	if err := l.rebuildSnapshots(ctx, v); err != nil {
		return err
	}
	return l.rebuildEpochs(ctx, v)
}

// rebuildSegment makes a sealed segment's derived files anew.
func (l *Log) rebuildSegment(s *segment.Segment, aborted bool) error {
	err := l.rebuildTables(s)
	if err != nil || !aborted {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err = l.recallAbortedLocked(s)
	return err
}

// rebuildTables makes what a segment can make by itself. Only the last one could be written meanwhile.
func (l *Log) rebuildTables(s *segment.Segment) error {
	facts := segment.SideFacts{TopicID: l.cfg.Load().TopicID}
	if s != l.activeSegment() {
		return s.Rebuild(facts)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if s == l.view.Load().active() && l.writer.opened {
		return nil
	}
	return s.Rebuild(facts)
}

// rebuildSnapshots writes the producer state as of the begin of each segment but the first, from the oldest snapshot that can be read and
// the batches behind it.
func (l *Log) rebuildSnapshots(ctx context.Context, v *view) error {
	if !l.identified.Load() {
		return nil
	}
	names, err := l.fs.List(l.dir)
	if err != nil {
		return err
	}
	var p producers
	from := v.segments[0].Base()
	if _, err := p.loadSnapshot(l.fs, l.dir, snapshotOffsets(names), snapshotWindow{after: -1, upTo: from}); err != nil {
		return err
	}
	p.snapped, p.saved = false, 0
	for _, s := range v.segments[1:] {
		if err := bounded.Cause(ctx); err != nil {
			return err
		}
		to := s.Base()
		if err := l.replay(from, to, func(b record.Batch) {
			if b.ProducerID() >= 0 {
				_, _, _ = p.apply(b, 0)
			}
		}); err != nil {
			return err
		}
		if err := p.save(l.fs, l.dir, to); err != nil {
			return err
		}
		from = to
	}
	return nil
}

// rebuildEpochs writes the history anew: what memory has is what the batches say, or becomes it.
func (l *Log) rebuildEpochs(ctx context.Context, v *view) error {
	e := &epochs{}
	scan := epochScan{history: e}
	at, to := l.start.Load(), l.end.Load()
	for _, s := range v.segments {
		if err := bounded.Cause(ctx); err != nil {
			return err
		}
		if next := min(s.Next(), to); next > at {
			if err := l.replay(at, next, scan.visit); err != nil {
				return err
			}
			at = next
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return ErrClosed
	}
	if err := l.replay(at, l.end.Load(), scan.visit); err != nil {
		return err
	}
	scan.end(false)
	if latest := l.writer.epochs.latest(); latest > e.latest() {
		e.assign(latest, l.end.Load())
	}
	if !slices.Equal(e.entries, l.writer.epochs.entries) {
		l.writer.epochs.entries = e.entries
	}
	return l.saveEpochs()
}
