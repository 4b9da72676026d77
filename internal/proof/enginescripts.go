package main

import (
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

// Engines are thinned more than logs: one of their states costs ten times as much.
const enginePerOp, engineSecond = 4, 48

// engines is a scenario through package topic. Ids are drawn anew in each run, and
// partitions close side by side, so a replay may need several tries.
func engines(name string, play func(s *engineScript)) scenario {
	return scenario{name: name, loose: true, perOp: enginePerOp, second: engineSecond, start: func(disk *vfs.Crash, _ uint64) world {
		return &engineScript{fs: disk, power: disk.Crashed, h: newEngineHistory(), play: play}
	}}
}

// engineScenarios are the programs that lane engine crashes.
func engineScenarios() []scenario {
	return append(keepEngines(),
		engines("create", playCreate),
		engines("delete", playDelete),
		engines("delete-create", playDeleteCreate),
		engines("alter", playAlter),
		engines("append-many", playAppendMany),
		engines("producer", playEngineProducer),
		engines("checkpoint", playCheckpoint),
		engines("clean-stop", playCleanStop),
	)
}

// small makes segments roll after a few batches.
func small() topic.TopicOption { return topic.SegmentBytes(700) }

func playCreate(s *engineScript) {
	s.open()
	s.create("a", 2, small())
	s.append("a", 1, 2)
	s.create("b", 1)
	s.append("b", 0, 1)
}

func playDelete(s *engineScript) {
	s.open()
	s.create("a", 2)
	s.create("b", 1)
	s.append("a", 0, 2)
	s.append("a", 1, 1)
	s.append("b", 0, 1)
	s.remove("a")
	s.append("b", 0, 1)
	s.look()
}

func playDeleteCreate(s *engineScript) {
	s.open()
	s.create("a", 2)
	s.append("a", 0, 3)
	s.append("a", 1, 1)
	s.remove("a")
	s.create("a", 1)
	s.append("a", 0, 1)
	s.look()
	s.reopen()
	s.remove("a")
	s.create("a", 3)
	s.look()
}

func playAlter(s *engineScript) {
	s.open()
	s.create("a", 1)
	s.append("a", 0, 1)
	s.alter("a", 3, small())
	s.append("a", 2, 2)
	s.append("a", 0, 2)
	s.look()
	s.alter("a", 3, topic.MaxMessageBytes(5000))
	s.append("a", 1, 1)
}

func playAppendMany(s *engineScript) {
	s.open()
	s.create("a", 3, small())
	s.create("quick", 1, topic.NoSync())
	for i := range 9 {
		s.append("a", int32(i%3), 1+i%4)
		s.append("quick", 0, 1)
	}
	s.deleteRecords("a", 0, 2)
	s.flush()
	s.append("quick", 0, 1)
	s.look()
}

func playEngineProducer(s *engineScript) {
	s.open()
	s.create("a", 2)
	s.produce("a", 4)
	s.look()
	s.produce("a", 3)
	s.look()
}

func playCheckpoint(s *engineScript) {
	s.open()
	s.create("a", 2, small())
	for i := range 6 {
		s.append("a", int32(i%2), 2)
		if i%2 == 1 {
			s.checkpoint()
		}
	}
	s.deleteRecords("a", 1, 3)
	s.checkpoint()
}

func playCleanStop(s *engineScript) {
	s.open()
	s.create("a", 2)
	s.append("a", 0, 2)
	s.reopen()
	s.append("a", 1, 1)
	s.reopen()
	s.reopen()
	s.look()
	s.append("a", 0, 1)
	s.close()
}
