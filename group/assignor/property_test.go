package assignor_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group/assignor"
	"github.com/quirelog/quire/internal/thin"
	"github.com/quirelog/quire/topic"
)

// A history is a group whose members, topics and subscriptions change at random; owned is what the last plan left everybody with.
type history struct {
	rnd        *rand.Rand
	meta       assignor.Metadata
	members    []assignor.Subscriber
	owned      map[string][]topic.TopicPartition
	generation int32
	mixed      bool
	racks      bool
	next       int
}

func newHistory(seed uint64) *history {
	h := &history{rnd: rand.New(rand.NewPCG(seed, 4)), meta: assignor.Metadata{}, owned: map[string][]topic.TopicPartition{}}
	h.mixed, h.racks = seed%2 == 1, seed%5 == 0
	for i := range 1 + h.rnd.IntN(4) {
		h.meta[fmt.Sprint("t", i)] = assignor.TopicInfo{ID: topic.ID{15: byte(i)}, Partitions: int32(1 + h.rnd.IntN(7))}
	}
	for range 1 + h.rnd.IntN(4) {
		h.join()
	}
	h.place()
	return h
}

func (h *history) names() []string {
	var names []string
	for i := range len(h.meta) {
		if name := fmt.Sprint("t", i); !h.mixed || h.rnd.IntN(2) == 0 {
			names = append(names, name)
		}
	}
	return names
}

func (h *history) join() {
	m := assignor.Subscriber{MemberID: fmt.Sprint("m", h.next%10, "-", h.next)}
	if h.rnd.IntN(4) == 0 {
		m.InstanceID = fmt.Sprint("i", h.next)
	}
	if h.racks {
		m.Rack = string(rune('a' + h.rnd.IntN(3)))
	}
	m.Topics = h.names()
	h.next++
	h.members = append(h.members, m)
}

// place says where copies are.
func (h *history) place() {
	for i := range len(h.meta) {
		info := h.meta[fmt.Sprint("t", i)]
		for h.racks && len(info.Racks) < int(info.Partitions) {
			info.Racks = append(info.Racks, []string{string(rune('a' + h.rnd.IntN(3)))})
		}
		h.meta[fmt.Sprint("t", i)] = info
	}
}

// change lets one thing happen.
func (h *history) change() {
	switch k := h.rnd.IntN(6); {
	case k == 0 && len(h.members) > 1:
		at := h.rnd.IntN(len(h.members))
		delete(h.owned, h.members[at].MemberID)
		h.members = slices.Delete(h.members, at, at+1)
	case k == 1:
		name := fmt.Sprint("t", h.rnd.IntN(len(h.meta)))
		info := h.meta[name]
		info.Partitions++
		h.meta[name] = info
		h.place()
	case k == 2 && h.mixed:
		h.members[h.rnd.IntN(len(h.members))].Topics = h.names()
	case k == 3: // everybody forgets
		clear(h.owned)
	default:
		h.join()
	}
}

// subscribers are the members as they would join now, in a random order.
func (h *history) subscribers() []assignor.Subscriber {
	list := slices.Clone(h.members)
	for i := range list {
		m := &list[i]
		m.Owned, m.Generation = h.owned[m.MemberID], h.generation
		m.UserData = assignor.Sticky().UserData(m.Owned, m.Generation)
	}
	h.rnd.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

func (h *history) assign(t *testing.T, a assignor.Assignor) assignor.Plan {
	plan, err := a.Assign(h.meta, h.subscribers())
	require.NoError(t, err)
	again, err := a.Assign(h.meta, h.subscribers())
	require.NoError(t, err)
	same(t, plan, again, "the order of members does not matter")
	return plan
}

// same is require.Equal without its cost: these comparisons are many.
func same(t *testing.T, want, got assignor.Plan, why string) {
	if !maps.EqualFunc(want, got, slices.Equal[[]topic.TopicPartition]) {
		require.Equal(t, want, got, why)
	}
}

func (h *history) wants(m assignor.Subscriber, tp topic.TopicPartition) bool {
	return slices.Contains(m.Topics, tp.Topic)
}

// legal: every partition at most once, to a member that wants it, and it exists.
func (h *history) legal(t *testing.T, plan assignor.Plan) {
	owned := map[topic.TopicPartition]bool{}
	if len(plan) != len(h.members) {
		t.Fatalf("plan for %d of %d members", len(plan), len(h.members))
	}
	for _, m := range h.members {
		for _, tp := range plan[m.MemberID] {
			if !h.wants(m, tp) || tp.Partition >= h.meta[tp.Topic].Partitions || owned[tp] {
				t.Fatalf("%s for %s in %v", tp, m.MemberID, plan)
			}
			owned[tp] = true
		}
	}
}

// complete: nothing that somebody wants is left over.
func (h *history) complete(t *testing.T, plan assignor.Plan) {
	given, want := 0, 0
	for _, list := range plan {
		given += len(list)
	}
	for name, info := range h.meta {
		if slices.ContainsFunc(h.members, func(m assignor.Subscriber) bool { return slices.Contains(m.Topics, name) }) {
			want += int(info.Partitions)
		}
	}
	if given != want {
		t.Fatalf("%d of %d partitions in %v", given, want, plan)
	}
}

// even: with equal subscriptions nobody has two more than another; with different ones nobody could take a partition from a member with at
// least two more (the sticky assignor's promise, where racks do not matter).
func (h *history) even(t *testing.T, plan assignor.Plan) {
	for _, m := range h.members {
		for _, o := range h.members {
			if len(plan[o.MemberID]) <= len(plan[m.MemberID])+1 {
				continue
			}
			for _, tp := range plan[o.MemberID] {
				if h.wants(m, tp) {
					t.Fatalf("%s could go from %s to %s in %v", tp, o.MemberID, m.MemberID, plan)
				}
			}
		}
	}
}

// keeps: with equal subscriptions a member loses nothing while it has no more than its share.
func (h *history) keeps(t *testing.T, plan assignor.Plan) {
	total := 0
	for _, list := range plan {
		total += len(list)
	}
	for _, m := range h.members {
		held := h.owned[m.MemberID]
		for _, tp := range held {
			if len(held) <= total/len(h.members) && !slices.Contains(plan[m.MemberID], tp) {
				t.Fatalf("%s lost %s, which it could have kept: %v", m.MemberID, tp, plan)
			}
		}
	}
}

// forHistories runs body four times in each of the histories, ten thousand of them over the tests below.
func forHistories(t *testing.T, body func(h *history)) {
	for seed := range thin.Raced(2500, 200) {
		h := newHistory(uint64(seed))
		for range 4 {
			body(h)
			h.generation++
			h.change()
		}
	}
}

func TestStickyHistories(t *testing.T) {
	forHistories(t, func(h *history) {
		plan := h.assign(t, assignor.Sticky())
		h.legal(t, plan)
		h.complete(t, plan)
		if !h.racks { // with racks, what is far from its owner is dealt out again each time
			h.even(t, plan)
			if !h.mixed {
				h.keeps(t, plan)
			}
			h.owned = plan
			same(t, plan, h.assign(t, assignor.Sticky()), "nothing happened, nothing moves")
		}
		h.owned = plan
	})
}

func TestCooperativeHistories(t *testing.T) {
	forHistories(t, func(h *history) {
		first := h.assign(t, assignor.CooperativeSticky())
		h.legal(t, first)
		for _, o := range h.members {
			for _, tp := range h.owned[o.MemberID] {
				for _, m := range h.members {
					if o.MemberID != m.MemberID && slices.Contains(first[m.MemberID], tp) {
						t.Fatalf("%s still has %s, and %s gets it: %v", o.MemberID, tp, m.MemberID, first)
					}
				}
			}
		}
		rounds := 2
		if h.mixed {
			rounds = 4 // what was let go may be dealt out so that something else has to move
		}
		for plan := first; ; rounds-- {
			h.owned = plan
			plan = h.assign(t, assignor.CooperativeSticky())
			h.legal(t, plan)
			if maps.EqualFunc(plan, h.owned, slices.Equal[[]topic.TopicPartition]) {
				h.complete(t, plan)
				if !h.racks {
					h.even(t, plan)
				}
				return
			}
			if rounds == 0 {
				t.Fatalf("still moving: %v, then %v", h.owned, plan)
			}
		}
	})
}

func TestUniformHistories(t *testing.T) {
	forHistories(t, func(h *history) {
		plan := h.assign(t, assignor.Uniform())
		h.legal(t, plan)
		h.complete(t, plan)
		if !h.mixed {
			h.even(t, plan)
			h.keeps(t, plan)
		}
		h.owned = plan
		same(t, plan, h.assign(t, assignor.Uniform()), "nothing happened, nothing moves")
	})
}

func TestForgetfulHistories(t *testing.T) {
	forHistories(t, func(h *history) {
		for _, a := range []assignor.Assignor{assignor.Range(), assignor.RoundRobin(), assignor.ServerRange()} {
			plan := h.assign(t, a)
			h.legal(t, plan)
			h.complete(t, plan)
			if a.Name() == "roundrobin" && !h.mixed {
				h.even(t, plan)
			}
			if a.Name() == "range" {
				h.ranges(t, plan)
			}
		}
	})
}

// ranges: of each topic every reader has the floor or the ceiling of its share.
func (h *history) ranges(t *testing.T, plan assignor.Plan) {
	for name, info := range h.meta {
		var counts []int
		for _, m := range h.members {
			if slices.Contains(m.Topics, name) {
				n := 0
				for _, tp := range plan[m.MemberID] {
					if tp.Topic == name {
						n++
					}
				}
				counts = append(counts, n)
			}
		}
		for _, n := range counts {
			if n < int(info.Partitions)/len(counts) || n > (int(info.Partitions)+len(counts)-1)/len(counts) {
				t.Fatalf("%d of %d partitions of %s among %d: %v", n, info.Partitions, name, len(counts), plan)
			}
		}
	}
}

// big is a group of 300 members over twenty topics of 300 partitions; mixed members read half of the topics each.
func big(mixed bool) (assignor.Metadata, []assignor.Subscriber) {
	meta := assignor.Metadata{}
	for i := range 20 {
		meta[fmt.Sprintf("topic%02d", i)] = assignor.TopicInfo{ID: topic.ID{15: byte(i)}, Partitions: 300}
	}
	var members []assignor.Subscriber
	for m := range 300 {
		s := assignor.Subscriber{MemberID: fmt.Sprintf("member%03d", m)}
		for i := range 20 {
			if !mixed || (m*7+i*3)%20 < 10 {
				s.Topics = append(s.Topics, fmt.Sprintf("topic%02d", i))
			}
		}
		members = append(members, s)
	}
	return meta, members
}

// rejoin is the group after the plan, ten members gone and ten new.
func rejoin(members []assignor.Subscriber, plan assignor.Plan) []assignor.Subscriber {
	list := slices.Clone(members)
	for i := range list {
		list[i].Owned, list[i].Generation = plan[list[i].MemberID], 1
		list[i].UserData = assignor.Sticky().UserData(list[i].Owned, 1)
		if i%30 == 0 {
			list[i] = assignor.Subscriber{MemberID: fmt.Sprint("new", i), Subscription: assignor.Subscription{Topics: list[i].Topics}}
		}
	}
	return list
}

func assignors() []assignor.Assignor {
	return []assignor.Assignor{assignor.Range(), assignor.RoundRobin(), assignor.Sticky(), assignor.CooperativeSticky(), assignor.Uniform()}
}

func TestAssignorsOnBigGroups(t *testing.T) {
	for _, mixed := range []bool{false, true} {
		for _, a := range assignors() {
			meta, members := big(mixed)
			start := time.Now()
			plan, err := a.Assign(meta, members)
			require.NoError(t, err)
			_, err = a.Assign(meta, rejoin(members, plan))
			require.NoError(t, err)
			require.Less(t, time.Since(start), time.Minute, "%s, mixed %v", a.Name(), mixed)
		}
	}
}

func BenchmarkAssign(b *testing.B) {
	for _, mixed := range []bool{false, true} {
		for _, a := range assignors() {
			b.Run(fmt.Sprintf("%s/mixed=%v", a.Name(), mixed), func(b *testing.B) {
				meta, members := big(mixed)
				plan, err := a.Assign(meta, members)
				require.NoError(b, err)
				members = rejoin(members, plan)
				b.ReportAllocs()
				for b.Loop() {
					_, _ = a.Assign(meta, members)
				}
			})
		}
	}
}
