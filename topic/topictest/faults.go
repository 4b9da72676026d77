package topictest

import (
	"syscall"

	"github.com/quirelog/quire/log/vfs"
)

// FailWrites lets that many writes to the disk happen, and makes every later one fail as on a full disk (ENOSPC),
// until Heal. An append is one write or two, since space is written ahead. Appends then fail with an error that matches
// [topic.ErrNoSpace] and are definitely not done; after Heal they succeed again.
func (e *Engine) FailWrites(after int) {
	e.fail(
		vfs.Rule{Op: vfs.OpWrite, K: after + 1, Count: vfs.Forever, Err: syscall.ENOSPC},
		vfs.Rule{Op: vfs.OpPreallocate, K: after + 1, Count: vfs.Forever, Err: syscall.ENOSPC},
	)
}

// FailSyncs lets that many fsyncs of files happen, and makes every later one fail (EIO), until Heal. What an append
// left is unknown then ([topic.ErrUncertain]), and its partition is fenced for good: only Reopen or Crash bring it back.
func (e *Engine) FailSyncs(after int) {
	e.fail(vfs.Rule{Op: vfs.OpSync, K: after + 1, Count: vfs.Forever, Err: syscall.EIO})
}

func (e *Engine) fail(rules ...vfs.Rule) {
	e.excused = true
	e.faults.Add(rules...)
}

// Heal ends what FailWrites and FailSyncs began.
func (e *Engine) Heal() { e.faults.Clear() }

// Disk is what the engine lies on, for faults of other kinds and for counting calls. Crash and Reopen replace it. From
// here on an error of Close is the test's own business.
func (e *Engine) Disk() *vfs.Fault {
	e.excused = true
	return e.faults
}
