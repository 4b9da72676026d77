package main

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
)

// What a script does to keep a log small: compaction, retention, redaction, and the
// transactions whose traces compaction clears away.

// tombstoneTime is how long tombstones stay in the scenarios.
const tombstoneTime = time.Hour

// cleanTime is when the first compaction of a scenario takes place.
func cleanTime() time.Time { return time.UnixMilli(firstTime).Add(24 * time.Hour) }

// mapMemory is room for more keys than there are.
const mapMemory = 24 * 64

// compact makes one compaction at a time.
func (s *script) compact(now time.Time) {
	if !s.ok() {
		return
	}
	c, err := s.l.Cleanable(now)
	if s.tolerate(err) {
		return
	}
	s.h.beginPass(now, c.FirstUncleanable)
	s.finishPass(s.activeBase())(s.l.Compact(ctx(), log.CompactOptions{Now: now, Memory: mapMemory}))
}

// compactBeside makes one compaction while others append: how far it will go nobody
// knows before.
func (s *script) compactBeside(now time.Time) {
	if s.ok() {
		s.h.beginPass(now, math.MaxInt64)
		s.finishPass(s.activeBase())(s.l.Compact(ctx(), log.CompactOptions{Now: now, Memory: mapMemory}))
	}
}

// finishPass notes what a compaction told. The active segment, whose base is given, is not
// touched, although after a truncation the checkpoint may lie inside it.
func (s *script) finishPass(active int64) func(done log.Compacted, err error) {
	return func(done log.Compacted, err error) {
		if !s.tolerate(err) {
			s.h.donePass(min(done.Checkpoint, active))
			s.cleaned = done.Checkpoint
		}
	}
}

func (s *script) activeBase() int64 {
	segments := s.l.Segments()
	return segments[len(segments)-1].Base
}

// tolerate notes an error of a call that may fail on a rough disk, where the script goes on.
func (s *script) tolerate(err error) bool {
	if s.rough {
		return err != nil
	}
	return s.failed(err)
}

// cleanAgain compacts once more, when everything that waited may go.
func (s *script) cleanAgain() {
	if c := s.h.cleaning; c != nil && len(c.passes) > 0 {
		s.compact(c.passes[len(c.passes)-1].now.Add(2 * c.retention))
		s.look()
	}
}

// retain removes what the rules do not keep. The start that must come of it is worked
// out beside the log.
func (s *script) retain(now time.Time, r log.Retention) {
	if !s.ok() {
		return
	}
	start := s.startUnder(now, &r)
	s.change(func(h *history) { h.raiseStart(start) }, func() error {
		done, err := s.l.ApplyRetention(ctx(), now, &r)
		if err != nil { // a part may be done
			s.h.begin(func(h *history) { h.raiseStart(done.Start) })
		}
		return err
	})
}

// startUnder is where a log begins after retention: at the first segment that every rule keeps.
func (s *script) startUnder(now time.Time, r *log.Retention) int64 {
	segments := s.l.Segments()
	end := s.l.End()
	for i := range segments { // where the next one begins: compaction leaves gaps
		if i+1 < len(segments) {
			segments[i].Next = segments[i+1].Base
		} else {
			segments[i].Next = end
		}
	}
	start := s.l.Start()
	raise := func(may func(i int) bool) {
		for i, f := range segments {
			if f.Next > s.l.High() || !may(i) {
				return
			}
			start = max(start, f.Next)
		}
	}
	if r.Age != 0 {
		raise(func(i int) bool { return s.newestIn(segments[i]).Add(r.Age).Before(now) })
	}
	if r.Bytes != 0 {
		raise(func(i int) bool {
			left := int64(0)
			for _, f := range segments[i+1:] {
				left += f.Bytes
			}
			return left >= r.Bytes
		})
	}
	if r.Records != 0 {
		raise(func(i int) bool { return segments[i].Next <= end-r.Records })
	}
	if r.Acknowledged != nil {
		offset, ok := r.Acknowledged()
		raise(func(i int) bool { return ok && segments[i].Next <= offset })
	}
	return start
}

// newestIn is the time of the newest record of a segment.
func (s *script) newestIn(f log.Facts) time.Time {
	newest := int64(math.MinInt64)
	for _, w := range s.h.writes {
		if w.told == acked && w.offset >= f.Base && w.offset < f.Next {
			r := recordOf(w.id)
			newest = max(newest, r.Timestamp)
		}
	}
	return time.UnixMilli(newest)
}

// redact replaces the value of the record at an offset; afterwards no file has the old one.
func (s *script) redact(offset int64) {
	if !s.ok() {
		return
	}
	w := s.h.at(offset)
	if w == nil && s.rough {
		return
	}
	if w == nil {
		s.broke(fmt.Errorf("the scenario redacts offset %d, which was never told", offset))
		return
	}
	s.h.begin(func(h *history) { h.redact(offset) })
	switch err := s.l.Redact(ctx(), offset, log.RedactOptions{Value: redactedValueOf(w.id)}); {
	case err == nil:
		s.h.done()
	case errors.Is(err, log.ErrTooLarge): // compressed anew, the batch does not fit any more
		s.h.undone()
		return
	default:
		s.failed(err)
	}
	if s.ok() && s.codec == 0 {
		s.expectNowhere(w.id)
	}
}

// expectNowhere says that no file of the log holds the old value of a record.
func (s *script) expectNowhere(id int) {
	names, err := s.fs.List(logDir)
	if s.failed(err) {
		return
	}
	for _, name := range names {
		if strings.Contains(name, ".cut-") {
			continue // what recovery saved aside is the caller's to remove
		}
		data, err := vfs.ReadFile(s.fs, filepath.Join(logDir, name), 1<<20)
		if s.failed(err) {
			return
		}
		if holds(data, id) {
			s.broke(faultf(wrong, "file %s still holds record %d, which was redacted", name, id))
		}
	}
}

// reap unlinks the files whose delay is over; afterwards none waits.
func (s *script) reap() {
	if !s.ok() {
		return
	}
	if _, err := s.l.DeleteFiles(time.Now().Add(2 * log.DefaultFileDeleteDelay)); s.tolerate(err) {
		return
	}
	s.expectNone(".deleted")
}

// expectNone says that no file has one of these endings.
func (s *script) expectNone(endings ...string) {
	if !s.ok() {
		return
	}
	names, err := s.fs.List(logDir)
	if s.tolerate(err) {
		return
	}
	for _, name := range names {
		if slices.ContainsFunc(endings, func(e string) bool { return strings.HasSuffix(name, e) }) {
			s.broke(faultf(wrong, "file %s was left behind", name))
		}
	}
}

// configure puts other settings in force, for this and all later openings.
func (s *script) configure(cfg *log.Config) {
	if s.ok() && !s.failed(s.l.Configure(cfg)) {
		s.cfg = cfg
	}
}

// client is a producer that takes part in transactions.
type client struct {
	next int32 // sequence number
	txn  int   // the open transaction, 0 for none
}

// send appends a batch of n records in the producer's transaction, which it begins if none is open.
func (s *script) send(producer, n int) {
	if !s.ok() {
		return
	}
	c := s.client(producer)
	if c.txn == 0 {
		s.txns++
		c.txn = s.txns
	}
	first := s.h.plan(producer, n)
	s.h.enlist(first, c.txn, false, 0)
	b := batchOf(record.BuilderConfig{Codec: s.codec, HasProducer: true, ProducerID: int64(producer), BaseSequence: c.next, Transactional: true}, first, n)
	c.next += int32(n)
	a, err := s.l.Append(ctx(), b, log.AppendOptions{})
	s.settle(first, a, err, s.cfg.Durability)
	s.failed(err)
}

// end ends the producer's transaction with a marker.
func (s *script) end(producer int, kind record.ControlType) {
	if !s.ok() {
		return
	}
	c := s.client(producer)
	first := s.h.plan(producer, 1)
	s.h.enlist(first, c.txn, true, kind)
	c.txn = 0
	a, err := s.l.Append(ctx(), markerOf(first, int64(producer), kind), log.AppendOptions{Coordinator: true})
	s.settle(first, a, err, s.cfg.Durability)
	s.failed(err)
}

func (s *script) client(producer int) *client {
	if s.clients == nil {
		s.clients = map[int]*client{}
	}
	if s.clients[producer] == nil {
		s.clients[producer] = &client{}
	}
	return s.clients[producer]
}

// enlist notes that a batch belongs to a transaction, or is its marker.
func (h *history) enlist(first, txn int, marker bool, kind record.ControlType) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.writes[first].count {
		w := h.writes[first+i]
		w.txn, w.marker, w.kind = txn, marker, kind
	}
}
