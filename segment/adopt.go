package segment

import (
	"errors"
	"io"
	"io/fs"
	"slices"

	"github.com/quirelog/quire/index"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
)

// scanDepth tells a scan how much to check.
type scanDepth bool

const (
	headersOnly scanDepth = false
	everything  scanDepth = true // checksums too
)

// found is what a scan learned of a data file.
type found struct {
	facts          facts
	offsets, times []byte  // entries in file format
	aborts         []int64 // where abort markers lie; of a scan of everything
	damage         error   // the first fault, nil if none; what follows it was not looked at
}

// scan reads the batches in the first size bytes of the data file and makes facts and indexes of them. It changes nothing and stops at
// the first fault.
func (s *Segment) scan(size int64, d scanDepth) (*found, error) {
	f, err := s.data()
	if err != nil {
		return nil, err
	}
	// The indexes grow in a segment of their own that has no file.
	scratch := newSegment(s.fs, s.dir, s.base, s.cfg)
	scratch.facts = newFacts(s.base, s.look().created)
	facts := &scratch.facts
	out := &found{}
	for c := newScanner(f, 0, size); ; {
		b, err := c.next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = s.plausible(b, facts.next, d)
		}
		if err != nil && !isDamage(err) {
			return nil, err
		}
		if err != nil {
			out.damage = &CorruptionError{Path: s.Path(), Pos: c.pos, End: -1, FirstOffset: facts.next, NextOffset: -1, Cause: err}
			break
		}
		facts.add(b)
		scratch.noteBatch(facts, b, c.pos)
		if d == everything && isAbort(b) {
			out.aborts = append(out.aborts, b.LastOffset())
		}
		c.skip(len(b))
	}
	if facts.maxTimestamp >= 0 {
		_ = scratch.times.Add(facts.maxTimestamp, facts.maxOffset)
	}
	out.facts, out.offsets, out.times = *facts, scratch.offsets.Bytes(), scratch.times.Bytes()
	return out, nil
}

// plausible judges a batch that should hold next or a later offset.
func (s *Segment) plausible(b record.Batch, next int64, d scanDepth) error {
	err := b.CheckHeader()
	if d == everything {
		err = b.Check()
	}
	if err == nil && (b.BaseOffset() < next || b.NextOffset() > s.ceiling()) {
		err = errOutOfOrder
	}
	return err
}

// Load reads the side file of a sealed segment that was not used yet; every method that needs it does so by itself. Without a valid side file
// the data is read and checked, and side file and indexes are made again; if that cannot be written, or the data is damaged, it is done
// again after the next open.
func (s *Segment) Load() error {
	if s.look().loaded {
		return nil
	}
	s.repair.Lock()
	defer s.repair.Unlock()
	if s.look().loaded {
		return nil
	}
	d, err := readSide(s.fs, s.path(KindSums, s.mark()))
	if err == nil && d.base == s.base {
		s.install(d)
		return nil
	}
	if err != nil && !errors.Is(err, ErrNoSide) {
		return err
	}
	return s.adopt()
}

// adopt takes in a sealed segment without side file, such as Kafka's. Offsets between its last batch and the next segment are taken for
// compacted away: without a side file nothing tells them from lost ones.
func (s *Segment) adopt() error {
	f, err := s.data()
	if err != nil {
		return err
	}
	size, err := f.Size()
	if err != nil {
		return err
	}
	next := s.look().next
	info, err := s.fs.Stat(s.Path())
	if err != nil {
		return err
	}
	out, err := s.scan(size, everything)
	if err != nil {
		return err
	}
	facts := out.facts
	facts.created = info.ModTime.UnixMilli()
	switch {
	case out.damage == nil && facts.next < next:
		facts.sparse = true // Kafka's cleaner took the last batches, or all
	case out.damage != nil:
		// The facts end at the fault. What lies behind it stays readable: the end is the file's.
		facts.size, facts.next = size, max(next, facts.next)
		facts.sparse, facts.partial, facts.loose = true, true, true
	}
	if next > s.base { // what is missing from now on will be told
		facts.reach = max(next, facts.next)
	}
	d := &side{base: s.base, topicID: s.cfg.TopicID, partition: PartitionOf(s.dir), facts: facts}
	d.tables[index.OffsetKind], d.tables[index.TimeKind] = index.SumOf(out.offsets), index.SumOf(out.times)
	aborted, whole, err := s.adoptAborted(out, facts.next)
	if err != nil {
		return err
	}
	d.tables[index.AbortedKind] = aborted
	s.install(d)
	return s.replaceTables(out, out.damage == nil, whole)
}

// adoptAborted takes the index of aborted transactions as it is if it knows of every abort marker of the data, and of nothing else. The segment
// alone cannot make it again: with whole false it has a sum that fits nothing, for the first look-up to ask for SetAborted. A marker without
// records in front of it has no entry; whether one is, only the log can tell.
func (s *Segment) adoptAborted(out *found, next int64) (sum index.Sum, whole bool, err error) {
	data, err := readTable(s.fs, s.path(KindTxnIndex, s.mark()))
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, vfs.ErrTooLarge) {
		return index.Sum{}, false, err
	}
	n := index.CheckAborted(data, s.base, next)
	var ends []int64
	for at := 0; at < n; at += index.AbortedEntrySize {
		ends = append(ends, index.ParseAborted(data[at:]).LastOffset)
	}
	if n < len(data) || !slices.Equal(ends, out.aborts) {
		return unfit(int64(n)), false, nil
	}
	return index.SumOf(data), true, nil
}

// isAbort tells an abort marker.
func isAbort(b record.Batch) bool {
	if !b.Control() || !b.Transactional() || b.Count() == 0 {
		return false
	}
	kind, _, err := record.ParseControl(b)
	return err == nil && kind == record.Abort
}

// replaceTables puts rebuilt indexes in place and, if asked, writes them and a new side file. A failure to write is no error: everything
// written here can be made again.
func (s *Segment) replaceTables(out *found, write, seal bool) error {
	write = write && !s.parting()
	err := s.offsets.Replace(out.offsets, write)
	if e := s.times.Replace(out.times, write); err == nil {
		err = e
	}
	if write && seal && err == nil {
		topicID := s.cfg.TopicID
		if id, e := s.TopicID(); e == nil {
			topicID = id
		}
		_ = s.writeSide(topicID)
	}
	return nil
}

// reindex makes the offset and time index of a sealed segment again from its batch headers. cause is what was wrong with them: if it is not
// the indexes' fault it comes back.
func (s *Segment) reindex(cause error) error {
	if !errors.Is(cause, index.ErrCorrupt) && !s.stray.Load() {
		return cause
	}
	s.repair.Lock()
	defer s.repair.Unlock()
	size := s.look().size
	out, err := s.scan(size, headersOnly)
	if err != nil {
		return err
	}
	s.stray.Store(false)
	return s.replaceTables(out, out.damage == nil, true)
}
