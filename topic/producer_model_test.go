package topic

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/vfs"
)

// outcome is what became of one record.
type outcome struct {
	told int
	pos  Position
	err  error
}

// Whatever fails and whoever closes: each accepted record has one outcome; what was reported stored is there,
// where it was reported; what was reported not stored is not; one sender's records keep their order; nothing
// is there twice.
func TestProducerModel(t *testing.T) {
	seeds := uint64(30)
	if testing.Short() {
		seeds = 5
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runProducerModel(t, seed) })
		})
	}
}

func runProducerModel(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 7))
	disk := vfs.NewFault(vfs.NewMem())
	e, err := Open("data", On(disk))
	require.NoError(t, err)
	defer e.Close()
	const partitions = 3
	level := []TopicOption{Durable(), NoSync()}[rng.IntN(2)]
	top := clientTopic(t, e, "t", Partitions(partitions), level, MaxMessageBytes(700+rng.IntN(3000)))
	p := clientProducer(t, e, PartitionBy(Manual()), BatchSize(100+rng.IntN(3000)), BufferMemory(int64(4000+rng.IntN(20_000))),
		Linger(time.Duration(rng.IntN(3))*time.Millisecond), MaxInFlight(1+rng.IntN(5)), DeliveryTimeout(5*time.Second),
		MaxBlock(time.Duration(rng.IntN(3000))*time.Millisecond))
	makeTrouble(rng, disk, top)
	const senders, each = 3, 120
	var mu sync.Mutex
	accepted := map[string]*outcome{}
	var wg sync.WaitGroup
	for s := range senders {
		local := rand.New(rand.NewPCG(seed, uint64(100+s)))
		wg.Go(func() {
			for i := range each {
				name, o := fmt.Sprintf("%d:%d", s, i), &outcome{}
				if sendOne(t, p, local, int32(i%partitions), name, &mu, o) {
					mu.Lock()
					accepted[name] = o
					mu.Unlock()
				}
				time.Sleep(time.Duration(local.IntN(20)) * time.Millisecond)
			}
		})
	}
	if rng.IntN(2) == 0 {
		wg.Wait()
		if err := p.Shutdown(t.Context()); err != nil {
			require.ErrorIs(t, err, ErrUndelivered)
		}
	} else {
		time.Sleep(time.Duration(rng.IntN(1500)) * time.Millisecond)
		_ = p.Close()
		wg.Wait()
	}
	time.Sleep(time.Minute)
	synctest.Wait()
	disk.Clear()
	checkProducerModel(t, top, accepted)
	assert.Zero(t, p.memory.used())
}

// makeTrouble lets writes fail for a while, and sometimes a disk hang or a tail be cut off.
func makeTrouble(rng *rand.Rand, disk *vfs.Fault, top *Topic) {
	for range 1 + rng.IntN(4) {
		disk.Add(vfs.Rule{Op: vfs.OpWrite, Path: "*.log", K: 1 + rng.IntN(60), Count: 1 + rng.IntN(8), Err: syscall.ENOSPC})
	}
	if rng.IntN(4) == 0 { // a disk that hangs
		disk.Add(vfs.Rule{Op: vfs.OpSync, Path: "t-1", K: 1 + rng.IntN(20), Hook: func(vfs.Op, string) { time.Sleep(20 * time.Second) }})
	}

	if rng.IntN(3) == 0 { // changes of leader: what nobody was promised is cut off
		go func() {
			part, _ := top.Partition(2)
			for range 1500 {
				time.Sleep(time.Millisecond)
				if l, err := part.open(); err == nil && l.End() > l.High() {
					_ = l.Truncate(l.High())
				}
			}
		}()
	}
}

// sendOne sends a record, with little patience, whose callback now and then misbehaves.
func sendOne(t *testing.T, p *Producer, rng *rand.Rand, partition int32, name string, mu *sync.Mutex, o *outcome) bool {
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rng.IntN(2000))*time.Millisecond)
	defer cancel()
	rec := Record{Partition: partition, Value: append([]byte(name+" "), make([]byte, rng.IntN(300))...)}
	misbehave := rng.IntN(40)
	return p.Send(ctx, "t", rec, func(pos Position, err error) {
		mu.Lock()
		o.told, o.pos, o.err = o.told+1, pos, err
		mu.Unlock()
		switch misbehave {
		case 0:
			panic("misbehaving")
		case 1:
			runtime.Goexit()
		case 2:
			time.Sleep(10 * time.Millisecond)
		}
	}) == nil
}

func checkProducerModel(t *testing.T, top *Topic, accepted map[string]*outcome) {
	t.Helper()
	stored := map[string]Position{}
	last := map[[2]int32]int{}
	for rec, err := range top.Read(t.Context(), UntilEnd()) {
		require.NoError(t, err)
		var s, i int
		_, err := fmt.Sscanf(string(rec.Value), "%d:%d ", &s, &i)
		require.NoError(t, err)
		name := fmt.Sprintf("%d:%d", s, i)
		require.NotContains(t, stored, name, "there twice")
		stored[name] = Position{Topic: "t", Partition: rec.Partition, Offset: rec.Offset}
		lane := [2]int32{int32(s), rec.Partition}
		before, seen := last[lane]
		require.True(t, !seen || before < i, "order of sender %d: %d after %d", s, i, before)
		last[lane] = i
	}
	for name, o := range accepted {
		require.Equal(t, 1, o.told, "%s: one outcome", name)
		pos, there := stored[name]
		switch {
		case o.err == nil:
			o.pos.Epoch = 0
			require.True(t, there, "%s was reported stored", name)
			require.Equal(t, pos, o.pos)
		case !errors.Is(o.err, ErrUncertain):
			require.False(t, there, "%s was reported not stored: %v", name, o.err)
		}
		delete(stored, name)
	}
	require.Empty(t, stored, "stored though refused")
}
