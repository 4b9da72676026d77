package vfs

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// Kill returns the disk as a killed process leaves it while the machine runs on:
// everything written is there, durable or not, and what is not durable can still
// be lost by a power cut of the result. Handles and locks are gone. Of the call
// under way, if CrashAt stopped one, the seed decides: done, undone, or, of a
// write, a part from its start.
func (c *Crash) Kill(seed uint64) *Crash {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := &copier{to: NewCrash(), twins: make(map[*crashNode]*crashNode)}
	k.to.seq, k.to.lastID = c.seq, c.lastID
	k.to.root = k.node(c.root)
	k.to.entries = k.changes(c.entries)
	rest := k.changes(hanging(c.inflight, rand.New(rand.NewPCG(seed, 0))))
	for n := range maps.Values(k.twins) {
		k.to.used += n.now.size
		if len(n.pending) > 0 {
			k.to.dirty[n] = struct{}{}
		}
	}
	for i := range rest {
		k.to.perform(&rest[i])
	}
	return k.to
}

// hanging returns the part of a call under way that was done.
func hanging(inflight []change, dice *rand.Rand) []change {
	done := slices.Clone(inflight[:dice.IntN(len(inflight)+1)])
	if len(done) > 0 && done[0].kind == changeWrite {
		done[0].data = done[0].data[:dice.IntN(len(done[0].data)+1)]
	}
	return done
}

// copier makes a deep copy of a disk, pages shared.
type copier struct {
	to    *Crash
	twins map[*crashNode]*crashNode
}

func (k *copier) node(n *crashNode) *crashNode {
	if n == nil {
		return nil
	}
	if twin := k.twins[n]; twin != nil {
		return twin
	}
	twin := &crashNode{id: n.id, links: n.links, modified: n.modified, isDir: n.isDir}
	k.twins[n] = twin
	if n.isDir {
		twin.live, twin.durable = k.entries(n.live), k.entries(n.durable)
		return twin
	}
	twin.disk = n.disk.clone()
	// A file without a name lives as long as its handles, which are gone.
	if n.links > 0 {
		twin.now = n.now.clone()
	}
	twin.pending = k.changes(n.pending)
	return twin
}

func (k *copier) entries(m map[string]*crashNode) map[string]*crashNode {
	twin := make(map[string]*crashNode, len(m))
	for name, n := range m {
		twin[name] = k.node(n)
	}
	return twin
}

// changes copies changes; the data of writes is never changed and stays shared.
func (k *copier) changes(list []change) []change {
	twin := slices.Clone(list)
	for i := range twin {
		ch := &twin[i]
		ch.node = k.node(ch.node)
		ch.from.dir, ch.to.dir = k.node(ch.from.dir), k.node(ch.to.dir)
	}
	return twin
}
