package log

// What a partition remembers of each producer: enough to recognise a batch sent
// twice, to refuse one that is late or out of order, and to know which
// transactions are open (the semantics of KIP-98 and KIP-360).
//
// Calls, all under the log's mutex, times in ms since the epoch:
//
//	p.check(b, from)      before the write: duplicate, refusal, or neither; changes nothing
//	p.apply(b, now)       after the write, with b's final base offset: every batch, also a
//	                      replicated or recovered one; tells when a transaction ended
//	p.firstUnstable(high) where reading of committed data must stop
//	p.expire(now, ttl)    forgets idle producers
//	p.truncate(end)       after the log was cut back: false means reload and replay
//
// The zero value knows no producer and costs no memory beyond its own size.
// check and apply allocate only when a producer is new.

import (
	"cmp"
	"math"
	"slices"

	"github.com/quirelog/quire/log/record"
)

// origin is who hands a batch to the log, and so what is judged.
type origin int8

const (
	// fromClient: everything is judged, duplicates are answered.
	fromClient origin = iota
	// fromCoordinator: written by a group or transaction coordinator in this process
	// on behalf of a producer, without sequence numbers: only epochs are judged.
	fromCoordinator
	// fromLeader: a leader has judged it already; it only has to be readable.
	fromLeader
)

// Values of fields that say "none".
const (
	noEpoch    = -1
	noSequence = -1
	noOffset   = -1
)

// windowSize is how many batches of a producer are remembered, as many as a
// client may have in flight.
const windowSize = 5

// producers is the state of all producers of one partition. Entries lie in a
// slab without pointers, so a partition with many producers costs the garbage
// collector nothing.
type producers struct {
	index map[int64]int32 // producer id to its place in known; nil when empty
	known []producer
	txns  unstable
	end   int64 // next offset after the last batch that changed this state

	snapped bool  // a snapshot was loaded or saved since the last reset
	saved   int64 // its offset, or noOffset when that file is gone
}

// producer is one producer's entry.
type producer struct {
	id               int64
	lastTimestamp    int64 // largest timestamp of its last batch or marker
	seen             int64 // when this log last heard of it
	txnFirst         int64 // first offset of its open transaction, or noOffset
	coordinatorEpoch int32 // of its last marker, or noEpoch
	epoch            int16
	count            uint8
	window           [windowSize]producedBatch // the last count batches, oldest first
}

// producedBatch is one remembered batch.
type producedBatch struct {
	lastOffset  int64
	timestamp   int64
	lastSeq     int32
	offsetDelta int32 // last offset minus first, also the delta of the sequences
}

// duplicate is where a batch that came a second time lies already.
type duplicate struct {
	base, last int64 // offsets
	timestamp  int64 // largest timestamp of the stored batch
}

// check judges a batch before it is written. found: it is stored already and
// must not be written again. The error is one of the typed errors of
// producers_errors.go, or the parse error of a control batch.
func (p *producers) check(b record.Batch, from origin) (dup duplicate, found bool, err error) {
	id := b.ProducerID()
	if id < 0 {
		return duplicate{}, false, nil
	}
	if b.Control() {
		return duplicate{}, false, p.checkMarker(b, id, from)
	}
	if from == fromLeader {
		return duplicate{}, false, nil
	}
	known := p.find(id)
	if known == nil {
		return duplicate{}, false, checkFirst(id, b.ProducerEpoch())
	}
	if from == fromClient {
		if dup, found = known.duplicateOf(b); found {
			return dup, true, nil
		}
	}
	return duplicate{}, false, known.check(b, from)
}

// checkFirst judges the first batch of an unknown producer: any sequence will do.
func checkFirst(id int64, epoch int16) error {
	if epoch < 0 {
		return &ProducerFencedError{id, epoch, noEpoch}
	}
	return nil
}

// check applies the rules of epoch, sequence and transaction, in this order.
func (e *producer) check(b record.Batch, from origin) error {
	epoch := b.ProducerEpoch()
	if epoch < 0 || epoch < e.epoch {
		return &ProducerFencedError{e.id, epoch, e.epoch}
	}
	if from == fromClient {
		if want, ok := e.continues(epoch, b.BaseSequence()); !ok {
			return &SequenceError{e.id, epoch, want, b.BaseSequence()}
		}
	}
	if e.txnFirst >= 0 && !b.Transactional() {
		return &TxnStateError{e.id, epoch, e.txnFirst}
	}
	return nil
}

// continues reports whether seq may follow, and which sequence is due.
func (e *producer) continues(epoch int16, seq int32) (want int32, ok bool) {
	switch {
	case e.epoch == noEpoch: // nothing to compare with
		return seq, true
	case epoch != e.epoch: // a new epoch begins at 0
		return 0, seq == 0
	}
	if last := e.lastSeq(); last != noSequence {
		want = record.NextSequence(last)
	} // else a marker raised the epoch and no batch is known: it begins at 0
	return want, seq == want
}

// firstSequence is the first of the delta+1 sequence numbers that end with last.
func firstSequence(last, delta int32) int32 {
	if last < delta {
		return math.MaxInt32 - (delta - last) + 1
	}
	return last - delta
}

// lastSeq is the last sequence of the newest batch, noSequence if none is known.
func (e *producer) lastSeq() int32 {
	if e.count == 0 {
		return noSequence
	}
	return e.window[e.count-1].lastSeq
}

// duplicateOf finds b among the remembered batches: same epoch, same first and
// last sequence. An overlap is no duplicate.
func (e *producer) duplicateOf(b record.Batch) (duplicate, bool) {
	first, last := b.BaseSequence(), b.LastSequence()
	if b.ProducerEpoch() != e.epoch || first < 0 {
		return duplicate{}, false
	}
	for i := range e.window[:e.count] {
		w := &e.window[i]
		if w.lastSeq == last && firstSequence(w.lastSeq, w.offsetDelta) == first {
			return duplicate{w.lastOffset - int64(w.offsetDelta), w.lastOffset, w.timestamp}, true
		}
	}
	return duplicate{}, false
}

// checkMarker judges a control batch. One that ends no transaction, or that the
// cleaner emptied, is no concern of producers.
func (p *producers) checkMarker(b record.Batch, id int64, from origin) error {
	_, coordinator, ends, err := parseMarker(b)
	if err != nil || !ends || from == fromLeader {
		return err
	}
	epoch := b.ProducerEpoch()
	known := p.find(id)
	if known == nil {
		return checkFirst(id, epoch)
	}
	if epoch < 0 || epoch < known.epoch {
		return &ProducerFencedError{id, epoch, known.epoch}
	}
	if coordinator < known.coordinatorEpoch {
		return &CoordinatorFencedError{id, coordinator, known.coordinatorEpoch}
	}
	return nil
}

// parseMarker reads an end-of-transaction marker; ends is false for other control batches.
func parseMarker(b record.Batch) (aborted bool, coordinator int32, ends bool, err error) {
	if b.Count() == 0 {
		return false, noEpoch, false, nil
	}
	kind, coordinator, err := record.ParseControl(b)
	if err != nil {
		return false, noEpoch, false, err
	}
	return kind == record.Abort, coordinator, kind == record.Abort || kind == record.Commit, nil
}

// apply takes note of a batch that is now in the log, whoever wrote it: nothing
// is judged, so that a copy has the state of its leader, even where that leader
// forgot an expired producer and took an older epoch anew. ended is true when
// the batch is a marker that ends a transaction with data; then txn goes into
// the index of aborted transactions if txn.aborted. An error says that a control
// batch cannot be read; nothing has changed then. It cannot happen after check.
func (p *producers) apply(b record.Batch, now int64) (txn completedTxn, ended bool, err error) {
	id := b.ProducerID()
	if id < 0 {
		return completedTxn{}, false, nil
	}
	if b.Control() {
		return p.applyMarker(b, id, now)
	}
	e := p.enter(id)
	e.adopt(b.ProducerEpoch())
	e.remember(producedBatch{b.LastOffset(), b.MaxTimestamp(), b.LastSequence(), b.LastOffsetDelta()})
	e.lastTimestamp, e.seen = b.MaxTimestamp(), now
	if b.Transactional() && e.txnFirst < 0 {
		e.txnFirst = b.BaseOffset()
		p.txns.begin(id, e.txnFirst)
	}
	p.end = b.NextOffset()
	return completedTxn{}, false, nil
}

func (p *producers) applyMarker(b record.Batch, id, now int64) (txn completedTxn, ended bool, err error) {
	aborted, coordinator, ends, err := parseMarker(b)
	if err != nil || !ends {
		return completedTxn{}, false, err
	}
	e := p.enter(id)
	e.adopt(b.ProducerEpoch())
	e.coordinatorEpoch = coordinator
	e.lastTimestamp, e.seen = b.MaxTimestamp(), now
	p.end = b.NextOffset()
	if e.txnFirst < 0 { // no data: nothing ended, stable does not move
		return completedTxn{}, false, nil
	}
	txn = completedTxn{producerID: id, first: e.txnFirst, last: b.LastOffset(), aborted: aborted}
	e.txnFirst = noOffset
	txn.stable = p.txns.complete(id, txn.first, txn.last)
	return txn, true, nil
}

// adopt makes epoch the current one; a new epoch forgets the batches of the old.
func (e *producer) adopt(epoch int16) {
	if e.epoch != epoch {
		e.epoch, e.count = epoch, 0
	}
}

// remember adds a batch to the window, in place of the oldest of five.
func (e *producer) remember(b producedBatch) {
	if e.count == windowSize {
		copy(e.window[:], e.window[1:])
		e.count--
	}
	e.window[e.count] = b
	e.count++
}

// find returns the entry of a producer, nil if it is unknown. The pointer is
// good until an entry is added or removed.
func (p *producers) find(id int64) *producer {
	i, ok := p.index[id]
	if !ok {
		return nil
	}
	return &p.known[i]
}

// enter returns the entry of a producer, a new one if need be.
func (p *producers) enter(id int64) *producer {
	if e := p.find(id); e != nil {
		return e
	}
	if p.index == nil {
		p.index = make(map[int64]int32)
	}
	p.index[id] = int32(len(p.known))
	p.known = append(p.known, producer{id: id, epoch: noEpoch, coordinatorEpoch: noEpoch,
		txnFirst: noOffset, lastTimestamp: record.NoTimestamp})
	return &p.known[len(p.known)-1]
}

// firstUnstable is the first offset that a reader of committed data must not
// reach yet: the begin of the earliest transaction that is open, or whose marker
// is not below high. ok is false when there is none. The caller bounds it from
// below by the log's start. high may only grow between calls, or p be reloaded.
func (p *producers) firstUnstable(high int64) (offset int64, ok bool) {
	return p.txns.first(high)
}

// expire forgets producers without an open transaction that this log has not
// heard of for ttl, and says how many. Kafka measures by the timestamps of the
// records; then an import of old records would lose its protection against
// duplicates at the first expiry, so here the time of writing counts.
func (p *producers) expire(now, ttl int64) (removed int) {
	for i := 0; i < len(p.known); {
		if e := &p.known[i]; e.txnFirst >= 0 || now-e.seen < ttl {
			i++
			continue
		}
		p.remove(i)
		removed++
	}
	switch left := len(p.known); {
	case left == 0:
		p.index, p.known = nil, nil
	case left <= cap(p.known)/4: // what a crowd took is given back
		p.known = slices.Clone(p.known)
		p.index = make(map[int64]int32, left)
		for i := range p.known {
			p.index[p.known[i].id] = int32(i)
		}
	}
	return removed
}

// remove fills the gap with the last entry.
func (p *producers) remove(i int) {
	last := len(p.known) - 1
	delete(p.index, p.known[i].id)
	if i != last {
		p.known[i] = p.known[last]
		p.index[p.known[i].id] = int32(i)
	}
	p.known = p.known[:last]
}

// truncate is told that the log now ends at end. It reports true when nothing
// this state knows was cut. Otherwise the state is reset, because what a later
// batch replaced is not kept: the caller loads the newest snapshot at or below
// end and applies the batches from there.
func (p *producers) truncate(end int64) (intact bool) {
	if p.end <= end {
		if p.snapped && p.saved > end {
			p.saved = noOffset
		}
		return true
	}
	p.reset()
	return false
}

// reset forgets everything.
func (p *producers) reset() { *p = producers{} }

// ProducerState describes what a partition knows of one producer; it is also an
// entry of a producer snapshot file.
type ProducerState struct {
	ProducerID       int64
	Epoch            int16
	LastSequence     int32 // of its last batch; -1 if none is remembered
	LastOffset       int64 // of its last batch; -1 if none is remembered
	OffsetDelta      int32 // last minus first offset of that batch
	LastTimestamp    int64 // ms since the epoch; -1 if none
	CoordinatorEpoch int32 // of the last marker; -1 if none
	TxnStart         int64 // first offset of the open transaction; -1 if none
}

// list describes all producers, ascending by id.
func (p *producers) list() []ProducerState {
	if len(p.known) == 0 {
		return nil
	}
	states := make([]ProducerState, len(p.known))
	for i := range p.known {
		states[i] = p.known[i].state()
	}
	slices.SortFunc(states, func(a, b ProducerState) int { return cmp.Compare(a.ProducerID, b.ProducerID) })
	return states
}

func (e *producer) state() ProducerState {
	s := ProducerState{
		ProducerID: e.id, Epoch: e.epoch,
		LastSequence: noSequence, LastOffset: noOffset,
		LastTimestamp: e.lastTimestamp, CoordinatorEpoch: e.coordinatorEpoch, TxnStart: e.txnFirst,
	}
	if e.count > 0 {
		w := &e.window[e.count-1]
		s.LastSequence, s.LastOffset, s.OffsetDelta = w.lastSeq, w.lastOffset, w.offsetDelta
	}
	return s
}

// restore replaces the state by that of a snapshot at offset end. Entries that
// would expire at once are left out: neither their records nor the snapshot,
// written at time seen, is younger than ttl, and no transaction is open.
func (p *producers) restore(states []ProducerState, end, seen, now, ttl int64) {
	*p = producers{end: end, snapped: true, saved: end}
	seen = min(seen, now)
	for i := range states {
		s := &states[i]
		if s.TxnStart < 0 && now-max(s.LastTimestamp, seen) >= ttl {
			continue
		}
		e := p.enter(s.ProducerID)
		e.epoch, e.coordinatorEpoch = s.Epoch, s.CoordinatorEpoch
		e.lastTimestamp, e.seen = s.LastTimestamp, max(seen, min(s.LastTimestamp, now))
		if s.LastOffset >= 0 {
			e.remember(producedBatch{s.LastOffset, s.LastTimestamp, s.LastSequence, s.OffsetDelta})
		}
		if s.TxnStart >= 0 {
			e.txnFirst = s.TxnStart
			p.txns.begin(s.ProducerID, s.TxnStart)
		}
	}
}
