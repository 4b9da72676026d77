package group

import (
	"flag"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/internal/thin"
)

var (
	searchStates = flag.Int("group.states", 10_000, "how many states each exhaustive search of a group may visit; -1 is all within its bounds")
	searchDepth  = flag.Int("group.depth", 60, "how many steps from the beginning it goes")
	walkSeeds    = flag.Int("group.walks", 150, "how many seeded random walks there are of each kind")
	walkSeed     = flag.Uint64("group.seed", 0, "run this random walk alone, with its steps printed")
)

// A world is a machine and what surrounds it: its members' clients, the calls they wait for, the log. Searches take every action in every
// world; walks take one at random.
type world interface {
	// actions lists what can happen, as text.
	actions(bounded bool) []string
	// act lets one of them happen.
	act(action string)
	// copied is a world of its own in the same state.
	copied() world
	// state is the world as text: two worlds with one text behave alike.
	state() string
	// wrong says what must not be, or is nil.
	wrong() error
	// drain lets time run and appends succeed until nothing waits, and says what still does.
	drain() error
}

// search visits worlds breadth first and stops at the first wrong one, with the way there.
func search(t *testing.T, first world) {
	type node struct {
		parent int
		action string
	}
	seed := maphash.MakeSeed()
	seen := map[uint64]bool{maphash.String(seed, first.state()): true}
	nodes, level, depth, transitions := []node{{-1, ""}}, []world{first}, 0, 0
	at := []int{0}
	way := func(n int) string {
		var steps []string
		for ; n > 0; n = nodes[n].parent {
			steps = append(steps, nodes[n].action)
		}
		slices.Reverse(steps)
		return strings.Join(steps, ", ")
	}
	full := func() bool { return *searchStates >= 0 && len(nodes) >= thin.Raced(*searchStates, 1000) }
	start := time.Now()
	for len(level) > 0 && depth < *searchDepth && !full() {
		depth++
		var next []world
		var nextAt []int
		for i, w := range level {
			for _, action := range w.actions(true) {
				n := w.copied()
				n.act(action)
				transitions++
				key := maphash.String(seed, n.state())
				if seen[key] {
					continue
				}
				seen[key] = true
				nodes = append(nodes, node{at[i], action})
				if err := n.wrong(); err != nil {
					t.Fatalf("after %s: %v\n%s", way(len(nodes)-1), err, n.state())
				}
				if len(nodes)%64 == 0 {
					if err := n.copied().drain(); err != nil {
						t.Fatalf("after %s, and then all time limits: %v\n%s", way(len(nodes)-1), err, n.state())
					}
				}
				next, nextAt = append(next, n), append(nextAt, len(nodes)-1)
			}
			if full() {
				break
			}
		}
		level, at = next, nextAt
	}
	t.Logf("%d states, %d steps, depth %d, all of them: %v, in %v", len(nodes), transitions, depth, len(level) == 0, time.Since(start).Round(time.Millisecond))
}

// walk takes random actions, many more than a search can.
func walk(t *testing.T, seed uint64, w world) {
	rnd := rand.New(rand.NewPCG(seed, 8))
	for step := range 300 {
		actions := w.actions(false)
		action := actions[rnd.IntN(len(actions))]
		if *walkSeed != 0 {
			t.Log(step, action)
		}
		w.act(action)
		if err := w.wrong(); err != nil {
			t.Fatalf("step %d of seed %d (-group.seed=%d): %v\n%s", step, seed, seed, err, w.state())
		}
	}
	require.NoError(t, w.drain(), "seed %d", seed)
}

func walks(t *testing.T, fresh func() world) {
	if *walkSeed != 0 {
		walk(t, *walkSeed, fresh())
		return
	}
	for seed := range thin.Raced(*walkSeeds, 15) {
		walk(t, uint64(seed+1), fresh())
	}
}

// searchConfig is of a group of at most so many members, 0 is no limit; the worlds have three clients.
func searchConfig(size int) *Config {
	cfg := Config{MaxSize: size}.withDefaults()
	return &cfg
}

// Worlds whose group has room for two refuse the third client, whatever else is going on.
func TestSearchClassic(t *testing.T) { search(t, newClassicWorld(false, 0)) }

func TestSearchClassicFull(t *testing.T) { search(t, newClassicWorld(false, 2)) }

func TestSearchClassicStatic(t *testing.T) { search(t, newClassicWorld(true, 0)) }

func TestSearchClassicStaticFull(t *testing.T) { search(t, newClassicWorld(true, 2)) }

func TestSearchServer(t *testing.T) { search(t, newServerWorld(0)) }

func TestSearchServerFull(t *testing.T) { search(t, newServerWorld(2)) }

func TestWalkClassic(t *testing.T) { walks(t, func() world { return newClassicWorld(false, 0) }) }

func TestWalkClassicFull(t *testing.T) { walks(t, func() world { return newClassicWorld(false, 2) }) }

func TestWalkClassicStatic(t *testing.T) { walks(t, func() world { return newClassicWorld(true, 0) }) }

func TestWalkClassicStaticFull(t *testing.T) {
	walks(t, func() world { return newClassicWorld(true, 2) })
}

func TestWalkServer(t *testing.T) { walks(t, func() world { return newServerWorld(0) }) }

func TestWalkServerFull(t *testing.T) { walks(t, func() world { return newServerWorld(2) }) }

// A copy shares nothing with its original.
func TestClone(t *testing.T) {
	for _, first := range []world{newClassicWorld(true, 2), newServerWorld(2)} {
		rnd := rand.New(rand.NewPCG(1, 2))
		w := first
		for range 200 {
			actions := w.actions(false)
			before := w.state()
			for range 3 {
				c := w.copied()
				require.Equal(t, before, c.state())
				c.act(actions[rnd.IntN(len(actions))])
				require.Equal(t, before, w.state())
			}
			w.act(actions[rnd.IntN(len(actions))])
		}
	}
}

// bits is a set of partitions as text.
func bits(owned [3]bool) string {
	return string([]byte{'0' + byte(b2i(owned[0])), '0' + byte(b2i(owned[1])), '0' + byte(b2i(owned[2]))})
}
