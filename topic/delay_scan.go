package topic

import (
	"errors"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
)

// delayScan reads through a level's partition. Batches whose header says that they hold nothing of interest are not
// decoded.
type delayScan struct {
	level   uint8
	log     *log.Log
	next    log.Place
	until   int64 // an offset at which a batch begins, if not 0: no further
	buf     []byte
	decoder record.Decoder
	// batch, if not nil, is told of every batch: the offset after it and its latest due time.
	batch func(end, latest int64)
	// block, if not nil, is told the offset after each run of batches that was looked at.
	block func(end int64)
	// near says whether records due from first to last may matter.
	near func(first, last int64) bool
	// message and cancelled are told of the records that may matter, in the order of the log.
	message   func(k delayKey, e *envelope)
	cancelled func(k delayKey)
	// strange is told of records that are neither messages nor cancellations.
	strange func(offset int64, err error)
	// damage is what was stepped over.
	damage passed
}

// run reads up to what is the log's end now, synced or not. A log whose start rose meanwhile is read on from there, and
// a damaged stretch is stepped over.
func (s *delayScan) run() error {
	for s.until == 0 || s.next.Offset < s.until {
		run, next, err := s.log.Read(s.buf, s.next, log.ReadOptions{Bound: log.End, Check: true})
		if errors.Is(err, ErrOffsetOutOfRange) && s.next.Offset < s.log.Start() {
			s.next = log.At(s.log.Start())
			continue
		}
		if damage, ok := damageIn(err, s.next.Offset); ok {
			s.pass(damage)
			s.next = log.At(damage.NextOffset)
			continue
		}
		if err != nil || len(run) == 0 {
			return err
		}
		if err := s.lookAll(run); err != nil {
			return err
		}
		s.buf, s.next = run[:0], next
		if s.block != nil {
			s.block(next.Offset)
		}
	}
	return nil
}

// pass steps over a damaged stretch. It goes from the disk with what lies around it.
func (s *delayScan) pass(damage *CorruptionError) {
	s.damage = append(s.damage, damage)
	if s.batch != nil {
		s.batch(damage.NextOffset, 0)
	}
}

func (s *delayScan) lookAll(run []byte) error {
	for rest := run; len(rest) > 0; {
		b, err := record.First(rest)
		if err != nil {
			return err
		}
		if s.until > 0 && b.BaseOffset() >= s.until {
			return nil
		}
		err = s.look(b)
		if errors.Is(err, ErrCorrupt) { // sound by its checksum, and yet unreadable
			s.damage = append(s.damage, &CorruptionError{Path: s.log.Dir(), Pos: -1, FirstOffset: b.BaseOffset(), NextOffset: b.NextOffset(), Cause: err})
		} else if err != nil {
			return err
		}
		rest = rest[len(b):]
	}
	return nil
}

func (s *delayScan) look(b record.Batch) error {
	if s.batch != nil {
		s.batch(b.NextOffset(), b.MaxTimestamp())
	}
	first := int64(0) // of several records only the latest due time is known
	if b.Count() == 1 {
		first = b.BaseTimestamp()
	}
	if b.Control() || !s.near(first, b.MaxTimestamp()) {
		return nil
	}
	if err := s.decoder.Reset(b, decodeLimit); err != nil {
		return err
	}
	var r record.Record
	for s.decoder.Next(&r) {
		e, err := parseEnvelope(r.Key)
		if errors.Is(err, ErrCorrupt) {
			s.strange(r.Offset, err) // sound bytes, but none of ours: they hold up nothing
			continue
		}
		if err != nil {
			return err
		}
		k := delayKey{due: r.Timestamp, offset: r.Offset, level: s.level}
		if e.kind == kindCancelled {
			k.offset = e.cancelled
			s.cancelled(k)
			continue
		}
		s.message(k, &e)
	}
	return s.decoder.Err()
}

// scanFor makes a scan of a level that feeds a selection. wanted, if not nil, chooses among the messages.
func (d *delays) scanFor(level uint8, l *log.Log, sel *selection, wanted func(e *envelope) bool) *delayScan {
	return &delayScan{
		level: level, log: l, next: log.At(l.Start()),
		near: func(first, last int64) bool { return last >= sel.from.due && first <= sel.cut.due },
		message: func(k delayKey, e *envelope) {
			if sel.wants(k) && (wanted == nil || wanted(e)) {
				sel.add(delayItem{delayKey: k, target: d.targets.of(e)})
			}
		},
		cancelled: sel.cancel,
		strange: func(offset int64, err error) {
			d.eng.logger.Error("a record is no delayed message", "topic", DelayedTopic, "partition", levelPart(level), "offset", offset, "err", err)
		},
	}
}

// errTurned: the reach was lowered while a level was loaded, and new messages below what it was may be missing.
var errTurned = errors.New("topic: the clock was put back meanwhile")

// load brings the soonest messages of a level that are on disk only into memory.
func (d *delays) load(level uint8) error {
	part, err := d.topic.partition(levelPart(level))
	if err != nil {
		return err
	}
	l, err := part.open()
	if err != nil {
		return err
	}
	lv := &d.levels[level]
	d.mu.Lock()
	from, settled, turns, fresh := lv.horizon, d.settled, d.turns, !lv.loaded()
	d.mu.Unlock()
	sel := newSelection(from, settled, d.nearMost)
	scan := d.scanFor(level, l, sel, nil)
	counted := delayLevel{end: l.Start()}
	if fresh {
		scan.batch = counted.count
	}
	// What is appended during the first pass, which may be long, is read by the second, and what is appended during
	// that one under the lock: then nothing can have been missed.
	defer func() { d.harmed(part, scan.damage) }()
	for range 2 {
		if err := scan.run(); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := scan.run(); err != nil {
		return err
	}
	if fresh && turns != d.turns {
		return errTurned
	}
	sel.shrink()
	if fresh {
		lv.chunks, lv.end = counted.chunks, counted.end
	}
	lv.horizon = sel.cut
	for _, it := range sel.items {
		d.put(lv, it)
	}
	return nil
}
