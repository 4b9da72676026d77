package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/quirelog/quire/compress"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
)

// logDir is where a script's log lies; its parent stands for the engine's directory.
const logDir = "/data/t-0"

// script is a program that uses one log and remembers what it was told. After the
// first failure it does nothing more: what follows is up to the lane.
type script struct {
	fs    vfs.FS
	cfg   *log.Config
	codec compress.Codec
	power func() bool // reports whether the power is gone; nil: it never goes
	l     *log.Log
	h     *history
	err   error // the first call that failed
	told  error // the first promise broken that a caller could see at once
	// producer, when not nil, numbers the batches of the script.
	producer *sequence
	// rough says that calls may fail: the script goes on after a failed append.
	rough bool
	// hooked opens logs as an engine does, so that files of removed segments wait for reap.
	hooked bool
	// cleaned is the log's checkpoint of compaction, which an engine keeps for it.
	cleaned int64
	// clients are the producers that take part in transactions, of which there were txns.
	clients map[int]*client
	txns    int
}

// sequence is the state of an idempotent producer.
type sequence struct {
	id    int64
	epoch int16
	next  int32
	// open is the last batch if its outcome is unknown: to be sent again.
	open  record.Batch
	first int
}

func newScript(fsys vfs.FS, cfg *log.Config, power func() bool) *script {
	return &script{fs: fsys, cfg: cfg, power: power, h: newHistory()}
}

// ctx is the context of calls that nobody cancels.
func ctx() context.Context { return context.Background() }

func (s *script) ok() bool { return s.err == nil && s.told == nil }

// broke notes a promise broken.
func (s *script) broke(err error) {
	if s.told == nil {
		s.told = err
	}
}

// failed notes the first error of a call.
func (s *script) failed(err error) bool {
	if err != nil && s.err == nil {
		s.err = err
	}
	return err != nil
}

// dark reports whether the power is gone: what is told then reaches nobody, unless
// it is success.
func (s *script) dark() bool { return s.power != nil && s.power() }

// mkdir makes the log's directory as an engine does.
func mkdir(fsys vfs.FS) error {
	if err := fsys.MkdirAll(logDir); err != nil {
		return err
	}
	if err := fsys.SyncDir("/data"); err != nil {
		return err
	}
	return fsys.SyncDir("/")
}

// open opens the log; the first time after the directory was made.
func (s *script) open() {
	if !s.ok() {
		return
	}
	if err := mkdir(s.fs); s.failed(err) {
		return
	}
	l, _, err := s.openLog()
	if s.failed(err) {
		return
	}
	s.l = l
}

func (s *script) openLog() (*log.Log, log.Recovered, error) {
	st := log.OpenState{Cleaned: s.cleaned}
	if s.hooked {
		st.Hooks.Removed = func(*log.Log, time.Duration) {}
	}
	return log.Open(s.fs, logDir, s.cfg, st)
}

// close closes the log; success promises that all of it is durable.
func (s *script) close() {
	if s.l == nil {
		return
	}
	err := s.l.Close()
	if err == nil && s.ok() {
		s.allDurable()
	}
	s.l = nil
	s.failed(err)
}

func (s *script) reopen() {
	s.close()
	s.open()
}

// allDurable notes a success that covers everything acked so far.
func (s *script) allDurable() { s.h.harden() }

// append appends one batch of n records as writer 0.
func (s *script) append(n int) {
	if s.producer != nil {
		s.appendNumbered(n)
		return
	}
	s.appendAs(0, n, log.AppendOptions{})
}

// appendAs appends one batch and notes the outcome told.
func (s *script) appendAs(writer, n int, o log.AppendOptions) {
	if !s.ok() {
		return
	}
	first := s.h.plan(writer, n)
	b := batchOf(record.BuilderConfig{Codec: s.codec}, first, n)
	a, err := s.l.Append(ctx(), b, o)
	s.settle(first, a, err, s.levelOf(o))
}

// levelOf is what an append with these options promises.
func (s *script) levelOf(o log.AppendOptions) log.Durability {
	switch {
	case o.NoWait:
		return log.OS
	case o.Synced:
		return log.Sync
	}
	return s.cfg.Durability
}

// settle notes what an append told.
func (s *script) settle(first int, a log.Appended, err error, level log.Durability) {
	switch {
	case err == nil:
		s.h.tell(first, acked, a.Base, level == log.Sync)
		s.h.stamp(first, a.Epoch)
	case errors.Is(err, log.ErrUncertain) || s.dark():
		s.h.tell(first, pending, 0, false)
	default:
		s.h.tell(first, refused, 0, false)
	}
	if err != nil {
		if !s.rough || s.producer != nil {
			s.failed(err)
		}
		return
	}
	s.h.observe(s.l, s.cfg.Durability)
}

// appendNumbered appends as an idempotent producer.
func (s *script) appendNumbered(n int) {
	if !s.ok() {
		return
	}
	p := s.producer
	first := s.h.plan(0, n)
	cfg := record.BuilderConfig{Codec: s.codec, HasProducer: true, ProducerID: p.id, ProducerEpoch: p.epoch, BaseSequence: p.next}
	b := batchOf(cfg, first, n)
	p.open, p.first = slices.Clone(b), first
	p.next += int32(n)
	a, err := s.l.Append(ctx(), b, log.AppendOptions{})
	if err == nil {
		p.open = nil
	}
	s.settle(first, a, err, s.cfg.Durability)
}

// retry sends a producer's last batch again when its outcome is unknown. Whether
// it was in the log or not, it must be there once afterwards.
func (s *script) retry() {
	p := s.producer
	if p == nil || p.open == nil || !s.ok() {
		return
	}
	s.h.mu.Lock()
	w := *s.h.writes[p.first]
	s.h.mu.Unlock()
	a, err := s.l.Append(ctx(), p.open, log.AppendOptions{})
	if err != nil {
		s.broke(faultf(wrong, "producer's batch with unknown outcome (in the log: %v) sent again: %v", w.told == acked, err))
		return
	}
	if here := w.told == acked; here != a.Duplicate || (here && a.Base != w.offset) {
		s.broke(faultf(wrong, "producer's batch sent again: duplicate %v at %d, in the log before: %v at %d", a.Duplicate, a.Base, here, w.offset))
		return
	}
	s.h.tell(p.first, acked, a.Base, true)
	p.open = nil
}

// repeat sends an acknowledged batch a second time: it must be known.
func (s *script) repeat(b record.Batch, base int64) {
	a, err := s.l.Append(ctx(), b, log.AppendOptions{})
	if err != nil {
		if !s.dark() && !s.rough && !errors.Is(err, log.ErrUncertain) {
			s.broke(faultf(wrong, "duplicate of an acknowledged batch: %v", err))
		}
		s.failed(err)
		return
	}
	if !a.Duplicate || a.Base != base {
		s.broke(faultf(wrong, "duplicate of the batch at %d was appended at %d", base, a.Base))
	}
}

// flush makes everything durable.
func (s *script) flush() {
	if s.ok() && !s.failed(s.l.Flush(ctx())) {
		s.allDurable()
		s.h.observe(s.l, s.cfg.Durability)
	}
}

// tick does what time makes due.
func (s *script) tick() {
	if !s.ok() {
		return
	}
	if _, err := s.l.Tick(ctx()); !s.failed(err) {
		s.h.observe(s.l, s.cfg.Durability)
	}
}

// change runs a call that changes the log's shape: until it returns, and for good
// if it fails, either state is possible.
func (s *script) change(to func(next *history), call func() error) {
	if !s.ok() {
		return
	}
	s.h.begin(to)
	if s.failed(call()) {
		return
	}
	s.h.done()
	s.h.observe(s.l, s.cfg.Durability)
}

func (s *script) truncate(to int64) {
	s.change(func(h *history) { h.truncate(to) }, func() error { return s.l.Truncate(to) })
}

func (s *script) truncateFully(offset int64) {
	s.cleaned = 0
	s.change(func(h *history) { h.restart(offset) }, func() error { return s.l.TruncateFully(offset) })
}

func (s *script) deleteRecords(before int64) {
	s.change(func(h *history) { h.raiseStart(before) }, func() error {
		_, err := s.l.DeleteRecords(before)
		return err
	})
}

// boundary is the end of the last whole batch at or below offset.
func (s *script) boundary(offset int64) int64 {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	best := s.h.start
	for _, w := range s.h.writes {
		if w.told != acked || w.id != w.first {
			continue
		}
		if end := w.offset + int64(w.count); end <= offset && end > best {
			best = end
		}
	}
	return best
}

func (s *script) advanceHigh(to int64) {
	if s.ok() {
		s.l.AdvanceHigh(to)
		s.h.observe(s.l, s.cfg.Durability)
	}
}

func (s *script) setEpoch(epoch int32) {
	if s.ok() {
		s.failed(s.l.SetLeaderEpoch(epoch))
	}
}

// look compares the log with the history while it runs.
func (s *script) look() {
	if !s.ok() {
		return
	}
	g, err := readLog(s.l)
	if err == nil {
		err = s.h.verify(g, alive)
	}
	s.judge(err)
}

// judge notes an error of reading. A call that fails on a rough disk breaks no
// promise; data that is not what was told does.
func (s *script) judge(err error) {
	if err == nil || s.dark() {
		s.failed(err)
		return
	}
	if f := (*fault)(nil); !s.rough || errors.As(err, &f) {
		s.broke(err)
	}
	s.failed(err)
}

// readLog reads all of a log.
func readLog(l *log.Log) (*found, error) {
	g := &found{start: l.Start(), high: l.High(), end: l.End()}
	var run []byte
	var err error
	for place := log.At(g.start); ; {
		run, place, err = l.Read(run, place, log.ReadOptions{Bound: log.End, Check: true})
		if err != nil {
			return nil, fmt.Errorf("read at %d: %w", place.Offset, err)
		}
		if len(run) == 0 {
			return g, g.isolation(l)
		}
		if g.recs, err = decode(g.recs, run, g.start); err != nil {
			return nil, err
		}
	}
}

// decode appends the records of a run that lie at or above start, markers among them.
func decode(recs []got, run []byte, start int64) ([]got, error) {
	var d record.Decoder
	for b, err := range record.Batches(run) {
		if err != nil {
			return nil, err
		}
		if recs, err = decodeBatch(recs, &d, b, start); err != nil {
			return nil, err
		}
	}
	return recs, nil
}

func decodeBatch(recs []got, d *record.Decoder, b record.Batch, start int64) ([]got, error) {
	if b.Control() {
		g, there, err := identifyMarker(b)
		if there && g.offset >= start {
			g.epoch = b.LeaderEpoch()
			recs = append(recs, g)
		}
		return recs, err
	}
	var r record.Record
	if err := d.Reset(b, 0); err != nil {
		return nil, err
	}
	for d.Next(&r) {
		g, err := identify(&r)
		if err != nil {
			return nil, err
		}
		if g.epoch = b.LeaderEpoch(); r.Offset >= start {
			recs = append(recs, g)
		}
	}
	return recs, d.Err()
}

// checkTimes compares the time look-up with a walk over the records.
func checkTimes(l *log.Log, g *found) error {
	times := []int64{0, firstTime, firstTime + 1<<40}
	for _, r := range g.recs {
		if r.time >= 0 { // a marker here has none
			times = append(times, r.time, r.time+1)
		}
	}
	for i, ts := range times {
		if len(times) > 24 && i%(len(times)/12) != 0 {
			continue
		}
		want := slices.IndexFunc(g.recs, func(r got) bool { return r.time >= ts && r.offset < g.high })
		at, ok, err := l.OffsetFor(ts, log.High)
		switch {
		case err != nil:
			return fmt.Errorf("offset for time %d: %w", ts, err)
		case ok != (want >= 0):
			return faultf(wrong, "offset for time %d: found %v, want %v", ts, ok, want >= 0)
		case ok && at.Offset != g.recs[want].offset:
			return faultf(wrong, "offset for time %d is %d, want %d", ts, at.Offset, g.recs[want].offset)
		}
	}
	return nil
}
