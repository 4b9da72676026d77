package group

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The index says what a walk over the members would, also of ids and instances that are there twice, as a damaged log may say.
func TestIndexFollowsTheMembers(t *testing.T) {
	member := func(id, instance string, protocols ...string) *classicMember {
		m := &classicMember{id: id, instance: instance}
		for _, name := range protocols {
			m.protocols = append(m.protocols, Protocol{Name: name})
		}
		return m
	}
	a, b, c := member("a", "x", "p", "q", "p"), member("b", "", "q"), member("c", "z", "q", "r")
	g := &classicGroup{members: []*classicMember{a, member("a", "x", "q")}}
	g.add(b)
	g.add(c)
	assert.Same(t, a, g.member("a"))
	assert.Equal(t, []string{"a", "", "c", ""}, []string{g.static("x"), g.static(""), g.static("z"), g.static("y")})
	assert.Equal(t, []bool{false, true, false}, []bool{g.supported("p"), g.supported("q"), g.supported("r")})
	g.rename(c, "d")
	assert.Equal(t, "d", g.static("z"))
	assert.Nil(t, g.member("c"))
	g.change(b, func() { b.joining, b.owesSync = 7, true })
	g.change(c, func() { c.joining = 8 })
	g.checkIndex()
	assert.Equal(t, 2, g.joined())
	assert.Equal(t, 1, g.index().owing)
	g.change(b, func() { b.protocols = c.protocols })
	g.remove("a")
	g.checkIndex()
	assert.Equal(t, []*classicMember{b, c}, g.members)
	assert.Equal(t, []bool{false, true, true}, []bool{g.supported("p"), g.supported("q"), g.supported("r")})
	assert.Empty(t, g.static("x"))
	g.remove("b")
	assert.Equal(t, 1, g.joined())
	assert.Zero(t, g.index().owing)
	g.remove("none")
	assert.Equal(t, []*classicMember{c}, g.members)
}

// However large the group is, what a call of one member needs to know is at hand: nothing is derived anew.
func TestIndexIsKept(t *testing.T) {
	d := drive(t, Config{}, abc(3))
	ids := together(d, 20)
	g := d.m.classic
	before := g.index()
	for _, id := range ids {
		call := d.send(HeartbeatRequest{MemberID: id, Generation: g.generation})
		require.NoError(t, answered[HeartbeatResponse](d, call).Err)
	}
	for i, id := range ids {
		if i%2 == 0 {
			d.send(LeaveRequest{Members: []Leaver{{MemberID: id}}})
			d.send(joining("", fmt.Sprint("new", i), "a"))
		}
	}
	require.Same(t, before, d.m.classic.index())
	d.m.classic.checkIndex()
}
