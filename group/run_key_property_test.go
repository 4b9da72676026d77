package group_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/group/assignor"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

var keySeeds = flag.Int("keys.seeds", 100, "how many random histories of members that keep order by key")

// keyWorld is what members that keep order by key do, and what must hold meanwhile.
type keyWorld struct {
	mu     sync.Mutex
	fault  error
	atWork map[string]bool  // "partition key"
	reach  map[string]int64 // the last offset of a key that was processed
	done   map[topic.TopicPartition]map[int64]bool
	marked map[topic.TopicPartition]map[int64]bool
	stored map[topic.TopicPartition]int64
	calm   bool
	stalls bool // members are removed for not coming back: others may then have what they had, and their marks do not count
}

func (w *keyWorld) fail(format string, args ...any) {
	if w.fault == nil {
		w.fault = fmt.Errorf(format, args...)
	}
}

// begin and end are a handler's.
func (w *keyWorld) begin(b *group.Batch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := b.Records[0]
	if first.Key == nil && len(b.Records) > 1 {
		w.fail("a batch of %d records without key", len(b.Records))
	}
	for _, r := range b.Records {
		if w.marked[b.TopicPartition()][r.Offset] && !w.stalls {
			w.fail("%s: offset %d was marked and came again", b.TopicPartition(), r.Offset)
		}
		if string(r.Key) != string(first.Key) {
			w.fail("a batch of keys %q and %q", first.Key, r.Key)
		}
	}
	if at := fmt.Sprint(b.Partition, " ", string(first.Key)); first.Key != nil {
		if w.atWork[at] && !w.stalls {
			w.fail("key %s is at work twice", at)
		}
		w.atWork[at] = true
	}
}

func (w *keyWorld) end(b *group.Batch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.atWork, fmt.Sprint(b.Partition, " ", string(b.Records[0].Key)))
}

func (w *keyWorld) process(b *group.Batch, r topic.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if at := fmt.Sprint(b.Partition, " ", string(r.Key)); r.Key != nil {
		// Whatever is done again, nothing of a key comes before all that precedes it was done.
		var before int64
		if _, err := fmt.Sscan(string(r.Value), &before); err != nil {
			w.fail("%w", err)
		}
		if last, ok := w.reach[at]; before >= 0 && (!ok || last < before) {
			w.fail("key %s: offset %d before %d", at, r.Offset, before)
		}
		w.reach[at] = max(w.reach[at], r.Offset)
	}
	w.done[b.TopicPartition()][r.Offset] = true
}

func (w *keyWorld) committed(list []group.PartitionOffset, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		return
	}
	for _, o := range list {
		if o.Offset < w.stored[o.TopicPartition] {
			w.fail("%s: committed %d after %d", o.TopicPartition, o.Offset, w.stored[o.TopicPartition])
		}
		for at := w.stored[o.TopicPartition]; at < o.Offset; at++ {
			if !w.done[o.TopicPartition][at] {
				w.fail("%s: committed %d, and %d was not done", o.TopicPartition, o.Offset, at)
			}
		}
		w.stored[o.TopicPartition] = o.Offset
	}
}

func (w *keyWorld) mark(b *group.Batch, recs []topic.Record) {
	b.MarkThrough(recs[len(recs)-1].Offset)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range recs {
		w.marked[b.TopicPartition()][r.Offset] = true
	}
}

// keyLate is when a member is removed.
const keyLate = 5 * time.Second

var errTrip = errors.New("trip")

// work is a handler that takes its time and fails in each of the ways there are.
func (w *keyWorld) work(ctx context.Context, rng *rand.Rand, b *group.Batch) error {
	w.begin(b)
	defer w.end(b)
	w.mu.Lock()
	calm, dice, rest := w.calm, rng.IntN(100), time.Duration(rng.IntN(50))*time.Millisecond
	w.mu.Unlock()
	if dice == 9 && w.stalls && !calm {
		time.Sleep(2 * keyLate) // it does not even look at its context
	}
	for i, r := range b.Records {
		time.Sleep(rest)
		switch {
		case calm:
		case ctx.Err() != nil && dice%2 == 0:
			return ctx.Err()
		case dice == 7:
			return errTrip
		case dice == 8:
			panic(errTrip)
		}
		w.process(b, r)
		if dice%3 == 0 && i%2 == 0 || i == len(b.Records)-1 {
			w.mark(b, b.Records[:i+1])
		}
	}
	return nil
}

// member is one life after the other.
func (w *keyWorld) member(ctx context.Context, eng *topic.Engine, seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 3))
	for ctx.Err() == nil {
		assignors := []assignor.Assignor{assignor.CooperativeSticky(), assignor.Range()}
		c, err := group.Join(ctx, eng, "g", group.Topics("a"), group.OnCommit(w.committed), group.MaxPollInterval(keyLate), group.ReadAhead(1+rng.IntN(30)),
			group.CommitEvery(time.Duration(rng.IntN(100))*time.Millisecond), group.ReadWith(topic.MaxPollRecords(1+rng.IntN(10))),
			group.AssignWith(assignors[seed%2]))
		if err != nil {
			return err
		}
		for loops := rng.IntN(4); loops >= 0 && ctx.Err() == nil; loops-- {
			w.mu.Lock()
			life, cancel := context.WithTimeoutCause(ctx, time.Duration(rng.IntN(1000))*time.Millisecond, context.Canceled)
			if w.calm {
				life = ctx
			}
			w.mu.Unlock()
			err := c.RunByKey(life, 1+rng.IntN(6), func(ctx context.Context, b *group.Batch) error { return w.work(ctx, rng, b) })
			cancel()
			if err != nil && ctx.Err() == nil && !errors.Is(err, context.Canceled) && !errors.Is(err, errTrip) && !strings.HasPrefix(err.Error(), "group: handler panicked") {
				return err
			}
		}
		if err := c.Close(); err != nil {
			return err
		}
	}
	return nil
}

func runKeys(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 4))
	eng := open(t, vfs.NewMem())
	at, err := eng.Topic(t.Context(), "a", topic.Partitions(1+rng.IntN(3)), topic.NoSync())
	require.NoError(t, err)
	w := &keyWorld{
		atWork: map[string]bool{}, reach: map[string]int64{}, done: map[topic.TopicPartition]map[int64]bool{},
		marked: map[topic.TopicPartition]map[int64]bool{},
		stored: map[topic.TopicPartition]int64{}, stalls: seed%4 == 0,
	}
	for p := range int32(at.Partitions()) {
		w.done[tp("a", p)], w.marked[tp("a", p)] = map[int64]bool{}, map[int64]bool{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	faults := make([]error, 1+rng.IntN(3))
	assignor := rng.Uint64() &^ 1
	for i := range faults {
		wg.Go(func() { faults[i] = w.member(ctx, eng, assignor+seed%2+uint64(2*i)) })
	}
	last, ends := map[string]int64{}, make([]int64, at.Partitions())
	for range 60 {
		p := rng.IntN(at.Partitions())
		rec := topic.Record{Value: []byte("-1")}
		if key := rng.IntN(6); key > 0 {
			rec.Key = []byte{byte('a' + key)}
			name := fmt.Sprint(p, " ", string(rec.Key))
			if before, ok := last[name]; ok { // each record names the one before it
				rec.Value = fmt.Append(nil, before)
			}
			last[name] = ends[p]
		}
		ends[p]++
		_, err := at.Append(ctx, rec, topic.AppendTo(int32(p)))
		require.NoError(t, err)
		if rng.IntN(4) == 0 {
			time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
		}
	}
	time.Sleep(time.Duration(rng.IntN(2000)) * time.Millisecond)
	w.mu.Lock()
	w.calm = true
	w.mu.Unlock()
	time.Sleep(time.Minute)
	cancel()
	wg.Wait()
	require.NoError(t, errors.Join(faults...), "seed %d", seed)
	require.NoError(t, w.fault, "seed %d", seed)
	for p, end := range ends {
		require.Equal(t, end, w.stored[tp("a", int32(p))], "seed %d: partition %d", seed, p)
	}
}

// Whatever handlers and members do: the records of a key are processed in order and one at a time, nothing is committed that was not
// processed, no commit goes back, what was marked does not come again, and in the end everything is done.
func TestRunByKeyKeepsItsPromises(t *testing.T) {
	for seed := range *keySeeds {
		synctest.Test(t, func(t *testing.T) { runKeys(t, uint64(seed)) })
		if t.Failed() {
			return
		}
	}
}
