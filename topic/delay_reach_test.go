package topic

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// A reach that is raised and lowered at random, with messages stored in between, has exactly the messages that were settled,
// as has one that a lagging lane keeps and the stored form of both.
func TestReachAgreesWithSet(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 3))
		var now reach
		var ends [delayLevels]int64
		var all []delayKey
		settled := map[delayKey]bool{}
		for range 60 {
			switch k := r.IntN(10); {
			case k < 6:
				level := uint8(r.IntN(3))
				all = append(all, delayKey{due: now.bound.due + 1 + r.Int64N(30), offset: ends[level], level: level})
				ends[level]++
			case k < 9:
				to := delayKey{due: now.bound.due + r.Int64N(20), level: uint8(r.IntN(3)), offset: r.Int64N(20)}
				if to.before(now.bound) {
					continue
				}
				now = now.raised(to)
				for _, m := range all {
					settled[m] = settled[m] || m.before(to)
				}
			default:
				now = now.lowered(delayKey{due: r.Int64N(now.bound.due + 1)}, ends)
			}
			stored := reachOf(now.flat())
			cut := delayKey{due: r.Int64N(60), level: uint8(r.IntN(3)), offset: r.Int64N(20)}
			part := now.below(cut)
			for _, m := range all {
				require.Equal(t, settled[m], now.has(m), "seed %d: %v in %v", seed, m, now)
				require.Equal(t, settled[m], stored.has(m), "seed %d: %v in %v", seed, m, now)
				require.Equal(t, settled[m] && m.before(cut), part.has(m), "seed %d: %v in %v below %v", seed, m, part, cut)
				if settled[m] {
					require.True(t, m.before(now.top()))
				}
				if now.hasRun(m.level, m.offset+1, m.due) {
					require.True(t, settled[m])
				}
			}
		}
		less := ends
		less[0] /= 2
		part, changed := now.within(less)
		for _, m := range all {
			lost := m.level == 0 && m.offset >= less[0]
			require.Equal(t, settled[m] && (!lost || m.before(now.bound)), part.has(m))
		}
		_, again := part.within(less)
		require.False(t, again)
		require.True(t, changed || len(now.ceilings) == 0 || less == ends || now.ceilings[len(now.ceilings)-1].ends[0] <= less[0])
	}
}
