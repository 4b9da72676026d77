package timingwheel

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Operation is something that is to be done as soon as a condition holds, or when its time is up: a fetch that waits
// for bytes, an append that waits for copies. It is done exactly once. Fill in the functions and give it to
// [Purgatory.Watch]; an Operation is used once and must not be copied.
type Operation struct {
	// Ready looks whether the condition holds. It is called many times, never twice at once, and must be quick,
	// change nothing, and not call the purgatory.
	Ready func() bool
	// Complete does the operation, once: when Ready held, or the time was up, or somebody forced it. No lock of the
	// purgatory is held.
	Complete func()
	// Expired, if not nil, is called after Complete when the time was up.
	Expired func()

	timer     Timer
	timeouts  atomic.Pointer[timeouts] // not nil once the timer is set
	trying    sync.Mutex               // held while Ready is asked
	completed atomic.Bool
}

// Completed reports whether the operation is done, or being done.
func (o *Operation) Completed() bool { return o.completed.Load() }

// Force completes the operation now, whatever Ready says. It reports false when somebody else completed it.
func (o *Operation) Force() bool {
	if !o.completed.CompareAndSwap(false, true) {
		return false
	}
	o.stop()
	o.Complete()
	return true
}

// stop takes the timer out, if it is set.
func (o *Operation) stop() {
	if t := o.timeouts.Load(); t != nil && t.runner.Stop(&o.timer) {
		t.pending.Add(-1)
	}
}

// try completes the operation if Ready holds, and reports whether this call did.
func (o *Operation) try() bool {
	return !o.Completed() && o.ready() && o.Force()
}

func (o *Operation) ready() bool {
	o.trying.Lock()
	defer o.trying.Unlock()
	return !o.Completed() && o.Ready()
}

// expire is the timer's work.
func (o *Operation) expire() {
	if o.Force() && o.Expired != nil {
		o.Expired()
	}
}

// shards is how many parts a purgatory's lists are in, as in Kafka, so that keys rarely share a lock.
const shards = 512

// DefaultPurgeInterval is Kafka's purge interval for delayed fetches and appends.
const DefaultPurgeInterval = 1000

// Purgatory keeps operations until they can be completed, each watched under one or more keys: whoever changes what
// a key stands for calls [Purgatory.Check]. It follows Kafka's DelayedOperationPurgatory. All methods may be called at
// once from any goroutine, also from an operation's functions except Ready. Check must not be called while holding a
// lock that Ready takes.
type Purgatory[K comparable] struct {
	timeouts timeouts
	purge    int64
	seed     maphash.Seed
	// watched is the operations put into lists and, as far as known, still there: completed ones are counted until
	// the next purge.
	watched atomic.Int64
	shards  [shards]watchers[K]
}

// timeouts is the part of a purgatory that an operation knows.
type timeouts struct {
	runner  *Runner
	pending atomic.Int64 // operations whose timer is set
}

type watchers[K comparable] struct {
	mu   sync.Mutex
	keys map[K][]*Operation
}

// NewPurgatory makes a purgatory whose timeouts the runner fires. Completed operations may linger in the lists of other
// keys; when there are more than purgeInterval of them, all lists are swept. 0 means [DefaultPurgeInterval].
func NewPurgatory[K comparable](r *Runner, purgeInterval int) *Purgatory[K] {
	if purgeInterval == 0 {
		purgeInterval = DefaultPurgeInterval
	}
	return &Purgatory[K]{timeouts: timeouts{runner: r}, purge: int64(purgeInterval), seed: maphash.MakeSeed()}
}

func (p *Purgatory[K]) shard(key K) *watchers[K] {
	return &p.shards[maphash.Comparable(p.seed, key)%shards]
}

// Watch completes the operation at once if it is ready, and else keeps it under every key until a Check finds it
// ready, it is forced, or the timeout is over. It reports whether the operation is completed already.
//
// The order loses no wake-up: the operation is in every list before it is asked a last time, so a change either comes
// before that and is seen by it, or after and finds the operation in its list.
func (p *Purgatory[K]) Watch(o *Operation, timeout time.Duration, keys ...K) bool {
	if o.try() {
		return true
	}
	for _, key := range keys {
		if o.Completed() {
			break
		}
		p.shard(key).add(key, o)
	}
	p.watched.Add(1)
	if o.try() || o.Completed() {
		p.sweep()
		return true
	}
	t := &p.timeouts
	t.pending.Add(1)
	o.timer.Value = func() {
		t.pending.Add(-1)
		o.expire()
		p.sweep()
	}
	t.runner.After(&o.timer, timeout)
	o.timeouts.Store(t)
	if o.Completed() { // by somebody who may not have seen the timer
		o.stop()
	}
	return o.Completed()
}

// Check asks every operation under the key whether it is ready, and completes those that are. It returns how many
// this call completed.
func (p *Purgatory[K]) Check(key K) (completed int) {
	for _, o := range p.shard(key).list(key) {
		if o.try() {
			completed++
		}
	}
	p.shard(key).prune(key)
	p.sweep()
	return completed
}

// Cancel takes the operations that are not completed out of the key's list and returns them; their timers go on.
// The caller forces them, or lets their time run out.
func (p *Purgatory[K]) Cancel(key K) []*Operation {
	w := p.shard(key)
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.keys[key]
	delete(w.keys, key)
	return slices.DeleteFunc(list, (*Operation).Completed)
}

// Watched is the number of places in the lists that are taken, by completed operations too: one for each key an
// operation is watched under.
func (p *Purgatory[K]) Watched() (n int) {
	for i := range p.shards {
		n += p.shards[i].size()
	}
	return n
}

// Pending is the number of operations whose time is running.
func (p *Purgatory[K]) Pending() int { return int(p.timeouts.pending.Load()) }

// sweep purges all lists when too many completed operations linger in them.
func (p *Purgatory[K]) sweep() {
	watched, pending := p.watched.Load(), p.timeouts.pending.Load()
	if watched-pending <= p.purge || !p.watched.CompareAndSwap(watched, pending) {
		return
	}
	for i := range p.shards {
		p.shards[i].purge()
	}
}

func (w *watchers[K]) add(key K, o *Operation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.keys == nil {
		w.keys = map[K][]*Operation{}
	}
	w.keys[key] = append(w.keys[key], o)
}

// list is a copy, since the operations are asked outside the lock.
func (w *watchers[K]) list(key K) []*Operation {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.keys[key])
}

func (w *watchers[K]) size() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, list := range w.keys {
		n += len(list)
	}
	return n
}

func (w *watchers[K]) prune(key K) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pruneLocked(key)
}

func (w *watchers[K]) purge() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key := range w.keys {
		w.pruneLocked(key)
	}
}

// pruneLocked drops the completed operations of a key, and the key with the last one.
func (w *watchers[K]) pruneLocked(key K) {
	list, ok := w.keys[key]
	if !ok {
		return
	}
	list = slices.DeleteFunc(list, (*Operation).Completed)
	if len(list) == 0 {
		delete(w.keys, key)
		return
	}
	w.keys[key] = list
}
