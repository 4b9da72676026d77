package main

import (
	"sync"
	"time"

	"github.com/quirelog/quire/compress"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
)

// keepScenarios are the programs of lane crash that compact, retain and redact.
func keepScenarios() []scenario {
	list := []scenario{
		one("compact", keyedConfig, playCompact),
		one("compact-delay", keyedConfig, playCompactDelay),
		one("compact-lz4", keyedConfig, func(s *script) { s.codec = compress.LZ4; playCompact(s) }),
		one("compact-tombstones", keyedConfig, playTombstones),
		one("compact-txns", keyedConfig, playCompactTxns),
		one("compact-producer", keyedConfig, playCompactProducer),
		one("compact-delete", keyedConfig, playCompactDelete),
		{name: "compact-beside", loose: true, start: startBeside},
		one("redact", rollConfig, playRedact),
		one("retain-age", rollConfig, playRetainAge),
		one("retain-bytes", rollConfig, playRetainBytes),
		one("retain-records", rollConfig, playRetainRecords),
		one("retain-acknowledged", rollConfig, playRetainAcknowledged),
		one("retain-everything", rollConfig, playRetainEverything),
		one("retain-os", func() *log.Config { c := rollConfig(); c.Durability = log.OS; return c }, playRetainRecords),
		one("reap", rollConfig, playReap),
	}
	for i := range list {
		list[i].perOp, list[i].second = 4, 64
	}
	return list
}

func keyedConfig() *log.Config {
	return &log.Config{SegmentBytes: 700, PreWrite: 512, IndexInterval: 64, Compacted: true, DeleteRetention: tombstoneTime}
}

// keyed begins a log of records with keys.
func (s *script) keyed() {
	s.h.compacting(tombstoneTime)
	s.open()
}

// playCompact: several segments become fewer, twice, the second time with those of the first among them.
func playCompact(s *script) {
	s.keyed()
	for i := range 12 {
		s.append(1 + i%3)
	}
	s.expectSegments(3)
	s.compact(cleanTime())
	s.look()
	for range 4 {
		s.append(2)
	}
	s.compact(cleanTime())
	s.look()
	s.append(1)
}

// playCompactDelay: the old files wait for their removal, over another compaction and to the end.
func playCompactDelay(s *script) {
	s.hooked = true
	s.keyed()
	for range 8 {
		s.append(2)
	}
	s.compact(cleanTime())
	s.look()
	s.append(3)
	s.append(3)
	s.compact(cleanTime())
	s.reap()
	s.look()
	s.append(3)
	s.append(3)
	s.compact(cleanTime())
	s.reopen()
	s.expectNone(".deleted", ".cleaned", ".swap")
	s.look()
}

// playTombstones: both phases, and deleted keys that are written again.
func playTombstones(s *script) {
	s.keyed()
	for range 8 {
		s.append(3)
	}
	s.compact(cleanTime())
	s.look()
	s.append(2)
	s.compact(cleanTime().Add(tombstoneTime / 2))
	s.look()
	s.compact(cleanTime().Add(tombstoneTime + 1))
	s.look()
	s.reopen()
	s.append(4)
	s.compact(cleanTime().Add(3 * tombstoneTime))
	s.look()
}

// playCompactTxns: what was aborted goes at once, its marker when its time is over; one transaction stays open.
func playCompactTxns(s *script) {
	s.keyed()
	s.send(1, 2)
	s.send(2, 2)
	s.append(2)
	s.end(1, record.Abort)
	s.send(1, 2)
	s.end(2, record.Commit)
	s.append(3)
	s.send(2, 1)
	s.end(2, record.Abort)
	s.look()
	s.append(3)
	s.append(3)
	s.compact(cleanTime())
	s.look()
	s.end(1, record.Commit)
	s.send(2, 2)
	s.append(4)
	s.append(3)
	s.compact(cleanTime().Add(tombstoneTime + 1))
	s.look()
	s.reopen()
	s.compact(cleanTime().Add(3 * tombstoneTime))
	s.look()
	s.end(2, record.Abort)
	s.look()
}

// playCompactProducer: a producer's last batch is known again after its records are gone.
func playCompactProducer(s *script) {
	s.producer = &sequence{id: 4711, epoch: 2}
	s.keyed()
	for i := range 8 {
		s.append(1 + i%3)
	}
	s.repeatLast(true)
	s.other(5)
	s.other(5)
	s.compact(cleanTime())
	s.repeatLast(true)
	s.look()
	s.reopen()
	s.append(2)
	s.repeatLast(true)
	s.other(6)
	s.compact(cleanTime())
	s.repeatLast(true)
	s.look()
}

// other appends without the producer.
func (s *script) other(n int) { s.appendAs(1, n, log.AppendOptions{}) }

// playCompactDelete: compaction and retention in one log (cleanup.policy=compact,delete).
func playCompactDelete(s *script) {
	s.keyed()
	for range 9 {
		s.append(2)
	}
	s.compact(cleanTime())
	s.retain(cleanTime(), log.Retention{Records: 9})
	s.look()
	s.append(2)
	s.append(3)
	s.append(2)
	s.deleteRecords(13)
	s.compact(cleanTime())
	s.look()
	s.retain(cleanTime(), log.Retention{Age: time.Minute})
	s.append(2)
	s.look()
}

// startBeside: appends go on while segments are compacted.
func startBeside(disk *vfs.Crash, _ uint64) world {
	return &scripted{script: newScript(disk, keyedConfig(), disk.Crashed), play: func(s *script) {
		s.keyed()
		for range 9 {
			s.append(2)
		}
		if !s.ok() {
			return
		}
		beside := &script{fs: s.fs, cfg: s.cfg, power: s.power, l: s.l, h: s.h}
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := range 6 {
				beside.appendAs(1, 1+i%3, log.AppendOptions{})
			}
		})
		s.compactBeside(cleanTime())
		wg.Wait()
		s.failed(beside.err)
		s.look()
		s.compactBeside(cleanTime())
		s.look()
	}}
}

// playRedact: one record in a sealed segment, one inside the active one, one twice.
func playRedact(s *script) {
	s.open()
	for range 8 {
		s.append(2)
	}
	s.redact(3)
	s.look()
	if s.ok() {
		s.redact(s.l.End() - 1)
	}
	s.look()
	s.append(2)
	s.reopen()
	s.redact(3)
	s.look()
}

// playRetainAge: by the time of records, which goes up and down a little.
func playRetainAge(s *script) {
	playRetain(s, func(at time.Time) { s.retain(at.Add(time.Second), log.Retention{Age: 700 * time.Millisecond}) })
}

func playRetainBytes(s *script) {
	playRetain(s, func(at time.Time) { s.retain(at, log.Retention{Bytes: 900}) })
}

func playRetainRecords(s *script) {
	playRetain(s, func(at time.Time) { s.retain(at, log.Retention{Records: 7}) })
}

func playRetainAcknowledged(s *script) {
	playRetain(s, func(at time.Time) {
		offset := s.l.End() - 5
		s.retain(at, log.Retention{Acknowledged: func() (int64, bool) { return offset, true }})
	})
}

// playRetain removes twice, with appends in between.
func playRetain(s *script, remove func(at time.Time)) {
	s.open()
	for range 9 {
		s.append(2)
	}
	for range 2 {
		s.expectSegments(2)
		if !s.ok() {
			return
		}
		before := s.l.Start()
		remove(time.UnixMilli(firstTime + int64(s.h.nextID)*100))
		s.look()
		if s.ok() && s.l.Start() == before {
			s.broke(faultf(wrong, "retention removed nothing"))
		}
		for range 4 {
			s.append(2)
		}
	}
	s.reopen()
	s.look()
}

// playRetainEverything: the active segment goes too; offsets go on.
func playRetainEverything(s *script) {
	s.open()
	for range 5 {
		s.append(2)
	}
	s.retain(cleanTime(), log.Retention{Age: time.Minute})
	if s.ok() && s.l.Start() != s.l.End() {
		s.broke(faultf(wrong, "retention left [%d, %d)", s.l.Start(), s.l.End()))
	}
	s.append(2)
	s.look()
	s.reopen()
	s.retain(cleanTime(), log.Retention{Age: time.Minute})
	s.append(1)
	s.look()
}

// playReap: removed segments and their producer snapshots go later than they leave the log.
func playReap(s *script) {
	s.hooked = true
	s.producer = &sequence{id: 4711, epoch: 2}
	s.open()
	for range 9 {
		s.append(2)
	}
	s.retain(cleanTime(), log.Retention{Records: 8})
	s.repeatLast(true)
	s.reap()
	s.look()
	s.append(2)
	s.append(2)
	s.retain(cleanTime(), log.Retention{Records: 4})
	s.append(1)
	s.reopen()
	s.expectNone(".deleted")
	s.repeatLast(true)
	s.look()
}
