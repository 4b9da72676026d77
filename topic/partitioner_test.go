package topic

import (
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/internal/thin"
)

func TestPartitionForKey(t *testing.T) {
	// The sign bit is masked, not negated: murmur2("21") is -973932308.
	assert.EqualValues(t, (-973932308&0x7fffffff)%7, PartitionForKey([]byte("21"), 7))
	for n := 1; n < 40; n++ {
		for i := range 200 {
			got := PartitionForKey([]byte(strconv.Itoa(i)), n)
			require.True(t, got >= 0 && int(got) < n)
			require.Equal(t, got, PartitionForKey([]byte(strconv.Itoa(i)), n))
		}
	}
}

func TestPartitioners(t *testing.T) {
	key := []byte("k")
	assert.Equal(t, PartitionForKey(key, 5), ByKey().Partition(Record{Key: key}, 5))
	assert.Equal(t, PartitionForKey([]byte{}, 5), ByKey().Partition(Record{Key: []byte{}}, 5), "an empty key is a key")
	assert.Equal(t, AnyPartition, ByKey().Partition(Record{}, 5))
	assert.Equal(t, AnyPartition, Uniform().Partition(Record{Key: key}, 5))
	assert.EqualValues(t, 3, Manual().Partition(Record{Key: key, Partition: 3}, 5))
	assert.Error(t, checkPartition("t", 5, 5))
	assert.ErrorIs(t, checkPartition("t", -2, 5), ErrInvalid)
	assert.NoError(t, checkPartition("t", 4, 5))
	three := PartitionerFunc(func(rec Record, n int) int32 { return int32(len(rec.Value) % n) })
	assert.EqualValues(t, 2, three.Partition(Record{Value: []byte("xy")}, 3))
}

func TestRoundRobinTurnsPerTopic(t *testing.T) {
	rr := RoundRobin()
	for i := range int32(10) {
		assert.Equal(t, i%4, rr.Partition(Record{Topic: "a"}, 4))
		assert.Equal(t, i%3, rr.Partition(Record{Topic: "b"}, 3))
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	counts := map[int32]int{}
	for range 4 {
		wg.Go(func() {
			for range 100 {
				p := rr.Partition(Record{Topic: "c"}, 4)
				mu.Lock()
				counts[p]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	assert.Equal(t, map[int32]int{0: 100, 1: 100, 2: 100, 3: 100}, counts)
}

// Whatever the sizes and boundaries: no partition is left before a batch's worth went there, none is stayed
// with beyond two, and it is left at the first boundary in between.
func TestStickySwitching(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range thin.Raced(500, 50) {
		size := 100 + rng.IntN(1000)
		var s sticky
		s.move(0)
		for range 200 {
			before := s.bytes
			n, boundary := 1+rng.IntN(size/3), rng.IntN(8) == 0
			leave := s.add(n, size, boundary)
			total := before + n
			require.Equal(t, total >= 2*size || boundary && total >= size, leave)
			require.Equal(t, total >= size, s.due(size))
			if leave {
				s.move(s.current + 1)
				require.Zero(t, s.bytes)
			}
			require.Less(t, s.bytes, 2*size)
		}
	}
}

func TestPickPartitionPrefersShortQueues(t *testing.T) {
	queues := []int{0, 3, 9}
	counts := make([]int, 3)
	const draws = 40_000
	for range draws {
		counts[pickPartition(3, func(i int) int { return queues[i] })]++
	}
	for i, q := range queues { // weights 10, 7, 1
		assert.InDelta(t, float64(10-q)/18, float64(counts[i])/draws, 0.02, "queue of %d", q)
	}
	clear(counts)
	for range draws {
		counts[pickPartition(3, func(int) int { return 0 })]++
	}
	for _, n := range counts {
		assert.InDelta(t, 1.0/3, float64(n)/draws, 0.02)
	}
}

func TestPartitionerPanics(t *testing.T) {
	e := clientEngine(t)
	clientTopic(t, e, "t", Partitions(3))
	p := clientProducer(t, e, PartitionBy(PartitionerFunc(func(rec Record, _ int) int32 {
		if rec.Key == nil {
			panic("no key")
		}
		return 2
	})))
	err := p.Send(t.Context(), "t", Record{}, func(Position, error) { t.Error("a refused record has no outcome") })
	require.ErrorIs(t, err, ErrInvalid)
	assert.ErrorContains(t, err, "no key")
	pos, err := p.SendSync(t.Context(), "t", Record{Key: []byte("k")})
	require.NoError(t, err)
	assert.EqualValues(t, 2, pos.Partition)
}
