package vfs

import (
	"slices"
	"sync"
	"syscall"
	"time"
)

// Crash is a file system in memory that can lose power. It keeps two truths apart:
// what programs see (the page cache and the entries in memory) and what is on the
// disk. After gives the disk as one possible power cut at this moment would leave
// it, as a new Crash that can crash again; Kill gives what a killed process
// leaves, which is everything, durable or not.
//
// # The fault model
//
// What is durable:
//
//   - the bytes and the length of a file, as of its last successful Sync;
//   - the entries of a directory, as of its last successful SyncDir. Sync of a
//     file says nothing about its name, SyncDir nothing about data. A directory
//     that is not itself entered durably above is lost with all it holds.
//   - SyncDir of one directory of a rename between two makes the whole rename
//     durable, and what had to happen to its names before.
//
// What a power cut may do to changes since then (which of it, the Policy says):
//
//   - lose any of them, whole, in any combination: a later write may survive an
//     earlier one, a rename may survive while the data of the renamed file does
//     not, a new entry while the older one of the same directory does not;
//   - tear a write between sectors of SectorBytes: each sector is written whole or
//     not at all, and holds what the file held after one of the writes to it;
//   - keep the new length of a file without the data: zero bytes;
//   - leave zero bytes or garbage in sectors that lie wholly past the durable
//     length, where blocks were allocated but not written;
//   - leave the call under way done, undone, or a write of it partly done.
//
// What it never does: change durable bytes that were not written again, damage a
// sector while writing it, or show a rename half done. (Disks that break these
// break every log; rot is a matter of flipped bits, not of this model.)
//
// A Sync that fails (by a Fault around the Crash) loses the changes it should have
// made durable: they stay visible, later Syncs succeed without them, and DropCache
// or a crash shows that they are gone. FailWriteback loses them behind the back of
// programs, as a disk does between two Syncs.
//
// All methods may be called at once. The same calls in the same order, with the
// same Policy and seed, give the same disk.
type Crash struct {
	mu       sync.Mutex // guards everything below and all nodes; held for memory only
	root     *crashNode
	locks    map[*crashNode]string
	entries  []change                // of directories, not durable yet, in order
	dirty    map[*crashNode]struct{} // files with changes not durable yet
	inflight []change                // of the call the power cut came in
	seq      int64
	lastID   uint64

	ops     int
	crashAt int // 0: never
	dead    bool
	hook    func(op Op, path string)

	handles, handleLimit int
	used, byteLimit      int64
}

// SectorBytes is the unit that Crash writes whole or not at all.
const SectorBytes = 512

// crashNode is one file or directory.
type crashNode struct {
	id       uint64 // order of creation: the seed of all that is random about it
	links    int
	opens    int // handles and witnesses: they keep the node in memory
	modified int64
	lost     int  // how often the disk could not take what was written
	told     bool // a Sync has told the last time

	isDir   bool
	live    map[string]*crashNode // entries as programs see them
	durable map[string]*crashNode // entries on the disk

	now     image    // content as programs see it
	disk    image    // content on the disk
	pending []change // from disk to now, in order; less when a Sync failed
}

// changeKind says what a change is about.
type changeKind uint8

const (
	changeEntry changeKind = iota
	changeWrite
	changeTruncate
	changeSync
	changeSyncDir
)

// change is one step from what is durable to what is seen.
type change struct {
	seq  int64
	kind changeKind
	node *crashNode // the file, or the file or directory an entry names

	from, to place  // changeEntry: the entry that goes, the one that comes
	off      int64  // changeWrite: where; changeTruncate: the size
	data     []byte // changeWrite
}

// place is one entry of a directory; none when dir is nil.
type place struct {
	dir  *crashNode
	name string
}

// NewCrash returns an empty disk.
func NewCrash() *Crash {
	c := &Crash{locks: make(map[*crashNode]string), dirty: make(map[*crashNode]struct{})}
	c.root = c.newNode(true)
	return c
}

func (c *Crash) newNode(isDir bool) *crashNode {
	c.lastID++
	n := &crashNode{id: c.lastID, isDir: isDir, modified: time.Now().UnixNano()}
	if isDir {
		n.live, n.durable = make(map[string]*crashNode), make(map[string]*crashNode)
	}
	return n
}

// Ops returns how many mutating calls were made: Create, Remove, Rename, Link,
// MkdirAll, SyncDir, WriteAt, Truncate, Sync, and Lock when the file is new. A
// test runs its scenario once to know how many there are to crash at.
func (c *Crash) Ops() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ops
}

// CrashAt cuts the power in the n-th mutating call, counted from the first ever
// made: it and every call after it, of any kind, fails with ErrCrashed, while
// After and Kill show what may be left. What the n-th call was to do may happen
// or not. 0 means never.
func (c *Crash) CrashAt(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.crashAt = n
}

// Crashed reports whether the power is gone.
func (c *Crash) Crashed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dead
}

// OnOp sets a function that is called before each mutating call, with no lock
// held: it may call After and Kill, so that one run of a scenario gives the states
// at all its operations.
func (c *Crash) OnOp(hook func(op Op, path string)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hook = hook
}

// OpenFiles returns how many handles and locks are open.
func (c *Crash) OpenFiles() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.handles
}

// Pending returns how many changes a power cut could lose now.
func (c *Crash) Pending() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.unsynced())
}

// SetByteLimit makes writes that need more than n bytes in all fail with ENOSPC,
// after taking what fits. 0 lifts the limit.
func (c *Crash) SetByteLimit(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byteLimit = n
}

// SetHandleLimit makes opening more than n handles at once fail with EMFILE. 0
// lifts the limit.
func (c *Crash) SetHandleLimit(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handleLimit = n
}

// FailWriteback lets the disk fail to take what was written to a file and not synced,
// while no call waits for it. As Linux does, it tells each handle that is open now at
// its next Sync, and one that is opened later only as long as no other was told and the
// file stayed in memory: see DropCache.
func (c *Crash) FailWriteback(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.find(name)
	if err != nil {
		return pathError("writeback", name, err)
	}
	n.pending = nil
	delete(c.dirty, n)
	n.lost, n.told = n.lost+1, false
	return nil
}

// DropCache forgets what is only in the page cache and thought to be on the disk:
// data that a failed Sync lost disappears, data not synced yet stays. Of a file that
// neither a handle nor a witness keeps, it forgets that the disk failed.
func (c *Crash) DropCache() {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := make(map[*crashNode]bool)
	c.walk(c.root, seen)
	for n := range seen {
		if n.isDir {
			continue
		}
		if n.opens == 0 {
			n.lost, n.told = 0, false
		}
		before := n.now.size
		n.now = n.disk.clone()
		for i := range n.pending {
			n.now.apply(&n.pending[i])
		}
		c.used += n.now.size - before
	}
}

// walk collects all nodes programs can name. c.mu is held.
func (c *Crash) walk(n *crashNode, seen map[*crashNode]bool) {
	seen[n] = true
	for _, next := range n.live {
		if !seen[next] {
			c.walk(next, seen)
		}
	}
}

// check is the first thing in a call that changes nothing. c.mu is held.
func (c *Crash) check(op, name string) error {
	if c.dead {
		return pathError(op, name, ErrCrashed)
	}
	return nil
}

// mutate runs one mutating call: plan says what it changes, or why it fails. When
// the power goes at this call the changes are left hanging.
func (c *Crash) mutate(op Op, name string, plan func() ([]change, error)) error {
	c.mu.Lock()
	hook := c.hook
	c.mu.Unlock()
	if hook != nil {
		hook(op, name)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mutateLocked(op, name, plan)
}

func (c *Crash) mutateLocked(op Op, name string, plan func() ([]change, error)) error {
	if err := c.check(op.String(), name); err != nil {
		return err
	}
	c.ops++
	changes, err := plan()
	for i := range changes {
		c.seq++
		changes[i].seq = c.seq
	}
	if c.crashAt > 0 && c.ops >= c.crashAt {
		c.dead = true
		c.inflight = changes
		return pathError(op.String(), name, ErrCrashed)
	}
	if err != nil {
		return pathError(op.String(), name, err)
	}
	for i := range changes {
		c.perform(&changes[i])
	}
	return nil
}

// perform makes a change visible and notes that it is not durable, or makes
// earlier ones durable.
func (c *Crash) perform(ch *change) {
	switch ch.kind {
	case changeEntry:
		c.entries = append(c.entries, *ch)
		c.relink(ch)
	case changeSync:
		ch.node.settle()
		delete(c.dirty, ch.node)
	case changeSyncDir:
		c.settleDir(ch.node)
	default:
		ch.node.pending = append(ch.node.pending, *ch)
		c.dirty[ch.node] = struct{}{}
		before := ch.node.now.size
		ch.node.now.apply(ch)
		c.used += ch.node.now.size - before
		ch.node.modified = time.Now().UnixNano()
	}
}

// relink applies an entry change to what programs see.
func (c *Crash) relink(ch *change) {
	if ch.from.dir != nil {
		delete(ch.from.dir.live, ch.from.name)
		ch.node.links--
	}
	if ch.to.dir != nil {
		old := ch.to.dir.live[ch.to.name]
		ch.to.dir.live[ch.to.name] = ch.node
		ch.node.links++
		if old != nil {
			old.links--
			c.release(old)
		}
	}
	c.release(ch.node)
}

// release gives back the room of a file that nobody can reach any more.
func (c *Crash) release(n *crashNode) {
	if n.isDir || n.links > 0 || n.opens > 0 {
		return
	}
	c.used -= n.now.size
	n.now = image{}
}

// settle moves the pending changes of a file to the disk.
func (n *crashNode) settle() {
	for i := range n.pending {
		n.disk.apply(&n.pending[i])
	}
	n.pending = nil
}

// settleDir makes the pending changes of a directory's entries durable, and those
// earlier ones elsewhere that concern the same names.
func (c *Crash) settleDir(dir *crashNode) {
	chosen := make([]bool, len(c.entries))
	var names []place
	for i := len(c.entries) - 1; i >= 0; i-- {
		e := &c.entries[i]
		if e.from.dir == dir || e.to.dir == dir || slices.Contains(names, e.from) || slices.Contains(names, e.to) {
			chosen[i] = true
			for _, p := range []place{e.from, e.to} {
				if p.dir != nil && p.dir != dir {
					names = append(names, p)
				}
			}
		}
	}
	var rest []change
	for i := range c.entries {
		if !chosen[i] {
			rest = append(rest, c.entries[i])
			continue
		}
		c.entries[i].enter(func(dir *crashNode) map[string]*crashNode { return dir.durable })
	}
	c.entries = rest
}

// enter applies an entry change to a set of directories.
func (ch *change) enter(entries func(dir *crashNode) map[string]*crashNode) {
	if p := ch.from; p.dir != nil {
		if m := entries(p.dir); m[p.name] == ch.node {
			delete(m, p.name)
		}
	}
	if p := ch.to; p.dir != nil {
		entries(p.dir)[p.name] = ch.node
	}
}

// takeHandle counts one more open handle on a file. c.mu is held.
func (c *Crash) takeHandle(n *crashNode) error {
	if c.handleLimit > 0 && c.handles >= c.handleLimit {
		return syscall.EMFILE
	}
	c.handles++
	n.opens++
	return nil
}

// room returns up to want bytes that the disk still has. c.mu is held.
func (c *Crash) room(want int64) int64 {
	if c.byteLimit <= 0 {
		return want
	}
	return max(0, min(want, c.byteLimit-c.used))
}
