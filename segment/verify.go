package segment

import "errors"

// Verify reads the whole data file and checks every byte of it: each batch in full, and in a sealed segment the headers, also what no
// checksum of theirs covers, against the side file. The error is a *CorruptionError for the first damage found. It changes nothing and may
// run at once with everything else; batches appended meanwhile are not looked at.
func (s *Segment) Verify() error {
	if err := s.Load(); err != nil {
		return err
	}
	f := s.look()
	out, err := s.scan(f.size, everything)
	if err != nil {
		return err
	}
	if out.damage != nil {
		return out.damage
	}
	if s.sealed.Load() && !f.partial && (out.facts.headerSum != f.headerSum || out.facts.batches != f.batches || out.facts.next != f.next) {
		return s.headersDiffer(&f)
	}
	return nil
}

func (s *Segment) headersDiffer(f *facts) error {
	return &CorruptionError{
		Path: s.Path(), Pos: 0, End: f.size, FirstOffset: s.base, NextOffset: f.next,
		Cause: errors.New("batch headers do not match the sum in the side file"),
	}
}
