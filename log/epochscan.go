package log

import "github.com/quirelog/quire/log/record"

// epochScan adds to a history what batches say, which it is shown in order. No checksum covers the leader epoch of a batch, but epochs of a log
// only rise: a rise counts once the batches behind it have not fallen back. One that is damaged costs its batch, and no other.
type epochScan struct {
	history *epochs
	changed bool
	rise    epochEntry // not yet borne out by a batch behind it
	rising  bool
	doubted bool // one batch behind it had a smaller epoch: this one or that one is wrong
}

func (s *epochScan) visit(b record.Batch) {
	epoch := b.LeaderEpoch()
	switch {
	case !s.rising:
	case epoch >= s.rise.epoch:
		s.take()
	case epoch == s.history.latest() || s.doubted:
		s.rising = false
	default:
		s.doubted = true
		return
	}
	if !s.rising && epoch > s.history.latest() {
		s.rise, s.rising, s.doubted = epochEntry{epoch, b.BaseOffset()}, true, false
	}
}

func (s *epochScan) take() {
	s.rising = false
	s.changed = s.history.assign(s.rise.epoch, s.rise.start) || s.changed
}

// end is told that no batch follows. complete says that the history was written before the batches: what only the last one says is wrong.
func (s *epochScan) end(complete bool) {
	if s.rising && !complete {
		s.take()
	}
	s.rising = false
}
