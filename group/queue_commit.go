package group

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/quirelog/quire/internal/bounded"
)

// What a delivery changes is staged under the queue's lock and stored by whoever needs to know that it is durable. One stores at a time, all
// that was staged meanwhile, so that many workers share a write and its sync.

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
	s.seq++
}

// stageStoryLocked notes what became of a slot's deliveries.
func (s *stall) stageStoryLocked(x *slot) {
	s.stories[x.offset] = story{attempts: slices.Clone(x.story), known: x.known, due: x.due, dead: x.dead}
	s.seq++
}

// commit returns when everything staged up to seq is durable, or with why it is not. What could not be stored stays staged: it is part of
// the next attempt.
//
// When ctx ends first, what is being stored goes on, and others wait for its end: half a change is of no use.
func (s *stall) commit(ctx context.Context, seq uint64) error {
	for !s.reached(seq) {
		busy := s.log.tryClaim(s.state)
		if busy == nil {
			out, err := bounded.Err(ctx, &s.q.hub.calls, 0, func() error { return s.commitClaimed(seq) })
			if out == bounded.NotBegun {
				s.log.yield(s.state)
			}
			return err
		}
		select {
		case <-busy: // perhaps what is stored now is enough
		case <-ctx.Done():
			return bounded.Cause(ctx)
		}
	}
	return nil
}

func (s *stall) commitClaimed(seq uint64) error {
	full, err := s.storeStaged(seq)
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

func (s *stall) reached(seq uint64) bool {
	s.q.mu.Lock()
	defer s.q.mu.Unlock()
	return s.stored >= seq
}

// storeStaged stores what is staged. The caller has claimed the state. full says that it is time for a snapshot.
func (s *stall) storeStaged(seq uint64) (full bool, err error) {
	q := s.q
	q.mu.Lock()
	if s.stored >= seq {
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
