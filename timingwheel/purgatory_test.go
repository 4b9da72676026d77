package timingwheel

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// request is an operation that is ready once told so, and counts what became of it.
type request struct {
	Operation
	ready              atomic.Bool
	completed, expired atomic.Int32
}

func newRequest() *request {
	q := new(request)
	q.Ready = q.ready.Load
	q.Complete = func() { q.completed.Add(1) }
	q.Expired = func() { q.expired.Add(1) }
	return q
}

// As Kafka's DelayedOperationTest.testRequestSatisfaction.
func TestOperationsAreCompletedByTheirKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRunner(RunnerConfig{})
		defer r.Close()
		p := NewPurgatory[string](r, 0)
		r1, r2 := newRequest(), newRequest()
		assert.Zero(t, p.Check("test1"), "nothing waits")
		assert.False(t, p.Watch(&r1.Operation, time.Hour, "test1"))
		assert.Zero(t, p.Check("test1"), "not ready")
		assert.False(t, p.Watch(&r2.Operation, time.Hour, "test2"))
		assert.Zero(t, p.Check("test2"))
		r1.ready.Store(true)
		assert.Equal(t, 1, p.Check("test1"))
		assert.Zero(t, p.Check("test1"))
		r2.ready.Store(true)
		assert.Equal(t, 1, p.Check("test2"))
		assert.Zero(t, p.Check("test2"))
		assert.Equal(t, int32(1), r1.completed.Load())
		assert.Equal(t, int32(1), r2.completed.Load())
		assert.Zero(t, p.Pending())
		assert.Zero(t, r.Len())
	})
}

func TestOperationReadyFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRunner(RunnerConfig{})
		p := NewPurgatory[int](r, 0)
		q := newRequest()
		q.ready.Store(true)
		assert.True(t, p.Watch(&q.Operation, time.Second, 1, 2))
		assert.Zero(t, p.Watched())
		time.Sleep(time.Hour)
		assert.Equal(t, int32(1), q.completed.Load())
		assert.Zero(t, q.expired.Load())
	})
}

// As testRequestExpiry: the one that nobody completes expires at its time, the other does not.
func TestOperationsExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRunner(RunnerConfig{})
		p := NewPurgatory[string](r, 0)
		began := time.Now()
		r1, r2 := newRequest(), newRequest()
		var took time.Duration
		r1.Expired = func() { took = time.Since(began); r1.expired.Add(1) }
		assert.False(t, p.Watch(&r1.Operation, 20*time.Millisecond, "a"))
		assert.False(t, p.Watch(&r2.Operation, 200*time.Second, "b"))
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Equal(t, 20*time.Millisecond, took)
		assert.Equal(t, int32(1), r1.completed.Load(), "completed, then told that it expired")
		assert.True(t, r1.Completed())
		assert.False(t, r2.Completed())
		assert.True(t, r2.Force())
		assert.False(t, r2.Force())
		time.Sleep(time.Hour)
		assert.Zero(t, r2.expired.Load())
		assert.Equal(t, int32(1), r2.completed.Load())
		assert.Zero(t, p.Pending())
	})
}

// As testRequestPurge: completed operations linger under their other keys until there are too many.
func TestCompletedOperationsArePurged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRunner(RunnerConfig{})
		defer r.Close()
		p := NewPurgatory[string](r, 3)
		list := make([]*request, 8)
		for i := range list {
			list[i] = newRequest()
			p.Watch(&list[i].Operation, time.Hour, fmt.Sprint("own", i), "shared")
		}
		assert.Equal(t, 16, p.Watched())
		assert.Equal(t, 8, p.Pending())
		for i, q := range list[:3] {
			q.ready.Store(true)
			assert.Equal(t, 1, p.Check(fmt.Sprint("own", i)))
		}
		assert.Equal(t, 5, p.Pending())
		assert.Equal(t, 13, p.Watched(), "three linger under the shared key")
		list[3].ready.Store(true)
		p.Check("own3")
		assert.Equal(t, 8, p.Watched(), "the fourth makes it sweep")
	})
}

// As testCancelForKeyReturningWatchedOperations and testDelayedFuture.
func TestCancelGivesBackWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRunner(RunnerConfig{})
		p := NewPurgatory[string](r, 0)
		one, two, other := newRequest(), newRequest(), newRequest()
		p.Watch(&one.Operation, time.Hour, "key")
		p.Watch(&two.Operation, time.Hour, "key")
		p.Watch(&other.Operation, time.Hour, "other")
		two.Force()
		list := p.Cancel("key")
		assert.Equal(t, []*Operation{&one.Operation}, list)
		assert.Equal(t, 1, p.Watched())
		assert.Empty(t, p.Cancel("key"))
		one.ready.Store(true)
		assert.Zero(t, p.Check("key"), "not watched any more")
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		assert.Equal(t, int32(1), one.expired.Load(), "its time went on")
	})
}

// As testDelayedOperationLock: whoever changes the condition and whoever watches race; each operation is done once.
func TestNoWakeUpIsLost(t *testing.T) {
	r := NewRunner(RunnerConfig{})
	defer r.Close()
	p := NewPurgatory[int](r, 10)
	const keys, rounds = 4, 3000
	list := make([]*request, rounds)
	for i := range list {
		list[i] = newRequest()
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for i, q := range list {
			p.Watch(&q.Operation, time.Hour, i%keys, (i+1)%keys)
		}
	})
	for w := range 2 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 1))
			for i, q := range list {
				q.ready.Store(true)
				p.Check((i + rng.IntN(2)) % keys)
			}
		})
	}
	wg.Wait()
	for _, q := range list {
		assert.Equal(t, int32(1), q.completed.Load())
	}
	assert.Zero(t, p.Pending())
	assert.Zero(t, r.Len())
}

func ExamplePurgatory() {
	r := NewRunner(RunnerConfig{})
	defer r.Close()
	waiting := NewPurgatory[string](r, 0)

	bytes := 0 // guarded by the purgatory's user in a real program
	fetch := &Operation{
		Ready:    func() bool { return bytes >= 100 },
		Complete: func() { fmt.Println("fetch answers with", bytes, "bytes") },
	}
	waiting.Watch(fetch, time.Minute, "orders/0", "orders/1")

	bytes = 60
	fmt.Println(waiting.Check("orders/0"))
	bytes = 130
	fmt.Println(waiting.Check("orders/1"))
	// Output:
	// 0
	// fetch answers with 130 bytes
	// 1
}
