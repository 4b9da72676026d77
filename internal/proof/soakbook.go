package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
)

// soakBook is what programs were told, over all their lives, and what has to follow from it.
type soakBook struct {
	mu    sync.Mutex
	calm  bool // nothing new is sent
	first error
	lives int
	clean bool // the last life ended in good order

	sent    [3]int64         // events of each producer that were acknowledged or may be there
	doubted map[string]bool  // events whose outcome was not told: they were sent again, and may be there twice
	next    map[int32]int64  // the offset that the group has to see next
	seen    [3]int64         // the last event of each producer that the group has seen
	copied  map[int32]int64  // the last source offset of which there is a copy
	copyAt  int64            // the offset of the next copy to read
	jobs    map[string]int   // done how often, of those that were acknowledged or may be there
	jobOf   map[string]int   // the life in which it was last done
	state   map[string]value // by key
	delayed map[string]int64 // when it is due, in milliseconds; of what has not come
	came    map[string]bool
	laterAt int64
	counts  [5]int64
}

// value is the last acknowledged value of a key, and a later one whose outcome was not told.
type value struct{ known, unknown int64 }

func newSoakBook() *soakBook {
	return &soakBook{doubted: map[string]bool{}, next: map[int32]int64{}, copied: map[int32]int64{}, jobs: map[string]int{}, jobOf: map[string]int{},
		state: map[string]value{}, delayed: map[string]int64{}, came: map[string]bool{}}
}

// entries are those of one life; a dead one makes none.
type entries struct {
	life  int
	clean bool // the life before ended in good order
	dead  bool // guarded by the book's mu
}

func (b *soakBook) begin() *entries {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lives++
	b.forget()
	e := &entries{life: b.lives, clean: b.clean}
	b.clean = false
	return e
}

// forget leaves out what is done for long: the book is not to grow.
func (b *soakBook) forget() {
	old := func(name string) bool {
		life, _, _ := strings.Cut(name, "/")
		n, _ := strconv.Atoi(life)
		return n < b.lives-2
	}
	maps.DeleteFunc(b.came, func(name string, _ bool) bool { return old(name) })
	maps.DeleteFunc(b.jobs, func(name string, done int) bool { return done > 0 && old(name) })
	maps.DeleteFunc(b.jobOf, func(name string, _ int) bool { return old(name) })
}

// die ends a life in the very moment in which its disk is taken away.
func (b *soakBook) die(e *entries, take func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e.dead = true
	take()
}

// note makes an entry, unless the life is over.
func (b *soakBook) note(e *entries, entry func() error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e.dead {
		return context.Canceled
	}
	err := entry()
	if err != nil && b.first == nil {
		b.first = err
	}
	return err
}

func (b *soakBook) blame(e *entries, err error) { _ = b.note(e, func() error { return err }) }

func (b *soakBook) fault() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.first
}

func (b *soakBook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.counts
	return fmt.Sprintf("%d lives, %d events, %d copies, %d jobs, %d values, %d delayed messages", b.lives, c[0], c[1], c[2], c[3], c[4])
}

// open says what has not been handled; empty when that is nothing.
func (b *soakBook) open() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	jobs := 0
	for _, done := range b.jobs {
		if done == 0 {
			jobs++
		}
	}
	if events := b.unread(); events > 0 || jobs > 0 || len(b.delayed) > 0 {
		return fmt.Sprintf("%d events without the group or a copy, %d jobs, %d delayed messages", events, jobs, len(b.delayed))
	}
	return ""
}

// unread is how many events the group has not seen, or have no copy that was read.
func (b *soakBook) unread() (n int64) {
	for w := range b.sent {
		n += b.sent[w] - b.seen[w]
	}
	for p, next := range b.next {
		if last, some := b.copied[p]; some {
			n += max(0, next-1-last)
		} else {
			n += next
		}
	}
	return n
}

// turn waits a moment between two sends; it tells when there are none any more.
func (b *soakBook) turn(p *phase, busy func() bool) bool {
	for {
		select {
		case <-p.ctx.Done():
			return false
		case <-time.After(time.Millisecond):
		}
		b.mu.Lock()
		wait := b.calm || busy()
		b.mu.Unlock()
		if !wait {
			return true
		}
	}
}

// produce appends the numbered events of one producer, each after the other. One of an earlier life whose outcome was not told is sent again.
func (b *soakBook) produce(p *phase, t *topic.Topic, w int) error {
	for b.turn(p, func() bool { return b.unread() > soakLag }) {
		var n int64
		if err := b.note(p.entries, func() error {
			n = b.sent[w] + 1
			return nil
		}); err != nil {
			return err
		}
		text := fmt.Sprintf("%d/%d", w, n)
		_, err := t.Append(p.ctx, topic.Record{Key: []byte{byte(w)}, Value: append([]byte(text), make([]byte, 100)...)})
		if err := b.note(p.entries, func() error {
			if err == nil {
				b.sent[w], b.counts[0] = n, b.counts[0]+1
			} else {
				b.doubted[text] = true
			}
			return nil
		}); err != nil { // killed meanwhile
			b.mu.Lock()
			b.doubted[text] = true
			b.mu.Unlock()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// consumed checks what the group is given: each partition without a gap from where it stood, and each producer's events in order.
func (b *soakBook) consumed(e *entries, records []topic.Record) error {
	return b.note(e, func() error {
		for _, rec := range records {
			next := b.next[rec.Partition]
			if rec.Offset < next && e.clean {
				return faultf(wrong, "the group is given offset %d of partition %d again, after an orderly stop at %d", rec.Offset, rec.Partition, next)
			}
			if rec.Offset < next {
				continue // not committed when the life before ended
			}
			if rec.Offset > next {
				return faultf(lost, "the group is given offset %d of partition %d, after %d", rec.Offset, rec.Partition, next-1)
			}
			b.next[rec.Partition] = next + 1
			var w, n int64
			if _, err := fmt.Sscanf(string(rec.Value), "%d/%d", &w, &n); err != nil {
				return faultf(undetected, "event %q", rec.Value)
			}
			switch last := b.seen[w]; {
			case n == last+1:
				b.seen[w] = n
				b.sent[w] = max(b.sent[w], n) // one whose outcome was not told is there
			case n > last:
				return faultf(lost, "event %d of producer %d comes after %d", n, w, last)
			case !b.doubted[fmt.Sprintf("%d/%d", w, n)]:
				return faultf(wrong, "event %d of producer %d is there twice", n, w)
			}
		}
		return nil
	})
}

// follow reads the copies from where the life before stood: those of each partition are in order, without a gap, and repeated after a death only.
func (b *soakBook) follow(p *phase, t *topic.Topic) error {
	b.mu.Lock()
	from := b.copyAt
	b.mu.Unlock()
	for rec, err := range t.Read(p.ctx, topic.FromOffset(from)) {
		if err != nil {
			return err
		}
		r, ok := group.ParseRouted(*rec)
		if err := b.note(p.entries, func() error {
			last, some := b.copied[r.Source.Partition]
			if !some {
				last = -1
			}
			if !ok || r.Source.Offset > last+1 {
				return faultf(lost, "copy of %v after %d", r.Source, last)
			}
			if e := p.entries; r.Source.Offset <= last && e.clean {
				return faultf(wrong, "copy of %v again, after an orderly stop at %d", r.Source, last)
			}
			b.copied[r.Source.Partition] = max(last, r.Source.Offset)
			b.copyAt, b.counts[1] = rec.Offset+1, b.counts[1]+1
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// send sends jobs.
func (b *soakBook) send(p *phase, t *topic.Topic) error {
	for i := 0; b.turn(p, func() bool { return false }); i++ {
		name := fmt.Sprintf("%d/%d", p.entries.life, i)
		_, err := t.Append(p.ctx, topic.Record{Value: []byte(name)})
		if err != nil {
			return err
		}
		if err := b.note(p.entries, func() error {
			b.jobs[name] += 0
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// work does a job, each third at its second attempt. A job that was done is done again after a death only.
func (b *soakBook) work(e *entries) func(context.Context, *group.Delivery) error {
	return func(_ context.Context, d *group.Delivery) error {
		name := string(d.Value)
		if d.Attempt == 1 && d.Offset%3 == 0 {
			return errors.New("not yet")
		}
		return b.note(e, func() error {
			if b.jobs[name] > 0 && (e.clean || b.jobOf[name] == e.life) {
				return faultf(wrong, "job %s is done again without a death", name)
			}
			b.jobs[name]++
			b.jobOf[name], b.counts[2] = e.life, b.counts[2]+1
			return nil
		})
	}
}

// keep changes the values of a few keys.
func (b *soakBook) keep(p *phase, t *topic.Topic) error {
	for i := int64(1); b.turn(p, func() bool { return false }); i++ {
		key, n := strconv.FormatInt(i%20, 10), int64(p.entries.life)<<32|i
		if err := b.note(p.entries, func() error {
			v := b.state[key]
			v.unknown = n
			b.state[key] = v
			return nil
		}); err != nil {
			return err
		}
		if _, err := t.Append(p.ctx, topic.Record{Key: []byte(key), Value: strconv.AppendInt(nil, n, 10)}); err != nil {
			return err
		}
		_ = b.note(p.entries, func() error {
			b.state[key] = value{known: n}
			b.counts[3]++
			return nil
		})
	}
	return nil
}

// compareState reads the compacted topic: of each key the last value is there, or one of which nothing was told.
func (b *soakBook) compareState(eng *topic.Engine) error {
	got := map[string]string{}
	t, err := eng.Topic(context.Background(), "state")
	if err != nil {
		return err
	}
	for rec, err := range t.Read(context.Background(), topic.UntilEnd()) {
		if err != nil {
			return err
		}
		got[string(rec.Key)] = string(rec.Value)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, v := range b.state {
		n, _ := strconv.ParseInt(got[key], 10, 64)
		if n < v.known || n > max(v.known, v.unknown) {
			return faultf(lost, "key %s has %d, acknowledged was %d", key, n, v.known)
		}
	}
	return nil
}

// delay sends messages for later.
func (b *soakBook) delay(p *phase, t *topic.Topic) error {
	for i := 0; b.turn(p, func() bool { return len(b.delayed) > soakLag }); i++ {
		name, due := fmt.Sprintf("%d/%d", p.entries.life, i), time.Now().Add(time.Duration(i%700)*time.Millisecond)
		if _, err := t.Append(p.ctx, topic.Record{Value: []byte(name)}, topic.DeliverAt(due)); err != nil {
			return err
		}
		if err := b.note(p.entries, func() error {
			if !b.came[name] {
				b.delayed[name] = due.UnixMilli()
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// arrive reads what was sent for later: each once, and none early.
func (b *soakBook) arrive(p *phase, t *topic.Topic) error {
	b.mu.Lock()
	from := b.laterAt
	b.mu.Unlock()
	for rec, err := range t.Read(p.ctx, topic.FromOffset(from)) {
		if err != nil {
			return err
		}
		now := time.Now().UnixMilli()
		if err := b.note(p.entries, func() error {
			name := string(rec.Value)
			if due := b.delayed[name]; now < due {
				return faultf(wrong, "message %s comes %d ms early", name, due-now)
			}
			if b.came[name] {
				return faultf(wrong, "message %s comes twice", name)
			}
			b.came[name] = true
			delete(b.delayed, name)
			b.laterAt, b.counts[4] = rec.Offset+1, b.counts[4]+1
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}
