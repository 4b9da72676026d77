package topictest

import "github.com/quirelog/quire/log/vfs"

// Loss says what a crash takes with it.
type Loss int

const (
	// LoseNothing is a killed process: everything written is there, synced or not.
	LoseNothing Loss = iota
	// LoseUnsynced is a power cut that leaves what was durable and not a byte more.
	LoseUnsynced
	// LoseSome is a power cut that tears what was not durable, as a real disk does: some sectors are new, some old,
	// some zeros or garbage, some files are there and some are not. Which, is the same in every run of the test as
	// long as it does the same.
	LoseSome
)

// Crash ends the engine in the middle of whatever it does, by a killed process or a power cut, and opens a new one on
// what is left, which recovers as it would on a real disk. Calls under way on the old engine fail, with an outcome
// that is unknown where it is. Topics, producers and consumers of the old engine are of no use any more: open them
// again. Faults end with the disk they were of. It returns e.
func (e *Engine) Crash(loss Loss) *Engine {
	e.t.Helper()
	// The power goes first: nothing is acknowledged from here on. Any changing call finds that out.
	e.disk.CrashAt(1)
	_ = e.disk.SyncDir(dir)
	left := e.left(loss)
	_ = e.Engine.Close() // it can say only that its disk is gone
	e.released()
	e.start(left)
	e.excused = false
	return e
}

// left is the disk after the crash.
func (e *Engine) left(loss Loss) *vfs.Crash {
	e.crashes++
	switch loss {
	case LoseNothing:
		return e.disk.Kill(e.crashes)
	case LoseSome:
		return e.disk.After(vfs.MixedSectors, e.crashes)
	}
	return e.disk.After(vfs.KeepNone, e.crashes)
}
