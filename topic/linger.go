package topic

import "sync"

// lingering is the lanes whose open batch waits for more records.
type lingering struct {
	mu    sync.Mutex
	lanes map[*lane]struct{}
}

func (s *lingering) add(l *lane) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lanes == nil {
		s.lanes = map[*lane]struct{}{}
	}
	s.lanes[l] = struct{}{}
}

func (s *lingering) remove(l *lane) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.lanes, l)
}

// take empties the set.
func (s *lingering) take() map[*lane]struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	lanes := s.lanes
	s.lanes = nil
	return lanes
}
