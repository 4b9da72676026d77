package group

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"runtime"
	"slices"

	"github.com/quirelog/quire/internal/bounded"
)

// What a delivery changes is staged under the queue's lock and stored in rounds, one at a time, each of all that was staged before it: many
// workers share a write and its sync. A partition's rounds have a goroutine, which ends when none wait for it: a disk that hangs holds up none
// of those longer than their contexts.

// stageLocked notes the present state of a slot, to be stored. A finished record does not say how often it was delivered: then
// neighbours that are finished make one run.
func (s *stall) stageLocked(x *slot) {
	r := stateRun{x.offset, x.offset, x.state, x.count}
	switch {
	case x.state.finished():
		r.count = 0
	default:
		r.state = stateAvailable
	}
	s.staged[x.offset] = r
	s.stagedLocked()
}

// stagedLocked notes that there is something to store, and that the window may be another.
func (s *stall) stagedLocked() {
	s.seq++
	if s.q.touchLocked(s); !s.dirty {
		s.dirty = true
		s.q.unstored = append(s.q.unstored, s)
	}
}

// stageStoryLocked notes what became of a slot's deliveries.
func (s *stall) stageStoryLocked(x *slot) {
	s.stories[x.offset] = story{attempts: slices.Clone(x.story), known: x.known, due: x.due, dead: x.dead}
	s.stagedLocked()
}

// round is one storing of what is staged.
type round struct {
	done chan struct{} // closed at its end
	err  error         // set before
}

// commit returns when everything staged up to seq is durable, or with why it is not. What could not be stored stays staged: it is part of
// the next round.
//
// When ctx ends first, what is being stored goes on: half a change is of no use.
func (s *stall) commit(ctx context.Context, seq uint64) error {
	r := s.join(seq)
	if r == nil {
		return nil
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return bounded.Cause(ctx)
	}
}

// join gives the next round, nil if everything up to seq is durable.
func (s *stall) join(seq uint64) *round {
	s.q.mu.Lock()
	defer s.q.mu.Unlock()
	if s.stored >= seq {
		return nil
	}
	if s.next == nil {
		s.next = &round{done: make(chan struct{})}
		if !s.storing {
			s.storing = true
			go s.store()
		}
	}
	return s.next
}

// store does one round after the other while any wait for one.
func (s *stall) store() {
	for r := s.begin(); r != nil; r = s.begin() {
		r.err = s.storeRound()
		close(r.done)
		runtime.Gosched() // those who waited may want the next: they share it, and this stack has grown already
	}
}

// begin begins the next round, nil if none wait for one.
func (s *stall) begin() *round {
	s.q.mu.Lock()
	defer s.q.mu.Unlock()
	r := s.next
	s.next, s.storing = nil, r != nil
	return r
}

func (s *stall) storeRound() error {
	s.log.claim(s.state)
	full, err := s.storeStaged()
	if full {
		if err = s.log.snapshot(s.key, s.state); errors.Is(err, errStateRoom) {
			full, err = false, nil
		}
	}
	s.log.yield(s.state)
	if full && err == nil {
		err = s.log.prune()
	}
	if err != nil {
		s.q.mu.Lock()
		s.q.stats.StoreErrors++
		s.q.mu.Unlock()
		return err
	}
	s.q.room.found()
	return nil
}

// storeStaged stores what is staged. The caller has claimed the state. full says that it is time for a snapshot.
func (s *stall) storeStaged() (full bool, err error) {
	q := s.q
	q.mu.Lock()
	if s.stored == s.seq {
		q.mu.Unlock()
		return false, nil
	}
	if s.sealed {
		q.mu.Unlock()
		return false, q.end
	}
	changes, stories, upTo, start := s.staged, s.stories, s.seq, s.share.start
	s.staged, s.stories = map[int64]stateRun{}, map[int64]story{}
	q.mu.Unlock()

	full, err = s.log.write(s.key, s.state, start, inOrder(changes), stories)

	q.mu.Lock()
	defer q.mu.Unlock()
	if err != nil {
		maps.Copy(changes, s.staged) // what came meanwhile is newer
		maps.Copy(stories, s.stories)
		s.staged, s.stories = changes, stories
		return false, err
	}
	s.stored, s.safe = upTo, start
	return full, nil
}

// seal lets nothing be stored any more: the state may belong to a queue that is opened next.
func (s *stall) seal() {
	s.log.claim(s.state)
	s.q.mu.Lock()
	s.sealed = true
	s.q.mu.Unlock()
	s.log.yield(s.state)
}

// inOrder makes a list of runs of single records.
func inOrder(changes map[int64]stateRun) runs {
	list := slices.SortedFunc(maps.Values(changes), func(a, b stateRun) int { return cmp.Compare(a.first, b.first) })
	out := list[:0]
	for _, r := range list {
		if n := len(out); n > 0 && out[n-1].goesOn(r) {
			out[n-1].last = r.last
			continue
		}
		out = append(out, r)
	}
	return out
}
