package log

import (
	"sort"

	"github.com/quirelog/quire/segment"
)

// view is the immutable list of segments that readers use: ascending by base
// offset, never empty, the last one active. The writer publishes a new view
// after each change; a reader that holds an old one finds out when it fails to
// pin a retired segment, and loads the view again.
type view struct {
	segments []*segment.Segment
}

func (v *view) active() *segment.Segment { return v.segments[len(v.segments)-1] }

// floor is the index of the last segment whose base is at most offset, or 0.
func (v *view) floor(offset int64) int {
	n := sort.Search(len(v.segments), func(i int) bool { return v.segments[i].Base() > offset })
	return max(n-1, 0)
}

// begins reports whether a segment has this base.
func (v *view) begins(base int64) bool {
	return v.segments[v.floor(base)].Base() == base
}

// with returns a view with s as the new active segment.
func (v *view) with(s *segment.Segment) *view {
	grown := make([]*segment.Segment, len(v.segments)+1)
	copy(grown, v.segments)
	grown[len(v.segments)] = s
	return &view{grown}
}

// loadedView is the present view once the side files of its segments have been read.
func (l *Log) loadedView() (*view, error) {
	for {
		v := l.view.Load()
		if v == nil {
			return nil, ErrClosed
		}
		err := v.load()
		if err == nil || l.view.Load() == v { // else it may be one that was removed meanwhile
			return v, err
		}
	}
}

func (v *view) load() error {
	for _, s := range v.segments {
		if err := s.Load(); err != nil {
			return err
		}
	}
	return nil
}

// behind is where the log goes on behind a segment that is not the last.
func (l *Log) behind(s *segment.Segment) int64 {
	if v := l.view.Load(); v != nil {
		if i := v.floor(s.Base()) + 1; i < len(v.segments) {
			return v.segments[i].Base()
		}
	}
	return noOffset
}

// pinned finds the segment that may hold offset and pins it. The caller unpins
// it. last says that no later segment exists in the view used.
func (l *Log) pinned(offset int64) (s *segment.Segment, last bool, err error) {
	for {
		v := l.view.Load()
		if v == nil {
			return nil, false, ErrClosed
		}
		i := v.floor(offset)
		s = v.segments[i]
		if s.Pin() {
			return s, i == len(v.segments)-1, nil
		}
		if l.view.Load() == v && l.closed.Load() {
			return nil, false, ErrClosed
		}
	}
}

// onward pins the segment to go on with once s, which the caller has pinned, holds nothing at
// or behind offset: the one that follows it or, where s was replaced or removed meanwhile, the
// one that holds offset now. There is no segment and no error where the log ends; last says
// that no later one existed in the view used. What is missing between s and its follower is a
// [CorruptionError] if it begins below limit.
func (l *Log) onward(s *segment.Segment, offset, limit int64) (follower *segment.Segment, last bool, err error) {
	for {
		v := l.view.Load()
		if v == nil {
			return nil, false, ErrClosed
		}
		n := v.floor(s.Base()) + 1
		if v.segments[n-1] != s {
			return l.pinned(offset)
		}
		if n == len(v.segments) {
			return nil, false, nil
		}
		if follower = v.segments[n]; !follower.Pin() {
			continue // it has left since
		}
		if err := l.checkSeam(s, follower, offset, limit); err != nil {
			follower.Unpin()
			return nil, false, l.located(err)
		}
		return follower, n == len(v.segments)-1, nil
	}
}
