package main

import (
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

// keepEngines are the programs of lane engine that compact, remove, copy and check.
func keepEngines() []scenario {
	list := []scenario{
		engines("compact", playEngineCompact),
		engines("retain", playEngineRetain),
		engines("alter-cleanup", playAlterCleanup),
		engines("scrub", playScrub),
		engines("backup", playBackup),
		engines("restore", playRestore),
		{name: "repair", start: startRepair},
	}
	for i := range list {
		list[i].perOp, list[i].second = 3, 160
	}
	return list
}

func compactedBy(policy topic.Cleanup) []topic.TopicOption {
	return []topic.TopicOption{small(), topic.CleanupWith(policy)}
}

// playEngineCompact: two passes with the cleaner's checkpoint between them, and a restart.
func playEngineCompact(s *engineScript) {
	s.open()
	s.createKeyed("k", 2, compactedBy(topic.CleanupCompact)...)
	for i := range 12 {
		s.append("k", int32(i%2), 3)
	}
	s.compact("k")
	s.look()
	s.checkpoint()
	for i := range 6 {
		s.append("k", int32(i%2), 4)
	}
	s.reopen()
	s.compact("k")
	s.look()
	s.append("k", 1, 2)
}

// playEngineRetain: a rule of the user's own, and compaction beside it.
func playEngineRetain(s *engineScript) {
	s.open()
	s.createKeyed("both", 1, compactedBy(topic.CleanupCompact|topic.CleanupDelete)...)
	s.create("a", 1, small(), topic.Retention(topic.Forever))
	for range 5 {
		s.append("both", 0, 4)
		s.append("a", 0, 4)
	}
	s.retain("a", 0)
	s.look()
	s.compact("both")
	s.retain("both", 0)
	s.look()
	s.checkpoint()
	s.append("a", 0, 4)
	s.append("both", 0, 4)
	s.retain("a", 0)
	s.reopen()
	s.look()
}

// playAlterCleanup: what may be removed, and how, changes while records are there.
func playAlterCleanup(s *engineScript) {
	s.open()
	s.createKeyed("k", 1, compactedBy(topic.CleanupDelete)...)
	for range 5 {
		s.append("k", 0, 4)
	}
	s.alter("k", 1, topic.CleanupWith(topic.CleanupCompact))
	s.append("k", 0, 2)
	s.compact("k")
	s.look()
	s.alter("k", 1, topic.CleanupWith(topic.CleanupCompact|topic.CleanupDelete), topic.RetentionBytes(2000))
	s.append("k", 0, 4)
	s.compact("k")
	s.alter("k", 1, topic.CleanupWith(topic.CleanupDelete), topic.SegmentBytes(900))
	s.append("k", 0, 4)
	s.look()
}

func playScrub(s *engineScript) {
	s.open()
	s.create("a", 2, small())
	for i := range 6 {
		s.append("a", int32(i%2), 4)
	}
	s.scrub()
	s.append("a", 0, 2)
	s.scrub()
	s.look()
}

// playBackup: twice into the same directory, with changes of every kind in between.
func playBackup(s *engineScript) {
	s.open()
	s.createKeyed("k", 1, compactedBy(topic.CleanupCompact)...)
	s.create("a", 2, small())
	for range 4 {
		s.append("k", 0, 4)
		s.append("a", 1, 4)
	}
	s.backup()
	s.append("a", 0, 1)
	s.append("k", 0, 4)
	s.compact("k")
	s.deleteRecords("a", 1, 9)
	s.create("b", 1)
	s.append("b", 0, 1)
	s.backup()
	s.append("a", 1, 2)
	s.look()
}

// playRestore: a backup of which one partition is restored up to an offset.
func playRestore(s *engineScript) {
	s.open()
	s.create("a", 2, small())
	for range 4 {
		s.append("a", 0, 4)
		s.append("a", 1, 3)
	}
	s.backup()
	s.restore("a", 0, 8)
	s.append("a", 1, 2)
	s.look()
}

func startRepair(disk *vfs.Crash, _ uint64) world { return &repairing{disk: disk} }
