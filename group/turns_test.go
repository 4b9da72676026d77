package group

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// mouth is a class in a test: what its batches cost that wait, the first one first.
type mouth struct {
	c     *class
	queue []int64
	got   int64
}

func serveTest(weights map[string]int64, ranks map[string]int) (*turns, map[*class]*mouth, map[string]*mouth) {
	t := &turns{}
	byClass, byName := map[*class]*mouth{}, map[string]*mouth{}
	for name, w := range weights {
		c := t.class(classID{rank: ranks[name], topic: name}, w)
		c.parts = 1
		byName[name] = &mouth{c: c}
		byClass[c] = byName[name]
	}
	return t, byClass, byName
}

func serve(t *turns, mouths map[*class]*mouth) *mouth {
	for c, m := range mouths {
		if len(m.queue) > 0 {
			c.enter()
		}
	}
	c := t.next(func(c *class) int64 {
		if q := mouths[c].queue; len(q) > 0 {
			return q[0]
		}
		return 0
	})
	if c == nil {
		return nil
	}
	m := mouths[c]
	m.got += m.queue[0]
	m.queue = m.queue[1:]
	return m
}

// T2: whatever the batches' sizes, of two classes that always have something neither gets ahead by more than a batch of each and a weight.
func TestTurnsAreInProportion(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		weights, most := map[string]int64{}, map[string]int64{}
		for i := range 1 + rng.IntN(5) {
			name := string(rune('a' + i))
			weights[name], most[name] = 1+rng.Int64N(20), 1+rng.Int64N(300)
		}
		order, mouths, by := serveTest(weights, nil)
		for range 500 {
			for name, m := range by {
				if len(m.queue) == 0 {
					m.queue = append(m.queue, 1+rng.Int64N(most[name]))
				}
			}
			require.NotNil(t, serve(order, mouths))
			for a, x := range by {
				for b, y := range by {
					ahead := float64(x.got)/float64(weights[a]) - float64(y.got)/float64(weights[b])
					slack := float64(most[a])/float64(weights[a]) + float64(most[b])/float64(weights[b]) + 1
					if ahead > slack {
						t.Fatalf("seed %d: %s is ahead of %s by %v, %v is allowed", seed, a, b, ahead, slack)
					}
				}
			}
		}
	}
}

// T1 and T3, counted.
func TestTurnsOfRanksAndOfThoseWhoWereAway(t *testing.T) {
	order, mouths, by := serveTest(map[string]int64{"top": 1, "a": 3, "b": 1}, map[string]int{"top": 1})
	fill := func(name string, n int, cost int64) {
		for range n {
			by[name].queue = append(by[name].queue, cost)
		}
	}
	require.Nil(t, serve(order, mouths))
	fill("a", 400, 1)
	fill("b", 400, 1)
	for range 200 {
		serve(order, mouths)
	}
	require.Equal(t, []int64{150, 50}, []int64{by["a"].got, by["b"].got})
	fill("top", 10, 1000)
	for range 10 {
		require.Equal(t, by["top"], serve(order, mouths))
	}
	for range 40 {
		serve(order, mouths)
	}
	require.Equal(t, []int64{180, 60}, []int64{by["a"].got, by["b"].got})
	by["a"].queue = nil
	for range 100 { // b has it all
		require.Equal(t, by["b"], serve(order, mouths))
	}
	fill("a", 400, 1)
	for range 200 {
		serve(order, mouths)
	}
	require.Equal(t, []int64{330, 210}, []int64{by["a"].got, by["b"].got}, "what was not used is not made up for")
	by["a"].c.parts = 0
	order.keep()
	require.Len(t, order.ranks, 2)
	require.Equal(t, []*class{by["b"].c}, order.ranks[1].classes)
}

// T4, counted: whatever the number of classes that rest.
func TestTurnsCostWhatHasSomething(t *testing.T) {
	for _, classes := range []int{10, 100, 1000, 10_000} {
		order, asked, list := &turns{}, 0, []*class{}
		for i := range classes {
			c := order.class(classID{partition: int32(i)}, 1)
			c.parts = 1
			list = append(list, c)
		}
		cost := func(on ...*class) *class {
			return order.next(func(c *class) int64 {
				asked++
				if slices.Contains(on, c) {
					return 5
				}
				return 0
			})
		}
		for round := range 50 {
			a, b := list[round%classes], list[(round*7+1)%classes]
			a.enter()
			b.enter()
			require.Contains(t, []*class{a, b}, cost(a, b))
		}
		require.Less(t, asked, 50*20, "%d classes", classes)
		require.Nil(t, cost())
		asked = 0
		require.Nil(t, cost())
		require.Zero(t, asked, "all rest")
	}
}
