package group

import (
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/quirelog/quire/group/assignor"
	"github.com/quirelog/quire/topic"
)

// A nameRegex is a subscription's expression. The syntax is RE2's, and it matches names as a whole.
type nameRegex struct{ re *regexp.Regexp }

// compileRegex reads an expression as it is: put between anchors some would mean another thing, or nothing.
func compileRegex(text string) (*nameRegex, error) {
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidRegex, err)
	}
	re.Longest() // so that it finds the whole name if it matches that
	return &nameRegex{re}, nil
}

func (r *nameRegex) matches(name string) bool {
	at := r.re.FindStringIndex(name)
	return at != nil && at[0] == 0 && at[1] == len(name)
}

// resolve finds the names that an expression matches: every name, as Kafka's resolver does, those of internal topics too.
func resolve(text string, meta assignor.Metadata) []string {
	re, err := compileRegex(text)
	if err != nil {
		return nil // it was compiled when it came
	}
	var names []string
	for name := range meta {
		if re.matches(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// newTopics looks again at what members subscribe to, and begins a new group epoch if that changed or if there is another reason to.
func (m *machine) newTopics(bump bool) {
	g := m.server
	if g.refresh {
		clear(g.resolved)
		g.refresh = false
	}
	used := map[string]bool{}
	for _, member := range g.members {
		if used[member.regex] = true; member.regex != "" && g.resolved[member.regex] == nil {
			g.resolved[member.regex] = append([]string{}, resolve(member.regex, m.meta)...)
		}
	}
	for text := range g.resolved {
		if !used[text] {
			delete(g.resolved, text)
		}
	}
	if topics := g.known(m.meta); !slices.Equal(topics, g.topics) {
		g.topics, bump = topics, true
		m.store(RecordKey{Kind: KeyTopics}, TopicsRecord{topics})
	}
	if bump {
		g.epoch++
		m.store(RecordKey{Kind: KeyGroupEpoch}, EpochRecord{g.epoch})
	}
}

// known lists the topics members subscribe to that exist.
func (g *serverGroup) known(meta assignor.Metadata) []TopicsRecordTopic {
	seen := map[string]bool{}
	for _, member := range g.members {
		for _, name := range member.topics {
			seen[name] = true
		}
	}
	for _, names := range g.resolved {
		for _, name := range names {
			seen[name] = true
		}
	}
	var list []TopicsRecordTopic
	for _, name := range slices.Sorted(maps.Keys(seen)) {
		if info, ok := meta[name]; ok {
			list = append(list, TopicsRecordTopic{info.ID, name, info.Partitions})
		}
	}
	return list
}

// retarget computes the members' targets if the group's epoch has moved on.
func (m *machine) retarget() error {
	g := m.server
	if g.epoch == g.targetEpoch {
		return nil
	}
	targets, err := m.target()
	if err != nil {
		return fmt.Errorf("%w: targets of epoch %d: %w", ErrUnknownServer, g.epoch, err)
	}
	for i, member := range g.members {
		if isNew := member.epoch == 0 && member.target == nil; isNew || !slices.Equal(member.target, targets[i]) {
			member.target = targets[i]
			m.store(RecordKey{Kind: KeyTarget, Member: member.id}, TargetRecord{member.target.byTopic()})
		}
	}
	g.targetEpoch = g.epoch
	m.store(RecordKey{Kind: KeyTargetEpoch}, TargetEpochRecord{g.epoch})
	return nil
}

// target asks the assignor most members ask for.
func (m *machine) target() ([]partitionSet, error) {
	g := m.server
	meta := make(assignor.Metadata, len(g.topics))
	for _, t := range g.topics {
		info := m.meta[t.Name]
		info.ID, info.Partitions = t.ID, t.Partitions
		meta[t.Name] = info
	}
	names := g.topicNames()
	members := make([]assignor.Subscriber, len(g.members))
	for i, member := range g.members {
		members[i] = assignor.Subscriber{MemberID: member.id, InstanceID: member.instance, Subscription: assignor.Subscription{
			Topics: g.wants(member), Owned: member.target.named(names), Generation: g.targetEpoch, Rack: member.rack,
		}}
	}
	plan, err := m.preferred().Assign(meta, members)
	if err != nil {
		return nil, err
	}
	return checkPlan(plan, meta, members)
}

// preferred is the assignor most members ask for, the first configured among equals and when nobody asks.
func (m *machine) preferred() assignor.Assignor {
	votes := map[string]int{}
	for _, member := range m.server.members {
		votes[member.assignor]++
	}
	best := m.cfg.Assignors[0]
	for _, a := range m.cfg.Assignors {
		if votes[a.Name()] > votes[best.Name()] {
			best = a
		}
	}
	return best
}

// checkPlan holds an assignor to its promise, and turns its plan into sets in the order of the members.
func checkPlan(plan assignor.Plan, meta assignor.Metadata, members []assignor.Subscriber) ([]partitionSet, error) {
	sets := make([]partitionSet, len(members))
	given := map[topic.TopicPartition]string{}
	for i, member := range members {
		for _, tp := range plan[member.MemberID] {
			info := meta[tp.Topic]
			_, wanted := slices.BinarySearch(member.Topics, tp.Topic)
			switch other, twice := given[tp]; {
			case twice:
				return nil, fmt.Errorf("assignor gave %s to %q and %q", tp, other, member.MemberID)
			case !wanted || tp.Partition < 0 || tp.Partition >= info.Partitions:
				return nil, fmt.Errorf("assignor gave %s to %q", tp, member.MemberID)
			}
			given[tp] = member.MemberID
			sets[i] = append(sets[i], idPartition{info.ID, tp.Partition})
		}
		slices.SortFunc(sets[i], compareIDPartitions)
	}
	return sets, nil
}
