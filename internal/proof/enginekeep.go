package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

// What a script does to keep an engine's topics small, and to have copies of them.

// createKeyed creates a topic whose records have keys and whose tombstones need not wait.
func (s *engineScript) createKeyed(name string, partitions int, opts ...topic.TopicOption) {
	opts = append(opts, topic.Set("delete.retention.ms", "0"), topic.Retention(topic.Forever))
	s.create(name, partitions, opts...)
}

// compact compacts all partitions of a topic.
func (s *engineScript) compact(name string) {
	if !s.ok() {
		return
	}
	for n, h := range s.h.topics[name].parts {
		p, err := s.eng.Partition(name, int32(n))
		if s.tolerate(err) {
			continue
		}
		h.beginPass(time.Now(), math.MaxInt64)
		facts, err := p.Compact(ctx())
		if !s.tolerate(err) {
			h.donePass(facts.Checkpoint)
		}
	}
}

// compactAgain compacts after a recovery what is compacted: the checkpoint must not say too much.
func (s *engineScript) compactAgain() {
	if !s.ok() {
		return
	}
	for name, t := range s.h.topics {
		if strings.Contains(t.settings["cleanup.policy"], "compact") {
			s.compact(name)
			s.look()
		}
	}
}

func (s *engineScript) tolerate(err error) bool {
	if s.rough {
		return err != nil
	}
	return s.failed(err)
}

// keepTwo is a retention policy: all but two segments may go. Whoever asks is told in the history.
type keepTwo struct{ s *engineScript }

func (k keepTwo) Deletable(p *topic.Partition, _ time.Time, segments []topic.SegmentState) int {
	n := len(segments) - 2
	if n <= 0 {
		return 0
	}
	k.s.partOf(p).begin(func(next *history) { next.raiseStart(segments[n].Base) })
	return n
}

func (s *engineScript) partOf(p *topic.Partition) *history {
	return s.h.topics[p.Topic().Name()].parts[p.ID()]
}

// retain applies retention to one partition.
func (s *engineScript) retain(name string, partition int32) {
	if !s.ok() {
		return
	}
	p, err := s.eng.Partition(name, partition)
	if s.failed(err) {
		return
	}
	if _, err = p.ApplyRetention(ctx()); s.failed(err) {
		return
	}
	if h := s.partOf(p); h.alt != nil {
		h.done()
	}
}

// scrub reads everything; there is nothing to find.
func (s *engineScript) scrub() {
	if !s.ok() {
		return
	}
	report, err := s.eng.Scrub(ctx(), topic.ScrubOptions{})
	if !s.tolerate(err) && len(report.Faults) > 0 {
		s.broke(faultf(wrong, "a scrub found %v", report.Faults))
	}
}

// backupDir and restoredDir are where copies lie.
const (
	backupDir   = "/copy"
	restoredDir = "/restored"
)

// copied is a directory that is, or is about to be, a copy.
type copied struct {
	dir   string
	wants []*engineHistory // what it may hold; the last one is what it will
	done  bool             // it was told to be complete
}

// copyTo runs a call that makes dir a copy of what want says.
func (s *engineScript) copyTo(dir string, want *engineHistory, call func() error) {
	if !s.ok() {
		return
	}
	c := s.copies[dir]
	if c == nil {
		c = &copied{dir: dir}
		if s.copies == nil {
			s.copies = map[string]*copied{}
		}
		s.copies[dir] = c
	}
	c.wants, c.done = append(c.wants, want), false
	if !s.tolerate(call()) {
		c.wants, c.done = []*engineHistory{want}, true
	}
}

func (s *engineScript) backup() {
	s.copyTo(backupDir, s.h.clone(), func() error {
		report, err := s.eng.Backup(ctx(), backupDir, topic.BackupOptions{})
		if err == nil && len(report.Faults) > 0 {
			return fmt.Errorf("the backup has faults: %v", report.Faults)
		}
		return err
	})
}

// restore restores the backup, one partition up to an offset at which a batch begins.
func (s *engineScript) restore(name string, partition int32, until int64) {
	if !s.ok() {
		return
	}
	want := s.copies[backupDir].wants[0].clone()
	want.topics[name].parts[partition].truncate(until)
	s.copyTo(restoredDir, want, func() error {
		_, err := topic.Restore(ctx(), backupDir, restoredDir, topic.RestoreOptions{FS: s.fs, Link: true,
			Until: map[topic.TopicPartition]int64{{Topic: name, Partition: partition}: until}})
		return err
	})
}

// checkCopies opens what there is of copies: each either tells that it is not complete,
// or holds what it should. Then it is written to, which must not touch the original.
func (s *engineScript) checkCopies(disk vfs.FS) error {
	for _, c := range s.copies {
		if err := c.check(disk); err != nil {
			return fmt.Errorf("copy %s: %w", c.dir, err)
		}
	}
	return nil
}

func (c *copied) check(disk vfs.FS) error {
	names, err := disk.List(c.dir)
	begun := slices.ContainsFunc(names, func(name string) bool { return name != ".lock" && name != "quire.backup.tmp" })
	if !c.done && (err != nil || !begun) {
		return nil // an empty directory is nobody's copy
	}
	eng, err := topic.Open(c.dir, topic.On(disk))
	if err != nil {
		if !c.done && errors.Is(err, topic.ErrCorrupt) && strings.Contains(err.Error(), "interrupted") {
			return nil
		}
		return faultf(lost, "%v (told to be complete: %v)", err, c.done)
	}
	s := &engineScript{fs: disk, eng: eng}
	all, err := foundEngine(eng)
	if err != nil {
		return errors.Join(err, eng.Close())
	}
	for _, want := range c.wants {
		if err = want.verify(all, alive); err == nil {
			s.h = want.clone()
			break
		}
	}
	if err != nil {
		return errors.Join(err, eng.Close())
	}
	for _, name := range s.h.names() {
		s.append(name, 0, 2)
	}
	s.look()
	s.close()
	return errors.Join(s.told, s.err)
}
