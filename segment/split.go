package segment

import (
	"errors"
	"io"
	"slices"

	"github.com/quirelog/quire/log/record"
)

// Split replaces the files of a segment by those of several, each of which ends where the entries of an index end. Before Apache Kafka 1.0
// compaction could make segments that went farther; Kafka splits them too. It is done as a compaction is: the new files complete aside, then
// the swap, which [FinishSwap] finishes or takes back after a crash; their indexes are made when they are first needed. The segment must be idle; the
// caller closes it, and opens what came instead. After an error, a *CorruptionError for damage among them, its files are as they were.
func (s *Segment) Split() error {
	parts, err := s.parts()
	for _, p := range slices.Backward(parts) { // a set counts as complete once the first is no longer marked as being built
		if err == nil {
			err = p.Rename(Swap)
		}
		if err == nil {
			err = s.fs.SyncDir(s.dir)
		}
		err = errors.Join(err, p.Close())
	}
	names, e := s.fs.List(s.dir)
	if e == nil {
		_, e = FinishSwap(s.fs, s.dir, names)
	}
	return errors.Join(err, e)
}

// parts makes the new data files aside, durably.
func (s *Segment) parts() (list []*Segment, err error) {
	if err := s.Load(); err != nil {
		return nil, err
	}
	f, err := s.data()
	if err != nil {
		return nil, err
	}
	cfg := *s.cfg
	cfg.PreWrite = 0
	next := s.base
	for c := newScanner(f, 0, s.look().size); ; {
		b, err := c.next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = s.plausible(b, next, everything)
		}
		if err != nil {
			return list, s.sweepFault(c, &facts{next: next}, err)
		}
		if list, err = s.spread(list, b, &cfg); err != nil {
			return list, err
		}
		next = b.NextOffset()
		c.skip(len(b))
	}
	for _, p := range list {
		if err := p.Sync(); err != nil {
			return list, err
		}
	}
	return list, s.fs.SyncDir(s.dir)
}

// spread appends a batch to the last part, or to a new one where that cannot hold it.
func (s *Segment) spread(list []*Segment, b record.Batch, cfg *Config) ([]*Segment, error) {
	base := s.base
	if n := len(list); n > 0 {
		err := list[n-1].Append(b)
		if !errors.Is(err, ErrFull) {
			return list, err
		}
		base = b.BaseOffset()
	}
	p, err := CreateMarked(s.fs, s.dir, base, Cleaned, cfg)
	if err != nil {
		return list, err
	}
	list = append(list, p)
	if err = p.Append(b); !errors.Is(err, ErrFull) {
		return list, err
	}
	return s.spread(list, b, cfg) // the first batch lies far behind the base: the first part stays empty
}

// Far tells that the segment's offsets lie farther from its base than the entries of an index tell. It may read the side file.
func (s *Segment) Far() (bool, error) {
	if s.Next()-s.base <= maxRelative+1 {
		return false, nil // also the base of the segment behind one that was not used yet is no farther
	}
	err := s.Load()
	return s.Next()-s.base > maxRelative+1, err
}
