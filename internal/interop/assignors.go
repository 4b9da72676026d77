package main

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/quirelog/quire/group/assignor"
	"github.com/quirelog/quire/topic"
)

// assignorCases is how many groups each assignor is asked about. Every third one has member ids as members have them; the others have single
// letters, which Java's hash maps keep in order: where Kafka's answer depends on the order of one, that is the order of the ids then, which is
// the one that this library has chosen.
const assignorCases = 2000

// A groupCase is a question to an assignor: topics, and members with what they want and have.
type groupCase struct {
	meta    assignor.Metadata
	members []assignor.Subscriber
	alike   bool // all members want the same
	racks   bool
	letters bool // the members' ids
}

// asked is an assignor beside Kafka's of the name in java/Assignors.java.
type asked struct {
	name string
	how  assignor.Assignor
	// How often, in a thousand groups, Kafka's answer may depend on its hash maps, among groups of letters and among others.
	freely, freelyNamed int
	// How many of a thousand answers to groups of different subscriptions, and of other ids than letters, may be of another shape, since hash
	// maps decide which partition moves, and what follows from it.
	shapeless int
}

func askedAssignors() []asked {
	return []asked{
		{name: "range", how: assignor.Range()},
		{name: "roundrobin", how: assignor.RoundRobin()},
		{name: "sticky", how: assignor.Sticky(), freely: 5, freelyNamed: 20},
		{name: "cooperative-sticky", how: assignor.CooperativeSticky(), freely: 5, freelyNamed: 20, shapeless: 5},
		{name: "server-range", how: assignor.ServerRange()},
		{name: "uniform", how: assignor.Uniform(), freelyNamed: 1000, shapeless: 1000},
	}
}

// drawCase draws a group.
func drawCase(seed uint64) groupCase {
	dice := rand.New(rand.NewPCG(seed, 1))
	c := groupCase{meta: assignor.Metadata{}, alike: dice.IntN(2) == 0, racks: dice.IntN(2) == 0, letters: seed%3 > 0}
	rack := func() string { return string(rune('A' + dice.IntN(3))) }
	var names []string
	for i := range 1 + dice.IntN(4) {
		info := assignor.TopicInfo{Partitions: int32(1 + dice.IntN(8))}
		for range info.Partitions {
			if c.racks {
				info.Racks = append(info.Racks, slices.Compact([]string{rack(), rack()}))
			}
		}
		names = append(names, string(rune('a'+i)))
		c.meta[names[i]] = info
	}
	generation := int32(dice.IntN(3))
	for i := range 1 + dice.IntN(7) {
		m := assignor.Subscriber{MemberID: string(rune('a' + i))}
		if !c.letters {
			m.MemberID = fmt.Sprintf("consumer-%016x", dice.Uint64())
		}
		m.Generation = generation
		if dice.IntN(5) == 0 {
			m.InstanceID = fmt.Sprintf("i%d%d", dice.IntN(10), i)
		}
		if c.racks {
			m.Rack = rack()
		}
		for _, name := range names {
			if c.alike || dice.IntN(2) == 0 || name == names[i%len(names)] {
				m.Topics = append(m.Topics, name)
			}
		}
		c.members = append(c.members, m)
	}
	c.drawOwners(dice, names)
	return c
}

// drawOwners has members own nothing, some or all of the partitions, those with early ids more than the others, also of topics that they do
// not want any more.
func (c *groupCase) drawOwners(dice *rand.Rand, names []string) {
	mode := dice.IntN(3)
	for _, name := range names {
		for n := range c.meta[name].Partitions {
			if mode == 0 || mode == 1 && dice.IntN(2) == 0 {
				continue
			}
			m := &c.members[min(dice.IntN(len(c.members)), dice.IntN(len(c.members)))]
			m.Owned = append(m.Owned, topic.TopicPartition{Topic: name, Partition: n})
		}
	}
	for i := range c.members {
		m := &c.members[i]
		m.UserData = assignor.Sticky().UserData(m.Owned, m.Generation)
	}
}

// question is the case as java/Assignors.java reads it.
func (c groupCase) question() string {
	var b strings.Builder
	names := make([]string, 0, len(c.meta))
	for name := range c.meta {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for n := range c.meta[name].Partitions {
			racks := ""
			if c.racks {
				racks = strings.Join(c.meta[name].Racks[n], ",")
			}
			fmt.Fprintf(&b, "P %s %d %s\n", name, n, racks)
		}
	}
	for _, m := range c.members {
		var owned []string
		for _, tp := range m.Owned {
			owned = append(owned, tp.String())
		}
		fmt.Fprintf(&b, "M %s %s %s %d %s %s %s\n", m.MemberID, m.InstanceID, m.Rack, m.Generation, strings.Join(m.Topics, ","), strings.Join(owned, ","),
			hex.EncodeToString(m.UserData))
	}
	return b.String()
}

// answer is a plan as java/Assignors.java prints it.
func answer(plan assignor.Plan) string {
	ids := make([]string, 0, len(plan))
	for id := range plan {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	var b strings.Builder
	for _, id := range ids {
		b.WriteString(id + ":")
		for _, tp := range slices.SortedFunc(slices.Values(plan[id]), topic.TopicPartition.Compare) {
			b.WriteString(" " + tp.String())
		}
		b.WriteString("; ")
	}
	return b.String()
}

// judgeAssignors asks Kafka's assignors and ours the same questions.
func judgeAssignors(t *tally, j jvm, work string) {
	cases := make([]groupCase, assignorCases)
	var in strings.Builder
	for i := range cases {
		cases[i] = drawCase(uint64(i))
		in.WriteString(cases[i].question())
		for _, a := range askedAssignors() {
			fmt.Fprintln(&in, "A", a.name)
		}
		in.WriteString("E\n")
	}
	var theirs []string
	if !t.must("d: Kafka's assignors answer", func() (string, error) {
		file := filepath.Join(work, "cases")
		if err := os.MkdirAll(work, 0o750); err != nil {
			return "", err
		}
		if err := os.WriteFile(file, []byte(in.String()), 0o600); err != nil {
			return "", err
		}
		out, err := j.run(j.source("Assignors.java"), file)
		theirs = lines(out)
		if want := len(cases) * len(askedAssignors()); err == nil && len(theirs) != want {
			err = fmt.Errorf("%d answers, not %d", len(theirs), want)
		}
		return fmt.Sprintf("%d questions", len(theirs)), err
	}) {
		return
	}
	for k, a := range askedAssignors() {
		t.check("d: "+a.name+" assigns as Kafka's does", func() (string, error) {
			return compareAnswers(cases, a, func(i int) string { return theirs[i*len(askedAssignors())+k] })
		})
	}
}

// compareAnswers counts the groups for which both answers are the same, and those for which they have the same shape.
func compareAnswers(cases []groupCase, a asked, theirs func(i int) string) (string, error) {
	var wrong []string
	same, shapeless := 0, 0
	groups, freely := map[bool]int{}, map[bool]int{} // by letters
	for i, c := range cases {
		plan, err := a.how.Assign(c.meta, c.members)
		if err != nil {
			return "", fmt.Errorf("case %d: %w", i, err)
		}
		groups[c.letters]++
		ours := answer(plan)
		switch {
		case ours == theirs(i):
			same++
		case c.shape(ours) == c.shape(theirs(i)):
			freely[c.letters]++
		case !c.letters && !c.alike && 1000*(shapeless+1) <= a.shapeless*len(cases):
			shapeless++
		default:
			wrong = append(wrong, fmt.Sprintf("case %d\n%sKafka %s\nquire %s", i, c.question(), theirs(i), ours))
		}
	}
	for letters, most := range map[bool]int{true: a.freely, false: a.freelyNamed} {
		if 1000*freely[letters] > most*groups[letters] {
			wrong = append(wrong, fmt.Sprintf("%d of %d groups (letters: %t) differ in what hash maps decide, at most %d in a thousand were expected",
				freely[letters], groups[letters], letters, most))
		}
	}
	seen := fmt.Sprintf("%d of %d groups the same", same, len(cases))
	if n := freely[true] + freely[false]; n > 0 {
		seen += fmt.Sprintf(", %d but for what Kafka's hash maps decide", n)
	}
	if shapeless > 0 {
		seen += fmt.Sprintf(", %d other than Kafka's for the same reason", shapeless)
	}
	return seen, disagreement(wrong)
}

// shape is what of an answer does not depend on the order of a hash map: among groups of letters how many partitions of each topic each member
// has, and how many stay where they were; among others how large the shares are.
func (c groupCase) shape(answer string) string {
	had := map[string]string{}
	for _, m := range c.members {
		for _, tp := range m.Owned {
			had[tp.String()] = m.MemberID
		}
	}
	var shares []string
	kept := 0
	for _, part := range strings.Split(strings.TrimSuffix(answer, "; "), "; ") {
		id, list, _ := strings.Cut(part, ":")
		counts := map[string]int{}
		for _, tp := range strings.Fields(list) {
			counts[tp[:strings.LastIndexByte(tp, '-')]]++
			if had[tp] == id {
				kept++
			}
		}
		if c.letters {
			shares = append(shares, fmt.Sprint(id, counts))
		} else {
			shares = append(shares, fmt.Sprint(len(strings.Fields(list))))
		}
	}
	slices.Sort(shares)
	if !c.letters {
		return fmt.Sprint(shares)
	}
	return fmt.Sprint(shares, kept)
}
