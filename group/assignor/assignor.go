package assignor

import (
	"cmp"
	"slices"
	"strings"

	"github.com/quirelog/quire/topic"
)

// NoGeneration is the generation of a member that has never been in one.
const NoGeneration int32 = -1

// An Assignor decides which member of a group reads which partition. Range, RoundRobin, Sticky, CooperativeSticky, Uniform and ServerRange
// are Apache Kafka's; a caller may bring another.
//
// An assignor may be used by any number of goroutines at once, keeps nothing between calls, and gives equal answers to equal questions.
type Assignor interface {
	// Name is what members of a group agree on: Kafka's for Kafka's ("range", "cooperative-sticky").
	Name() string
	// Cooperative tells whether a member may keep reading during a rebalance what it has. Such an assignor must not give a partition to a
	// member while another still owns it: the partition is withheld until the next rebalance, which the owner asks for once it let go.
	Cooperative() bool
	// Assign shares the partitions of the members' topics among the members. Topics that are not in meta are left out. A plan that gives a
	// partition to two members, or to one that does not subscribe to it, is refused by the group. Assign keeps neither argument.
	Assign(meta Metadata, members []Subscriber) (Plan, error)
}

// A MemberDataAssignor has something to say in its members' subscriptions: what a member owned, for the sticky assignors.
type MemberDataAssignor interface {
	Assignor
	// UserData is what a member that had owned in generation puts into its next subscription; nil is nothing. Generation is NoGeneration
	// for a member that has not been assigned anything yet.
	UserData(owned []topic.TopicPartition, generation int32) []byte
}

// Metadata is what an assignor knows of topics, by name. It is shared and never changed once made.
type Metadata map[string]TopicInfo

// TopicInfo is one topic as an assignor and a group see it.
type TopicInfo struct {
	// ID is the topic's identity. Records of the server-side protocol name topics by it.
	ID topic.ID
	// Partitions is how many there are.
	Partitions int32
	// Racks has, by partition number, the racks with a copy of it; nil or shorter where that is not known.
	Racks [][]string
	// Internal topics are the engine's own; members of this process do not subscribe to them by regular expressions.
	Internal bool
}

// A Subscription is what a member tells the group's assignor of itself: Kafka's ConsumerProtocolSubscription.
type Subscription struct {
	// Topics are the topics it wants, each once, in any order.
	Topics []string
	// UserData is the assignor's own, see MemberDataAssignor.
	UserData []byte
	// Owned are the partitions the member has now (cooperative assignors).
	Owned []topic.TopicPartition
	// Generation is the one in which it got them, or NoGeneration. Of two members that claim a partition the later generation is right.
	Generation int32
	// Rack is where the member is; "" is not known.
	Rack string
}

// A Subscriber is a member as an assignor sees it.
type Subscriber struct {
	// MemberID is the member's id in the group.
	MemberID string
	// InstanceID is a static member's name, or "".
	InstanceID string
	Subscription
}

// A Plan has what each member, by id, is to read. Kafka's assignors name every member, also those that get nothing, and sort partitions by
// topic and number.
type Plan map[string][]topic.TopicPartition

// compareSubscribers is Kafka's order of members: static ones first by instance id, then the others by member id.
func compareSubscribers(a, b Subscriber) int {
	if aStatic, bStatic := a.InstanceID != "", b.InstanceID != ""; aStatic != bStatic {
		if aStatic {
			return -1
		}
		return 1
	}
	if a.InstanceID != "" {
		return strings.Compare(a.InstanceID, b.InstanceID)
	}
	return strings.Compare(a.MemberID, b.MemberID)
}

func sortedByRank(members []Subscriber) []Subscriber {
	return slices.SortedStableFunc(slices.Values(members), compareSubscribers)
}

func sortedByID(members []Subscriber) []Subscriber {
	return slices.SortedStableFunc(slices.Values(members), func(a, b Subscriber) int { return strings.Compare(a.MemberID, b.MemberID) })
}

// A board numbers the partitions of all topics that members subscribe to, by topic name and then number, and the members in the order
// given. The assignors work on these numbers: looking something up is an index, and no answer depends on the order of a map.
type board struct {
	members []Subscriber
	topics  []string // sorted
	info    []TopicInfo
	base    []int // by topic: the number of its partition 0; one more at the end: how many partitions there are
	wants   [][]int
	readers [][]int // by topic: the members that subscribe to it, in their order
}

func newBoard(meta Metadata, members []Subscriber) *board {
	b := &board{members: members}
	for _, m := range members {
		for _, name := range m.Topics {
			if meta[name].Partitions > 0 {
				b.topics = append(b.topics, name)
			}
		}
	}
	slices.Sort(b.topics)
	b.topics = slices.Compact(b.topics)
	b.info = make([]TopicInfo, len(b.topics))
	b.base = make([]int, len(b.topics)+1)
	numbers := make(map[string]int, len(b.topics))
	for t, name := range b.topics {
		numbers[name] = t
		b.info[t] = meta[name]
		b.base[t+1] = b.base[t] + int(meta[name].Partitions)
	}
	b.wants = make([][]int, len(members))
	b.readers = make([][]int, len(b.topics))
	for m, member := range members {
		for _, name := range member.Topics {
			if t, ok := numbers[name]; ok {
				b.wants[m] = append(b.wants[m], t)
			}
		}
		slices.Sort(b.wants[m])
		b.wants[m] = slices.Compact(b.wants[m])
		for _, t := range b.wants[m] {
			b.readers[t] = append(b.readers[t], m)
		}
	}
	return b
}

// partitions is how many there are in all.
func (b *board) partitions() int { return b.base[len(b.topics)] }

// size is how many partitions a topic has.
func (b *board) size(t int) int { return b.base[t+1] - b.base[t] }

// topicOf is the topic of a partition's number.
func (b *board) topicOf(p int) int {
	t, exact := slices.BinarySearch(b.base, p)
	if !exact {
		t--
	}
	return t
}

// number is a partition's; it is false for one that nobody subscribes to or that does not exist.
func (b *board) number(tp topic.TopicPartition) (int, bool) {
	t, ok := slices.BinarySearch(b.topics, tp.Topic)
	if !ok || tp.Partition < 0 || int(tp.Partition) >= b.size(t) {
		return 0, false
	}
	return b.base[t] + int(tp.Partition), true
}

// subscribes tells whether a member wants a topic.
func (b *board) subscribes(m, t int) bool {
	_, ok := slices.BinarySearch(b.wants[m], t)
	return ok
}

// alike tells whether all members want the same topics.
func (b *board) alike() bool {
	for _, list := range b.wants {
		if !slices.Equal(list, b.wants[0]) {
			return false
		}
	}
	return true
}

// plan turns an owner by partition (-1 for none) into the answer.
func (b *board) plan(owner []int) Plan {
	count := make([]int, len(b.members))
	for _, m := range owner {
		if m >= 0 {
			count[m]++
		}
	}
	lists := make([][]topic.TopicPartition, len(b.members))
	for m := range lists {
		lists[m] = make([]topic.TopicPartition, 0, count[m])
	}
	for t, name := range b.topics {
		for p := b.base[t]; p < b.base[t+1]; p++ {
			if m := owner[p]; m >= 0 {
				lists[m] = append(lists[m], topic.TopicPartition{Topic: name, Partition: int32(p - b.base[t])})
			}
		}
	}
	plan := make(Plan, len(b.members))
	for m, member := range b.members {
		plan[member.MemberID] = lists[m]
	}
	return plan
}

// unowned is an owner by partition before anything is given out.
func (b *board) unowned() []int {
	owner := make([]int, b.partitions())
	for p := range owner {
		owner[p] = -1
	}
	return owner
}

// A rackMap knows which members are near which partitions.
type rackMap struct {
	member    []int   // the rack's number, or -1
	partition [][]int // rack numbers, sorted
}

// racks makes the map for some topics and members, numbers of the board; it is nil when no member's rack is known. It matters, and the
// assignors look at it first, when some member's rack has a copy of something and not every partition has copies in all racks.
func (b *board) racks(topics, members []int) (r *rackMap, matters bool) {
	numbers := map[string]int{}
	number := func(name string) int {
		if _, ok := numbers[name]; !ok {
			numbers[name] = len(numbers)
		}
		return numbers[name]
	}
	r = &rackMap{member: slices.Repeat([]int{-1}, len(b.members)), partition: make([][]int, b.partitions())}
	for _, m := range members {
		if rack := b.members[m].Rack; rack != "" {
			r.member[m] = number(rack)
		}
	}
	known := len(numbers)
	if known == 0 {
		return nil, false
	}
	seen := map[int]bool{}
	for _, t := range topics {
		for i, names := range b.info[t].Racks[:min(b.size(t), len(b.info[t].Racks))] {
			var list []int
			for _, name := range names {
				if name != "" {
					list = append(list, number(name))
					seen[list[len(list)-1]] = true
				}
			}
			slices.Sort(list)
			r.partition[b.base[t]+i] = slices.Compact(list)
		}
	}
	shared, everywhere := false, true
	for n := range seen {
		shared = shared || n < known
	}
	for _, t := range topics {
		for p := b.base[t]; p < b.base[t+1]; p++ {
			everywhere = everywhere && len(r.partition[p]) == len(seen)
		}
	}
	return r, shared && !everywhere
}

// near tells whether the member's rack has a copy of the partition. A member whose rack is not known is near nothing.
func (r *rackMap) near(m, p int) bool {
	_, ok := slices.BinarySearch(r.partition[p], r.member[m])
	return ok && r.member[m] >= 0
}

// far tells whether the member has a rack and it has no copy of the partition. On a nil map nothing is far.
func (r *rackMap) far(m, p int) bool {
	return r != nil && r.member[m] >= 0 && !r.near(m, p)
}

// numbersTo lists 0 to n-1.
func numbersTo(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// compareIDs is the order of java.util.UUID: two signed numbers.
func compareIDs(a, b topic.ID) int {
	half := func(id topic.ID, at int) int64 {
		var v uint64
		for _, c := range id[at : at+8] {
			v = v<<8 | uint64(c)
		}
		return int64(v)
	}
	return cmp.Or(cmp.Compare(half(a, 0), half(b, 0)), cmp.Compare(half(a, 8), half(b, 8)))
}
