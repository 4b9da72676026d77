package assignor

// RoundRobin deals all partitions out like cards: by topic and number, each to the next member in the ring that subscribes to its topic.
// Kafka's RoundRobinAssignor. With equal subscriptions members differ by at most one partition; a change of membership moves many.
func RoundRobin() Assignor { return roundRobin{} }

type roundRobin struct{}

func (roundRobin) Name() string      { return "roundrobin" }
func (roundRobin) Cooperative() bool { return false }

func (roundRobin) Assign(meta Metadata, members []Subscriber) (Plan, error) {
	b := newBoard(meta, sortedByRank(members))
	owner := b.unowned()
	next := 0
	for t := range b.topics {
		for p := b.base[t]; p < b.base[t+1]; p++ {
			for !b.subscribes(next, t) { // ends: every topic of the board has a reader
				next = (next + 1) % len(b.members)
			}
			owner[p] = next
			next = (next + 1) % len(b.members)
		}
	}
	return b.plan(owner), nil
}
