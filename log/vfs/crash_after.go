package vfs

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"slices"
)

// After returns the disk as a power cut now (or the one CrashAt made) may leave
// it: what is durable, and of all else what policy and seed say. The result is a
// disk of its own, with everything on it durable, no handles, locks or limits, and
// power on. The receiver is not changed, so any number of cuts can be tried.
func (c *Crash) After(policy Policy, seed uint64) *Crash {
	c.mu.Lock()
	defer c.mu.Unlock()
	cut := &powerCut{
		policy:  policy,
		seed:    seed,
		dice:    rand.New(rand.NewPCG(seed, uint64(policy))),
		changes: c.unsynced(),
		entries: make(map[*crashNode]map[string]*crashNode),
		writes:  make(map[*crashNode][]kept),
		made:    make(map[*crashNode]*crashNode),
		disk:    NewCrash(),
	}
	cut.choose()
	cut.disk.lastID = c.lastID
	cut.disk.root = cut.copyDir(c.root)
	return cut.disk
}

// unsynced returns all changes that are not durable, in order. c.mu is held.
func (c *Crash) unsynced() []change {
	all := slices.Clone(c.entries)
	for n := range c.dirty {
		all = append(all, n.pending...)
	}
	for _, ch := range c.inflight {
		if ch.kind != changeSync && ch.kind != changeSyncDir {
			all = append(all, ch)
		}
	}
	slices.SortFunc(all, func(a, b change) int { return cmp.Compare(a.seq, b.seq) })
	return all
}

// powerCut is one After under way.
type powerCut struct {
	policy  Policy
	seed    uint64
	dice    *rand.Rand
	changes []change
	entries map[*crashNode]map[string]*crashNode // directories that differ from durable
	writes  map[*crashNode][]kept                // what may reach each file
	made    map[*crashNode]*crashNode            // nodes of the new disk
	disk    *Crash
}

// kept is a change of data and whether the policy keeps it whole. Policies that
// look at sectors decide later.
type kept struct {
	*change
	whole bool
}

// choose decides on every change, in order, so that the dice fall the same way
// each time.
func (p *powerCut) choose() {
	for i := range p.changes {
		ch := &p.changes[i]
		keep := p.keeps(i, ch.kind == changeEntry)
		if ch.kind != changeEntry {
			p.writes[ch.node] = append(p.writes[ch.node], kept{ch, keep})
		} else if keep {
			p.enter(ch)
		}
	}
}

// keeps decides on the i-th change.
func (p *powerCut) keeps(i int, entry bool) bool {
	n := uint64(len(p.changes))
	switch p.policy {
	case KeepAll:
		return true
	case KeepPrefix:
		return uint64(i) < p.seed%(n+1)
	case DropOne:
		return uint64(i) != p.seed%n
	case KeepRandom, TornSectors, ZeroedSectors, GarbageSectors, MixedSectors:
		return p.dice.Uint64()&1 == 0
	case SizeOnly, EntriesOnly:
		return entry
	case DataOnly:
		return !entry
	case RandomEntries:
		return !entry || p.dice.Uint64()&1 == 0
	default:
		return false
	}
}

// enter applies an entry change on top of what is durable. A directory never has
// two names: one that a lost rename left behind goes.
func (p *powerCut) enter(ch *change) {
	if ch.node.isDir {
		for i := range p.changes {
			if o := &p.changes[i]; o.kind == changeEntry && o.node == ch.node {
				p.forget(o.from, ch.node)
				p.forget(o.to, ch.node)
			}
		}
	}
	ch.enter(p.overlay)
}

func (p *powerCut) forget(at place, n *crashNode) {
	if at.dir == nil {
		return
	}
	if m := p.overlay(at.dir); m[at.name] == n {
		delete(m, at.name)
	}
}

// overlay returns the entries of a directory as they will be, to be changed.
func (p *powerCut) overlay(dir *crashNode) map[string]*crashNode {
	m, ok := p.entries[dir]
	if !ok {
		m = maps.Clone(dir.durable)
		p.entries[dir] = m
	}
	return m
}

// copyDir makes the new disk's copy of a directory and all below it. Lost renames
// could tie directories into a knot; each is copied where it is met first.
func (p *powerCut) copyDir(dir *crashNode) *crashNode {
	d := &crashNode{id: dir.id, links: 1, isDir: true, modified: dir.modified}
	p.made[dir] = d
	entries, ok := p.entries[dir]
	if !ok {
		entries = dir.durable
	}
	d.live = make(map[string]*crashNode, len(entries))
	for name, n := range entries {
		twin := p.made[n]
		switch {
		case twin != nil && n.isDir:
			continue
		case twin != nil:
			twin.links++
		case n.isDir:
			twin = p.copyDir(n)
		default:
			twin = p.copyFile(n)
		}
		d.live[name] = twin
	}
	d.durable = maps.Clone(d.live)
	return d
}

func (p *powerCut) copyFile(n *crashNode) *crashNode {
	f := &crashNode{id: n.id, links: 1, modified: n.modified, disk: n.disk.clone()}
	p.made[n] = f
	if writes := p.writes[n]; len(writes) > 0 {
		switch p.policy {
		case TornSectors, ZeroedSectors, GarbageSectors, MixedSectors:
			s := newSectors(p.policy, rand.New(rand.NewPCG(p.seed, n.id)), writes)
			s.apply(&f.disk)
		default:
			applyWhole(&f.disk, writes, p.policy == SizeOnly)
		}
	}
	f.now = f.disk.clone()
	p.disk.used += f.now.size
	return f
}

// applyWhole applies the changes that are kept; sizeOnly keeps lengths of all.
func applyWhole(m *image, writes []kept, sizeOnly bool) {
	for _, w := range writes {
		switch {
		case w.whole:
			m.apply(w.change)
		case !sizeOnly:
		case w.kind == changeTruncate:
			m.truncate(w.off)
		default:
			m.size = max(m.size, w.off+int64(len(w.data)))
		}
	}
}
