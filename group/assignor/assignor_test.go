package assignor_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group/assignor"
	"github.com/quirelog/quire/topic"
)

// topics reads "t0:3 t1:2" as metadata.
func topics(text string) assignor.Metadata {
	meta := assignor.Metadata{}
	for i, field := range strings.Fields(text) {
		name, n, _ := strings.Cut(field, ":")
		size, _ := strconv.Atoi(n)
		meta[name] = assignor.TopicInfo{Partitions: int32(size), ID: topic.ID{15: byte(i + 1)}}
	}
	return meta
}

// parts reads "t0-0 t1-2" as partitions.
func parts(text string) []topic.TopicPartition {
	var list []topic.TopicPartition
	for _, field := range strings.Fields(strings.ReplaceAll(text, ",", " ")) {
		at := strings.LastIndexByte(field, '-')
		n, _ := strconv.Atoi(field[at+1:])
		list = append(list, topic.TopicPartition{Topic: field[:at], Partition: int32(n)})
	}
	return list
}

// member reads "C0/instance@rack t0 t1" as a subscriber that had owned in generation 1.
func member(text, owned string) assignor.Subscriber {
	fields := strings.Fields(text)
	head, rack, _ := strings.Cut(fields[0], "@")
	id, instance, _ := strings.Cut(head, "/")
	m := assignor.Subscriber{MemberID: id, InstanceID: instance}
	m.Topics, m.Rack, m.Owned, m.Generation = fields[1:], rack, parts(owned), 1
	m.UserData = assignor.Sticky().UserData(m.Owned, 1)
	return m
}

// show is a plan as text, members sorted.
func show(plan assignor.Plan) string {
	var lines []string
	for id, list := range plan {
		line := id + ":"
		for _, tp := range slices.SortedFunc(slices.Values(list), topic.TopicPartition.Compare) {
			line += " " + tp.String()
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func wanted(text string) string {
	var lines []string
	for line := range strings.SplitSeq(text, ";") {
		lines = append(lines, strings.TrimSpace(line))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// The examples of Kafka's documentation and of its own tests.
func TestAssignorsOnPublishedExamples(t *testing.T) {
	both, all := "t0:3 t1:3", "t0:1 t1:2 t2:3"
	for _, tt := range []struct {
		name     string
		assignor assignor.Assignor
		topics   string
		members  []assignor.Subscriber
		want     string
	}{
		{
			"range", assignor.Range(), both, []assignor.Subscriber{member("C0 t0 t1", ""), member("C1 t0 t1", "")},
			"C0: t0-0 t0-1 t1-0 t1-1; C1: t0-2 t1-2",
		},
		{
			"range, static members after a bounce keep their ranges", assignor.Range(), both,
			[]assignor.Subscriber{member("C3/I1 t0 t1", ""), member("C2/I2 t0 t1", "")},
			"C3: t0-0 t0-1 t1-0 t1-1; C2: t0-2 t1-2",
		},
		{
			"range, static before dynamic", assignor.Range(), both,
			[]assignor.Subscriber{member("consumer-a t0 t1", ""), member("consumer-b/I1 t0 t1", "")},
			"consumer-b: t0-0 t0-1 t1-0 t1-1; consumer-a: t0-2 t1-2",
		},
		{
			"range, more members than partitions", assignor.Range(), "t0:1",
			[]assignor.Subscriber{member("a t0", ""), member("b t0", "")}, "a: t0-0; b:",
		},
		{
			"range, a topic that is not there", assignor.Range(), "t0:1",
			[]assignor.Subscriber{member("a t0 none", "")}, "a: t0-0",
		},
		{
			"server range", assignor.ServerRange(), both, []assignor.Subscriber{member("M0 t0 t1", ""), member("M1 t0 t1", "")},
			"M0: t0-0 t0-1 t1-0 t1-1; M1: t0-2 t1-2",
		},
		{
			"server range, different subscriptions", assignor.ServerRange(), "t0:3 t1:3 t2:2",
			[]assignor.Subscriber{member("A t0 t1", ""), member("B t2", ""), member("C t1 t2", "")},
			"A: t0-0 t0-1 t0-2 t1-0 t1-1; B: t2-0; C: t1-2 t2-1",
		},
		{
			"round robin", assignor.RoundRobin(), both, []assignor.Subscriber{member("C0 t0 t1", ""), member("C1 t0 t1", "")},
			"C0: t0-0 t0-2 t1-1; C1: t0-1 t1-0 t1-2",
		},
		{
			"round robin, different subscriptions", assignor.RoundRobin(), all,
			[]assignor.Subscriber{member("C0 t0", ""), member("C1 t0 t1", ""), member("C2 t0 t1 t2", "")},
			"C0: t0-0; C1: t1-0; C2: t1-1 t2-0 t2-1 t2-2",
		},
		{
			"sticky, different subscriptions", assignor.Sticky(), all,
			[]assignor.Subscriber{member("C0 t0", ""), member("C1 t0 t1", ""), member("C2 t0 t1 t2", "")},
			"C0: t0-0; C1: t1-0 t1-1; C2: t2-0 t2-1 t2-2",
		},
		{
			"sticky, from nothing", assignor.Sticky(), "t0:2 t1:2 t2:2 t3:2",
			[]assignor.Subscriber{member("C0 t0 t1 t2 t3", ""), member("C1 t0 t1 t2 t3", ""), member("C2 t0 t1 t2 t3", "")},
			"C0: t0-0 t1-1 t3-0; C1: t0-1 t2-0 t3-1; C2: t1-0 t2-1",
		},
		{
			"sticky, one member gone: the others keep everything", assignor.Sticky(), "t0:2 t1:2 t2:2 t3:2",
			[]assignor.Subscriber{member("C0 t0 t1 t2 t3", "t0-0 t1-1 t3-0"), member("C2 t0 t1 t2 t3", "t1-0 t2-1")},
			"C0: t0-0 t0-1 t1-1 t3-0; C2: t1-0 t2-0 t2-1 t3-1",
		},
		{
			"sticky, owners of the least share grow", assignor.Sticky(), "t1:2 t2:3",
			[]assignor.Subscriber{member("c1 t1 t2", "t1-0 t2-1"), member("c2 t1 t2", "t1-1 t2-2")},
			"c1: t1-0 t2-0 t2-1; c2: t1-1 t2-2",
		},
		{
			"sticky, more full members than there may be", assignor.Sticky(), "t1:2 t2:2",
			[]assignor.Subscriber{member("c1 t1 t2", "t1-0 t2-0"), member("c2 t1 t2", "t1-1 t2-1"), member("c3 t1 t2", "")},
			"c1: t1-0 t2-0; c2: t1-1; c3: t2-1",
		},
		{
			"cooperative: what moves is withheld", assignor.CooperativeSticky(), "t1:2 t2:2",
			[]assignor.Subscriber{member("c1 t1 t2", "t1-0 t2-0"), member("c2 t1 t2", "t1-1 t2-1"), member("c3 t1 t2", "")},
			"c1: t1-0 t2-0; c2: t1-1; c3:",
		},
		{
			"cooperative, different subscriptions", assignor.CooperativeSticky(), "t1:3 t2:2",
			[]assignor.Subscriber{member("c1 t1", "t1-0 t1-1 t1-2 t2-0"), member("c2 t1 t2", "")},
			"c1: t1-0 t1-1 t1-2; c2: t2-1",
		},
		{
			"uniform, from nothing", assignor.Uniform(), "t1:3 t2:2",
			[]assignor.Subscriber{member("A t1 t2", ""), member("B t1 t2", "")},
			"A: t1-0 t1-1; B: t1-2 t2-0 t2-1",
		},
		{
			"uniform, a member joins", assignor.Uniform(), "t1:3 t2:3",
			[]assignor.Subscriber{member("A t1 t2", "t1-0 t1-2 t2-0"), member("B t1 t2", "t1-1 t2-1 t2-2"), member("C t1 t2", "")},
			"A: t1-0 t1-2; B: t1-1 t2-1; C: t2-0 t2-2",
		},
		{
			"uniform, different subscriptions", assignor.Uniform(), "t1:3 t2:3 t3:2",
			[]assignor.Subscriber{member("A t1 t3", ""), member("B t1 t2", ""), member("C t2 t3", "")},
			"A: t1-0 t1-2 t3-0; B: t1-1 t2-2; C: t2-0 t2-1 t3-1",
		},
		{
			"uniform, an uneven past", assignor.Uniform(), "t1:6 t2:4 t3:4",
			[]assignor.Subscriber{
				member("A t1", "t1-0 t1-1 t1-2"), member("B t1 t2", "t1-3 t2-0"),
				member("C t1 t2 t3", "t1-4 t1-5 t2-1 t2-2 t2-3 t3-0 t3-1 t3-2 t3-3"),
			},
			"A: t1-0 t1-1 t1-2 t1-5; B: t1-3 t2-0 t2-1 t2-2 t2-3; C: t1-4 t3-0 t3-1 t3-2 t3-3",
		},
		{
			"uniform, a member and partitions more", assignor.Uniform(), "t1:6 t2:7",
			[]assignor.Subscriber{member("A t1", "t1-0 t1-2 t2-0"), member("B t1 t2", "t1-1 t2-1 t2-2"), member("C t1 t2", "")},
			"A: t1-0 t1-2 t1-3 t1-4 t1-5; B: t1-1 t2-1 t2-2 t2-6; C: t2-0 t2-3 t2-4 t2-5",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan, err := tt.assignor.Assign(topics(tt.topics), tt.members)
			require.NoError(t, err)
			assert.Equal(t, wanted(tt.want), show(plan))
		})
	}
}

// racked is Kafka's own test layout: copies go round the racks, on from topic to topic.
func racked(sizes string, copies, racks int) assignor.Metadata {
	meta, at := topics(sizes), 0
	for _, field := range strings.Fields(sizes) {
		name, _, _ := strings.Cut(field, ":")
		info := meta[name]
		for range info.Partitions {
			var list []string
			for c := range copies {
				list = append(list, string(rune('a'+(at+c)%racks)))
			}
			info.Racks = append(info.Racks, list)
			at++
		}
		meta[name] = info
	}
	return meta
}

// Expectations are those of Kafka's own rack tests.
func TestAssignorsWithRacks(t *testing.T) {
	three := func(names ...string) []assignor.Subscriber {
		var list []assignor.Subscriber
		for i, wants := range names {
			list = append(list, member(fmt.Sprintf("%d@%c %s", i, 'a'+i, wants), ""))
		}
		return list
	}
	same := three("t1 t2 t3", "t1 t2 t3", "t1 t2 t3")
	last := three("t1 t2 t3", "t1 t2 t3", "t1 t3")
	plain := "0: t1-0 t1-1 t2-0 t2-1 t2-2 t3-0; 1: t1-2 t1-3 t2-3 t2-4 t3-1; 2: t1-4 t1-5 t2-5 t2-6"
	pairs := []assignor.Subscriber{member("0@a t1 t2", ""), member("1@b t1 t2", ""), member("2@b t3 t4", ""), member("3@a t3 t4", "")}
	near := "0: t1-0 t1-3 t2-0 t2-3 t2-6; 1: t1-1 t1-4 t2-1 t2-4 t3-0; 2: t1-2 t1-5 t2-2 t2-5 t3-1"
	for _, tt := range []struct {
		name     string
		assignor assignor.Assignor
		meta     assignor.Metadata
		members  []assignor.Subscriber
		want     string
	}{
		{"range, copies everywhere", assignor.Range(), racked("t1:6 t2:7 t3:2", 3, 3), same, plain},
		{"range, one copy", assignor.Range(), racked("t1:6 t2:7 t3:2", 1, 3), same, near},
		{
			"range, two copies", assignor.Range(), racked("t1:6 t2:7 t3:2", 2, 3), same,
			"0: t1-0 t1-2 t2-0 t2-2 t2-3 t3-1; 1: t1-1 t1-3 t2-1 t2-4 t3-0; 2: t1-4 t1-5 t2-5 t2-6",
		},
		{
			"range, different subscriptions, one copy", assignor.Range(), racked("t1:6 t2:7 t3:2", 1, 3), last,
			"0: t1-0 t1-3 t2-0 t2-2 t2-3 t2-6; 1: t1-1 t1-4 t2-1 t2-4 t2-5 t3-0; 2: t1-2 t1-5 t3-1",
		},
		{
			"range, different subscriptions, two copies", assignor.Range(), racked("t1:6 t2:7 t3:2", 2, 3), last,
			"0: t1-0 t1-2 t2-0 t2-2 t2-3 t2-5 t3-1; 1: t1-1 t1-3 t2-1 t2-4 t2-6 t3-0; 2: t1-4 t1-5",
		},
		{
			"range, co-partitioning before racks", assignor.Range(), racked("t1:5 t2:5 t3:5", 1, 3), same,
			"0: t1-0 t1-1 t2-0 t2-1 t3-0 t3-1; 1: t1-2 t1-3 t2-2 t2-3 t3-2 t3-3; 2: t1-4 t2-4 t3-4",
		},
		{
			"range, co-partitioned and near", assignor.Range(), racked("t1:6 t2:6 t3:2 t4:2", 1, 2), pairs,
			"0: t1-0 t1-2 t1-4 t2-0 t2-2 t2-4; 1: t1-1 t1-3 t1-5 t2-1 t2-3 t2-5; 2: t3-1 t4-1; 3: t3-0 t4-0",
		},
		{"server range looks at no rack", assignor.ServerRange(), racked("t1:6 t2:7 t3:2", 1, 3), same, plain},
		{"sticky, one copy", assignor.Sticky(), racked("t1:6 t2:7 t3:2", 1, 3), same, near},
		{"cooperative, one copy", assignor.CooperativeSticky(), racked("t1:6 t2:7 t3:2", 1, 3), same, near},
		{
			"sticky, different subscriptions, one copy", assignor.Sticky(), racked("t1:6 t2:7 t3:2", 1, 3), last,
			"0: t1-3 t2-0 t2-2 t2-3 t2-6; 1: t1-4 t2-1 t2-4 t2-5 t3-0; 2: t1-0 t1-1 t1-2 t1-5 t3-1",
		},
		{
			"cooperative, owners far away let go", assignor.CooperativeSticky(), racked("t1:6 t2:7 t3:2", 1, 3),
			[]assignor.Subscriber{
				member("0@a t1 t2 t3", "t1-0 t1-1 t1-2 t1-3 t1-4"), member("1@b t1 t2 t3", "t1-5 t2-0 t2-1 t2-2 t2-3"),
				member("2@c t1 t2 t3", "t2-4 t2-5 t2-6 t3-0 t3-1"),
			},
			"0: t1-0 t1-3; 1: t2-1; 2: t2-5 t3-1",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan, err := tt.assignor.Assign(tt.meta, tt.members)
			require.NoError(t, err)
			assert.Equal(t, wanted(tt.want), show(plan))
		})
	}
}

func TestStickyClaims(t *testing.T) {
	claim := func(id, owned string, generation int32) assignor.Subscriber {
		m := member(id+" t", owned)
		m.Generation = generation
		m.UserData = assignor.Sticky().UserData(m.Owned, generation)
		return m
	}
	meta := topics("t:4")
	for _, a := range []assignor.Assignor{assignor.Sticky(), assignor.CooperativeSticky()} {
		plan, err := a.Assign(meta, []assignor.Subscriber{claim("a", "t-0 t-1", 4), claim("b", "t-1 t-2", 5)})
		require.NoError(t, err)
		assert.Equal(t, wanted("a: t-0 t-3; b: t-1 t-2"), show(plan), "the later generation is right")
	}
	plan, err := assignor.CooperativeSticky().Assign(meta, []assignor.Subscriber{claim("a", "t-0 t-1", 5), claim("b", "t-1 t-2", 5)})
	require.NoError(t, err)
	assert.Equal(t, wanted("a: t-0; b: t-2 t-3"), show(plan), "claimed twice in one generation: nobody's for one round")

	broken := claim("a", "t-0 t-1 t-2", 5)
	broken.UserData = broken.UserData[:7]
	plan, err = assignor.Sticky().Assign(meta, []assignor.Subscriber{broken, claim("b", "t-3", 5)})
	require.NoError(t, err)
	assert.Equal(t, wanted("a: t-0 t-2; b: t-1 t-3"), show(plan), "user data that cannot be read is no claim")

	old := claim("a", "t-0 t-1 t-2", 5)
	old.UserData = old.UserData[:len(old.UserData)-4]
	plan, err = assignor.Sticky().Assign(meta, []assignor.Subscriber{old, claim("b", "t-2 t-3", 5)})
	require.NoError(t, err)
	assert.Equal(t, wanted("a: t-0 t-1; b: t-2 t-3"), show(plan), "the first version of the user data has no generation")
}
