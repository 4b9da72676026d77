package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/quirelog/quire/compress"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
)

// one is a scenario of one log that runs the same each time.
func one(name string, cfg func() *log.Config, play func(s *script)) scenario {
	return scenario{name: name, start: func(disk *vfs.Crash, _ uint64) world {
		return &scripted{script: newScript(disk, cfg(), disk.Crashed), play: play}
	}}
}

// logScenarios are the programs that lane crash crashes.
func logScenarios() []scenario {
	return append(keepScenarios(),
		one("append", plainConfig, playAppend),
		one("append-prewrite", prewriteConfig, playAppend),
		one("append-lz4", plainConfig, func(s *script) { s.codec = compress.LZ4; playAppend(s) }),
		scenario{name: "group-commit", loose: true, start: startGroup},
		one("interval", levelConfig(log.Interval), playLazy),
		one("os", levelConfig(log.OS), playLazy),
		one("roll", rollConfig, playRoll),
		one("roll-os", func() *log.Config { c := rollConfig(); c.Durability = log.OS; return c }, playRoll),
		one("index-rebuild", rollConfig, playIndexRebuild),
		one("offset-for-time", rollConfig, playTimes),
		one("truncate", replicaConfig, playTruncate),
		one("truncate-append", replicaConfig, playTruncateAppend),
		one("truncate-straddle", replicaConfig, playTruncateStraddle),
		one("truncate-fully", replicaConfig, playTruncateFully),
		one("delete-records", rollConfig, playDeleteRecords),
		one("epochs", rollConfig, playEpochs),
		one("producer", rollConfig, playProducer),
		one("clean-close", plainConfig, playCleanClose),
		one("follower", replicaConfig, playFollower),
	)
}

func plainConfig() *log.Config { return &log.Config{PreWrite: -1, IndexInterval: 64} }

func prewriteConfig() *log.Config { return &log.Config{PreWrite: 8 << 10, IndexInterval: 64} }

func levelConfig(d log.Durability) func() *log.Config {
	return func() *log.Config {
		return &log.Config{Durability: d, IndexInterval: 64, SyncBytes: 700}
	}
}

func rollConfig() *log.Config {
	return &log.Config{SegmentBytes: 600, PreWrite: 512, IndexInterval: 64}
}

func replicaConfig() *log.Config {
	return &log.Config{SegmentBytes: 600, PreWrite: 512, IndexInterval: 64, Replicated: true}
}

// playAppend: append and sync, one caller.
func playAppend(s *script) {
	s.open()
	for i := range 8 {
		s.append(1 + i%3)
	}
	s.look()
	s.tick()
	s.append(1)
}

// startGroup: eight callers share the syncs.
func startGroup(disk *vfs.Crash, _ uint64) world {
	s := newScript(disk, &log.Config{PreWrite: 4096, IndexInterval: 64, SegmentBytes: 2500}, disk.Crashed)
	return &scripted{script: s, play: playGroup}
}

func playGroup(s *script) {
	s.open()
	if !s.ok() {
		return
	}
	var wg sync.WaitGroup
	parts := make([]*script, 8)
	for g := range parts {
		// Each caller stops at its own first failure; they share log and history.
		parts[g] = &script{fs: s.fs, cfg: s.cfg, power: s.power, l: s.l, h: s.h}
		wg.Go(func() {
			for i := range 3 {
				parts[g].appendAs(g, 1+i%2, log.AppendOptions{})
			}
		})
	}
	wg.Wait()
	for _, p := range parts {
		s.failed(p.err)
	}
	s.look()
}

// playLazy: levels whose acks come before the sync.
func playLazy(s *script) {
	s.open()
	for i := range 9 {
		s.append(1 + i%2)
		switch i {
		case 3:
			s.tick()
		case 6:
			s.flush()
		}
	}
	s.appendAs(0, 1, log.AppendOptions{Synced: true})
	s.append(2)
	s.look()
}

// playRoll: at least three segments.
func playRoll(s *script) {
	s.open()
	for i := range 16 {
		s.append(1 + i%2)
	}
	s.look()
	s.expectSegments(3)
}

func (s *script) expectSegments(n int) {
	if s.ok() && len(s.l.Segments()) < n {
		s.broke(fmt.Errorf("the scenario rolled only %d segments", len(s.l.Segments())))
	}
}

// playIndexRebuild: indexes vanish while the log is closed.
func playIndexRebuild(s *script) {
	s.open()
	for range 12 {
		s.append(2)
	}
	s.close()
	s.dropFiles(".index", ".timeindex")
	s.open()
	s.look()
	s.askTimes()
	s.append(1)
	s.look()
}

// dropFiles removes the log's files with these endings, as somebody's hand might.
func (s *script) dropFiles(endings ...string) {
	if !s.ok() {
		return
	}
	names, err := s.fs.List(logDir)
	if s.failed(err) {
		return
	}
	for _, name := range names {
		if slices.ContainsFunc(endings, func(e string) bool { return strings.HasSuffix(name, e) }) {
			if s.failed(s.fs.Remove(filepath.Join(logDir, name))) {
				return
			}
		}
	}
	s.failed(s.fs.SyncDir(logDir))
}

// askTimes compares the time look-up with the records.
func (s *script) askTimes() {
	if !s.ok() {
		return
	}
	g, err := readLog(s.l)
	if err == nil {
		err = checkTimes(s.l, g)
	}
	s.judge(err)
}

func playTimes(s *script) {
	s.open()
	for i := range 10 {
		s.append(1 + i%3)
		if i%4 == 3 {
			s.askTimes()
		}
	}
	s.reopen()
	s.askTimes()
	s.append(1)
	s.askTimes()
}

// playTruncate: a follower cuts what its new leader does not have, over several segments.
func playTruncate(s *script) {
	s.open()
	for range 10 {
		s.append(2)
	}
	s.advanceHigh(5)
	s.truncate(15)
	s.look()
	s.truncate(6)
	s.look()
}

func playTruncateAppend(s *script) {
	s.open()
	for range 8 {
		s.append(2)
	}
	s.advanceHigh(3)
	s.truncate(9)
	s.append(3)
	s.append(1)
	s.look()
	s.truncate(4)
	s.append(2)
	s.reopen()
	s.append(2)
	s.look()
}

// playTruncateStraddle: the high watermark lies inside a batch that the cut would take whole.
func playTruncateStraddle(s *script) {
	s.open()
	s.append(2)
	s.append(6)
	s.advanceHigh(5)
	if !s.ok() {
		return
	}
	s.h.begin(func(h *history) { h.truncate(6) })
	switch err := s.l.Truncate(6); {
	case err == nil:
		s.h.done()
	case errors.Is(err, log.ErrBelowHigh):
		s.h.undone()
	default:
		s.failed(err)
	}
	s.look()
}

func playTruncateFully(s *script) {
	s.open()
	for range 8 {
		s.append(2)
	}
	s.truncateFully(40)
	s.look()
	s.append(2)
	s.append(1)
	s.look()
	s.truncateFully(7)
	s.append(1)
	s.look()
}

func playDeleteRecords(s *script) {
	s.open()
	for range 9 {
		s.append(2)
	}
	s.deleteRecords(3)
	s.look()
	s.deleteRecords(12)
	s.append(2)
	s.look()
	s.reopen()
	s.look()
	if s.ok() {
		s.deleteRecords(s.l.High())
	}
	s.append(1)
	s.look()
}

func playEpochs(s *script) {
	s.open()
	for i := range 9 {
		if i%3 == 0 {
			s.setEpoch(int32(i/3 + 1))
		}
		s.append(1 + i%2)
	}
	s.look()
	s.reopen()
	s.setEpoch(9)
	s.append(2)
	s.look()
}

func playProducer(s *script) {
	s.producer = &sequence{id: 4711, epoch: 2}
	s.open()
	for i := range 7 {
		s.append(1 + i%3)
		s.repeatLast(i == 2 || i == 5)
	}
	s.reopen()
	s.append(2)
	s.repeatLast(true)
	s.look()
}

// repeatLast sends the last acknowledged batch again.
func (s *script) repeatLast(now bool) {
	if !now || !s.ok() {
		return
	}
	s.h.mu.Lock()
	last := s.h.nextID - 1
	for s.h.writes[last].writer != 0 {
		last--
	}
	w := *s.h.writes[last]
	s.h.mu.Unlock()
	base := s.h.writes[w.first].offset
	cfg := record.BuilderConfig{Codec: s.codec, HasProducer: true, ProducerID: s.producer.id,
		ProducerEpoch: s.producer.epoch, BaseSequence: s.producer.next - int32(w.count)}
	s.repeat(batchOf(cfg, w.first, w.count), base)
}

func playCleanClose(s *script) {
	s.open()
	for range 3 {
		s.append(2)
		s.append(1)
		s.reopen()
		s.look()
	}
	s.append(1)
	s.close()
}

// playFollower: batches come from a leader with their offsets and epochs.
func playFollower(s *script) {
	s.open()
	for i := range 6 {
		s.appendAt(int32(1+i/2), 1+i%3)
	}
	s.advanceHigh(3)
	s.truncate(7)
	s.appendAt(5, 2)
	s.look()
	s.reopen()
	s.appendAt(5, 1)
	s.look()
}

// appendAt appends one batch as a follower does.
func (s *script) appendAt(epoch int32, n int) {
	if !s.ok() {
		return
	}
	base := s.l.End()
	first := s.h.plan(0, n)
	b := batchOf(record.BuilderConfig{Codec: s.codec}, first, n)
	b.SetBaseOffset(base)
	b.SetLeaderEpoch(epoch)
	err := s.l.AppendAt(ctx(), b)
	s.settle(first, log.Appended{Base: base, Epoch: epoch}, err, s.cfg.Durability)
}
