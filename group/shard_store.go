package group

import (
	"context"
	"errors"
	"fmt"

	"github.com/quirelog/quire/topic"
)

// storeMost is about how many records one append of a shard takes together.
const storeMost = 4096

// storeSoonLocked sees that what is queued is appended. Everything that comes while an append is under way goes together into the next one,
// so that many groups, and many members' commits, share one sync.
func (s *shard) storeSoonLocked() {
	if s.storing {
		return
	}
	s.storing = s.c.eng.Go(s.store)
	if !s.storing {
		s.failLocked(topic.ErrClosed)
	}
}

// store appends until nothing is queued.
func (s *shard) store() {
	for {
		list := s.takeQueue()
		if len(list) == 0 {
			return
		}
		err := s.append(list)
		s.report(list, err)
		s.c.eng.Downtimes() // it is open
	}
}

func (s *shard) takeQueue() []pendingAppend {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, records := 0, 0
	for n < len(s.queue) && (n == 0 || records+len(s.queue[n].entries) <= storeMost) {
		records += len(s.queue[n].entries)
		n++
	}
	list := s.queue[:n:n]
	s.queue = s.queue[n:]
	if n == 0 {
		s.queue, s.storing = nil, false
	}
	return list
}

func (s *shard) append(list []pendingAppend) error {
	if s.c.eng.ReadOnly() {
		return topic.ErrReadOnly
	}
	var records []topic.Record
	for _, p := range list {
		for _, e := range p.entries {
			r := topic.Record{Key: AppendRecordKey(nil, e.key)}
			if e.value != nil {
				r.Value = AppendRecordValue(nil, e.value)
			}
			records = append(records, r)
		}
	}
	_, err := s.home.AppendBatch(context.Background(), records, topic.AppendTo(s.id), topic.Synced())
	if err != nil {
		return fmt.Errorf("storing in %s: %w", s, err)
	}
	return nil
}

// report tells the machines. After a failure nobody knows what the log will turn out to hold, so all that is in memory goes.
func (s *shard) report(list []pendingAppend, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.failLocked(err)
		return
	}
	returned := false
	defer func() {
		if !returned { // a callback ended the goroutine that appends: another takes its place, and reads anew what came of this
			s.storing = false
			s.failLocked(errCallbackExit)
		}
	}()
	for _, p := range list {
		if !p.seat.dead {
			s.stepLocked(p.seat, 0, stored{p.seq, nil})
		}
	}
	returned = true
}

var errCallbackExit = errors.New("group: a callback ended the goroutine that stores")
