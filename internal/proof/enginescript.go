package main

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

// engineScript is a program that uses an engine and remembers what it was told.
type engineScript struct {
	fs    vfs.FS
	power func() bool
	eng   *topic.Engine
	h     *engineHistory
	err   error
	told  error
	play  func(s *engineScript)
	// rough says that calls may fail: the script goes on after a failed append.
	rough bool
	// faithless: see scripted.
	faithless bool
	// copies are the directories that were made copies of this one.
	copies map[string]*copied
}

func (s *engineScript) lied() { s.faithless = true }

func (s *engineScript) ok() bool { return s.err == nil && s.told == nil }

func (s *engineScript) dark() bool { return s.power != nil && s.power() }

func (s *engineScript) failed(err error) bool {
	if err != nil && s.err == nil {
		s.err = err
	}
	return err != nil
}

func (s *engineScript) broke(err error) {
	if s.told == nil {
		s.told = err
	}
}

func (s *engineScript) open() {
	if !s.ok() {
		return
	}
	eng, err := topic.Open(engineDir, topic.On(s.fs), topic.WithRetention(topic.RetentionHooks{Policy: keepTwo{s}}))
	if !s.failed(err) {
		s.eng = eng
	}
}

// close ends the engine; success promises that everything is on disk.
func (s *engineScript) close() {
	if s.eng == nil {
		return
	}
	err := s.eng.Close()
	s.eng = nil
	if s.ok() && !s.failed(err) {
		s.allDurable()
	}
}

func (s *engineScript) allDurable() {
	for _, t := range s.h.topics {
		for _, h := range t.parts {
			h.harden()
		}
	}
}

// harden notes that everything acked is durable.
func (h *history) harden() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range h.writes {
		if w.told == acked {
			w.durable = true
		}
	}
	h.durableEnd = h.end
}

func (s *engineScript) reopen() {
	s.close()
	s.open()
}

// change runs a call that changes topics.
func (s *engineScript) change(to func(next *engineHistory), call func() error) {
	if !s.ok() {
		return
	}
	s.h.begin(to)
	switch err := call(); {
	case err == nil:
		s.h.done()
	default:
		s.failed(err)
	}
}

func (s *engineScript) create(name string, partitions int, opts ...topic.TopicOption) {
	var t *topic.Topic
	settings := overridesOf(opts)
	s.change(func(h *engineHistory) { h.create(name, partitions, settings) }, func() (err error) {
		t, err = s.eng.CreateTopic(ctx(), name, append(opts, topic.Partitions(partitions))...)
		s.definite(err)
		return err
	})
	if s.ok() {
		s.h.topics[name].id = t.ID()
	}
}

// overridesOf is what options ask for, as the engine stores it.
func overridesOf(opts []topic.TopicOption) map[string]string {
	eng, err := topic.Open("", topic.InMemory())
	if err != nil {
		panic(err)
	}
	defer eng.Close()
	t, err := eng.CreateTopic(ctx(), "x", opts...)
	if err != nil {
		panic(err)
	}
	m := t.Overrides()
	if m == nil {
		m = map[string]string{}
	}
	return m
}

func (s *engineScript) remove(name string) {
	s.change(func(h *engineHistory) { h.remove(name) }, func() error { return s.eng.DeleteTopic(ctx(), name) })
}

func (s *engineScript) alter(name string, partitions int, opts ...topic.TopicOption) {
	settings := overridesOf(opts)
	s.change(func(h *engineHistory) { h.alter(name, partitions, settings) }, func() error {
		err := s.eng.AlterTopic(ctx(), name, append(opts, topic.Partitions(partitions))...)
		s.definite(err)
		return err
	})
}

// definite notes that a change was told not to have happened. A failed deletion is
// never definite: the topic may be gone while its files are not.
func (s *engineScript) definite(err error) {
	if err != nil && !s.dark() && !errors.Is(err, topic.ErrUncertain) {
		s.h.alt = nil
	}
}

// append appends n records as one batch to a partition.
func (s *engineScript) append(name string, partition int32, n int) {
	if !s.ok() {
		return
	}
	t, err := s.eng.Topic(ctx(), name)
	if s.failed(err) {
		return
	}
	p, err := t.Partition(partition)
	if s.failed(err) {
		return
	}
	h := s.h.topics[name].parts[partition]
	first := h.plan(0, n)
	recs := make([]topic.Record, n)
	for i := range recs {
		recs[i] = topicRecord(first + i)
	}
	pos, err := p.Append(ctx(), recs...)
	s.settle(h, first, pos.Offset, err, t.Settings().Durability == log.Sync)
	if !s.rough {
		s.failed(err)
	}
}

func (s *engineScript) settle(h *history, first int, base int64, err error, durable bool) {
	switch {
	case err == nil:
		h.tell(first, acked, base, durable)
	case errors.Is(err, topic.ErrUncertain) || s.dark():
		h.tell(first, pending, 0, false)
	default:
		h.tell(first, refused, 0, false)
	}
}

// produce sends n records to each partition through a Producer, and waits for all.
func (s *engineScript) produce(name string, n int) {
	if !s.ok() {
		return
	}
	p, err := s.eng.NewProducer(topic.PartitionBy(topic.Manual()), topic.DeliveryTimeout(20*time.Millisecond),
		topic.Linger(0), topic.RetryBackoff(time.Millisecond, time.Millisecond))
	if s.failed(err) {
		return
	}
	parts := s.h.topics[name].parts
	var wg sync.WaitGroup
	for i := range n * len(parts) {
		part := i % len(parts)
		h := parts[part]
		first := h.plan(0, 1)
		r := topicRecord(first)
		r.Partition = int32(part)
		wg.Add(1)
		err := p.Send(ctx(), name, r, func(pos topic.Position, err error) {
			defer wg.Done()
			s.settle(h, first, pos.Offset, err, true)
		})
		if err != nil {
			wg.Done()
			s.settle(h, first, 0, err, true)
			s.failed(err)
			break
		}
	}
	s.failed(p.Flush(ctx()))
	s.failed(p.Close())
	wg.Wait()
}

func (s *engineScript) flush() {
	if s.ok() && !s.failed(s.eng.Flush(ctx())) {
		s.allDurable()
	}
}

func (s *engineScript) checkpoint() {
	if s.ok() {
		s.failed(s.eng.Checkpoint(ctx()))
	}
}

func (s *engineScript) deleteRecords(name string, partition int32, before int64) {
	if !s.ok() {
		return
	}
	h := s.h.topics[name].parts[partition]
	h.begin(func(next *history) { next.raiseStart(before) })
	p, err := s.eng.Partition(name, partition)
	if err == nil {
		_, err = p.DeleteRecords(ctx(), before)
	}
	if !s.failed(err) {
		h.done()
	}
}

// look compares the engine with the history while it runs.
func (s *engineScript) look() {
	if !s.ok() {
		return
	}
	all, err := foundEngine(s.eng)
	if err == nil {
		err = s.h.verify(all, alive)
	}
	if f := (*fault)(nil); err != nil && !s.dark() && (!s.rough || errors.As(err, &f)) {
		s.broke(err)
	}
	s.failed(err)
}

func (s *engineScript) run() { s.play(s) }

func (s *engineScript) promise() error {
	if s.told != nil {
		return s.told
	}
	if s.err != nil && !s.dark() && !s.rough {
		return faultf(wrong, "a call failed on a good disk: %v", s.err)
	}
	return nil
}

func (s *engineScript) stop() {
	if s.eng != nil {
		_ = s.eng.Close()
		s.eng = nil
	}
}

// recover opens the engine and all its partitions.
func (s *engineScript) recover(disk vfs.FS) {
	eng, err := topic.Open(engineDir, topic.On(disk))
	if err != nil {
		return
	}
	_, _ = foundEngine(eng)
	_ = eng.Close()
}

func (s *engineScript) check(disk *vfs.Crash, st state) error {
	if err := s.checkCopies(disk); err != nil {
		return err
	}
	next := &engineScript{fs: disk, h: s.h.clone()}
	if err := next.comeBack(st); err != nil {
		return err
	}
	if s.faithless {
		return next.goOn()
	}
	if err := next.cutAgain(disk); err != nil {
		return err
	}
	return next.goOn()
}

// comeBack opens the engine after a crash and compares it with what was told.
func (s *engineScript) comeBack(st state) error {
	eng, err := topic.Open(engineDir, topic.On(s.fs))
	if err != nil {
		return openFault(err)
	}
	s.eng = eng
	all, err := foundEngine(eng)
	if err == nil {
		err = s.h.verify(all, st)
	}
	if err != nil {
		return errors.Join(err, eng.Close())
	}
	s.h.adopt(all)
	return nil
}

// cutAgain cuts the power right after the recovery.
func (s *engineScript) cutAgain(disk *vfs.Crash) error {
	next := &engineScript{fs: disk.After(vfs.KeepNone, 0), h: s.h.clone()}
	if err := next.comeBack(powered); err != nil {
		return fmt.Errorf("after a power cut that followed the recovery: %w", err)
	}
	return next.eng.Close()
}

// goOn uses what was recovered: appends to all there is, makes a topic, deletes one.
func (s *engineScript) goOn() error {
	for _, name := range s.h.names() {
		for n := range s.h.topics[name].parts {
			s.append(name, int32(n), 2)
		}
	}
	s.create("after", 1)
	s.append("after", 0, 1)
	if names := s.h.names(); len(names) > 1 {
		s.remove(names[len(names)-1])
	}
	s.look()
	s.compactAgain()
	s.reopen()
	s.look()
	s.close()
	if s.told != nil {
		return s.told
	}
	if s.err != nil {
		return faultf(wrong, "a call failed after the recovery: %v", s.err)
	}
	return nil
}
