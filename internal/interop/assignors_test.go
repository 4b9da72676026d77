package main

import (
	"strings"
	"testing"

	"github.com/quirelog/quire/group/assignor"
	"github.com/quirelog/quire/topic"
)

// The comparing tells answers that are wrong, and takes those that hash maps may change, so often and no more.
func TestCompareAnswers(t *testing.T) {
	var cases []groupCase
	for i := range 300 {
		cases = append(cases, drawCase(uint64(i)))
	}
	ours := func(how assignor.Assignor, i int) string {
		plan, err := how.Assign(cases[i].meta, cases[i].members)
		if err != nil {
			t.Fatal(err)
		}
		return answer(plan)
	}
	for _, a := range askedAssignors() {
		if seen, err := compareAnswers(cases, a, func(i int) string { return ours(a.how, i) }); err != nil || seen != "300 of 300 groups the same" {
			t.Errorf("%s: %s, %v", a.name, seen, err)
		}
	}
	strict, loose := asked{name: "range", how: assignor.Range()}, asked{name: "sticky", how: assignor.Sticky(), freely: 1000, freelyNamed: 1000}
	if _, err := compareAnswers(cases, strict, func(i int) string { return ours(assignor.RoundRobin(), i) }); err == nil {
		t.Error("another algorithm goes unseen")
	}
	if _, err := compareAnswers(cases, loose, func(i int) string { return strings.Replace(ours(loose.how, i), " a-0", "", 1) }); err == nil {
		t.Error("a partition that is missing goes unseen")
	}
	c := groupCase{letters: true, members: []assignor.Subscriber{{MemberID: "a", Subscription: assignor.Subscription{Owned: []topic.TopicPartition{{Topic: "x", Partition: 0}}}}}}
	if c.shape("a: x-0; b: x-1; ") == c.shape("a: x-1; b: x-0; ") {
		t.Error("whether a partition stays goes unseen")
	}
	if c.shape("a: x-0; b: x-1 x-2; ") != c.shape("a: x-0; b: x-2 x-1; ") {
		t.Error("the order of a list counts")
	}
}
