package assignor

import "slices"

// Range gives each member a contiguous range of each of its topics: of n partitions and m members the first n mod m members get one more.
// Topics with equally many partitions and the same readers are thereby co-partitioned: partition i of all of them has one reader.
//
// Where members and partitions have racks, a first pass gives partitions to readers near a copy, within the same quotas and without
// breaking co-partitioning; ranges are then no longer contiguous. Kafka's RangeAssignor.
func Range() Assignor { return byRange{racks: true} }

// ServerRange is Range as the server-side protocol has it: it does not look at racks.
func ServerRange() Assignor { return byRange{} }

type byRange struct{ racks bool }

func (byRange) Name() string      { return "range" }
func (byRange) Cooperative() bool { return false }

func (a byRange) Assign(meta Metadata, members []Subscriber) (Plan, error) {
	b := newBoard(meta, sortedByRank(members))
	r := &ranger{board: b, owner: b.unowned(), shares: make([]topicShare, len(b.topics))}
	for t := range r.shares {
		n := len(b.readers[t])
		r.shares[t] = topicShare{quota: b.size(t) / n, extra: b.size(t) % n, count: make([]int, len(b.members))}
	}
	if a.racks {
		r.nearFirst()
	}
	for t := range b.topics {
		r.ranges(t, nil)
	}
	return b.plan(r.owner), nil
}

// A ranger is one run of the range assignor.
type ranger struct {
	*board
	owner  []int
	shares []topicShare
}

// topicShare is what the readers of one topic may still get.
type topicShare struct {
	quota int   // partitions each reader gets
	extra int   // readers that may yet get one more
	count []int // by member
	racks *rackMap
}

func (s *topicShare) room(m int) int {
	room := s.quota - s.count[m]
	if s.extra > 0 {
		room++
	}
	return max(0, room)
}

func (r *ranger) give(p, m int, s *topicShare) {
	r.owner[p] = m
	s.count[m]++
}

// used notes that a member got n partitions at once: the extra one counts when its last partition was beyond the quota.
func (s *topicShare) used(m, n int) {
	if n > 0 && s.count[m] > s.quota {
		s.extra--
	}
}

// ranges gives each reader in turn the first partitions that are left, as many as it has room for; with a rack map only those near it.
func (r *ranger) ranges(t int, racks *rackMap) {
	s := &r.shares[t]
	for _, m := range r.readers[t] {
		room, got := s.room(m), 0
		for p := r.base[t]; p < r.base[t+1] && got < room; p++ {
			if r.owner[p] < 0 && !racks.far(m, p) {
				r.give(p, m, s)
				got++
			}
		}
		s.used(m, got)
	}
}

// nearFirst is the pass by racks. Topics with the same readers and size stay together, also those for which racks would not matter alone.
func (r *ranger) nearFirst() {
	used := false
	matters := make([]bool, len(r.topics))
	for t := range r.topics {
		r.shares[t].racks, matters[t] = r.racks([]int{t}, r.readers[t])
		used = used || matters[t]
	}
	if !used {
		return
	}
	done := make([]bool, len(r.topics))
	for t := range r.topics {
		if done[t] {
			continue
		}
		var together []int
		for u := t; u < len(r.topics); u++ {
			if r.size(u) == r.size(t) && slices.Equal(r.readers[u], r.readers[t]) {
				together = append(together, u)
				done[u] = true
			}
		}
		switch {
		case len(together) > 1:
			r.nearTogether(together)
		case matters[t]:
			r.ranges(t, r.shares[t].racks)
		}
	}
}

// nearTogether gives partition i of all these topics to the first reader that is near all of them and has room in all.
func (r *ranger) nearTogether(topics []int) {
	readers := slices.Clone(r.readers[topics[0]])
	for i := range r.size(topics[0]) {
		at := slices.IndexFunc(readers, func(m int) bool {
			return !slices.ContainsFunc(topics, func(t int) bool {
				return r.shares[t].racks.far(m, r.base[t]+i) || r.shares[t].room(m) == 0
			})
		})
		if at < 0 {
			continue
		}
		m, full := readers[at], true
		for _, t := range topics {
			s := &r.shares[t]
			r.give(r.base[t]+i, m, s)
			s.used(m, 1)
			full = full && s.room(m) == 0
		}
		if full {
			readers = slices.Delete(readers, at, at+1)
		}
	}
}
