package segment

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/quirelog/quire/index"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
)

// SalvageOptions tell Salvage what it needs beyond the files.
type SalvageOptions struct {
	// Checked says what the files are held against, as with [Check].
	Check CheckOptions
	// TopicID is what the new side file names when there is no sound one.
	TopicID [16]byte
	// Epoch, if set, tells which leader epoch wrote an offset.
	Epoch func(offset int64) (epoch int32, ok bool)
	// Stamp says that Epoch is known to be right, and that batches of this segment differ from it.
	Stamp bool
	// DryRun finds out and changes nothing.
	DryRun bool
}

// Salvaged tells what Salvage found and did.
type Salvaged struct {
	Mended  []Fault  // damage that was put right: nothing is lost
	Lost    []Fault  // damage that was not: the records of these offsets are gone, the bytes were saved aside
	SavedAs []string // the files that hold the bytes that were cut out
	Cut     int64    // how many bytes
	Removed bool     // no batch was left: the segment's files are gone
}

// Changes tells whether the segment's data is not what it should be.
func (o *Salvaged) Changes() bool { return len(o.Mended)+len(o.Lost) > 0 }

// Salvage rewrites a damaged segment that nobody has open, so that nothing in it is damaged: batches whose header alone is damaged are put
// right, other damage is saved aside, durably, in files named <base>.log.cut-<position>, and left out, everything else keeps its bytes and
// offsets. The new files, data, indexes and side file, are built aside, marked [Cleaned], then [Swap], and take the place of the old ones
// as after a compaction: [FinishSwap] finishes or takes back what a crash leaves, and Salvage may be repeated at any point. A sound segment is
// left alone. Call FinishSwap first.
func Salvage(fsys vfs.FS, dir string, base int64, cfg *Config, opt SalvageOptions) (*Salvaged, error) {
	r := &rewrite{s: OpenSealed(fsys, dir, base, base, cfg), opt: opt, out: &Salvaged{}}
	defer func() { _ = r.s.Close() }()
	err := r.find()
	if err == nil && r.out.Changes() && !opt.DryRun {
		err = r.do()
	}
	if err != nil {
		return nil, fmt.Errorf("segment: salvage %s: %w", r.s.Path(), err)
	}
	return r.out, nil
}

// find examines the segment and plans.
func (r *rewrite) find() (err error) {
	if r.checked, err = Check(r.s.fs, r.s.dir, r.s.base, r.s.cfg, r.opt.Check); err != nil {
		return err
	}
	bad := r.opt.Stamp
	for i := range r.checked.Faults {
		bad = bad || !r.checked.Faults[i].Derived()
	}
	if !bad {
		return nil
	}
	d, err := readSide(r.s.fs, r.s.path(KindSums, 0))
	if err != nil && !errors.Is(err, ErrNoSide) {
		return err
	}
	if err == nil && d.base == r.s.base {
		r.side = d
	}
	if r.f, err = r.s.data(); err != nil {
		return err
	}
	return r.plan()
}

// do saves aside what is cut out, builds the new files and puts them in place.
func (r *rewrite) do() error {
	if err := r.saveAll(); err != nil {
		return err
	}
	left := false
	for _, p := range r.pieces {
		left = left || p.data == nil && p.end > p.pos || len(p.data) > 0
	}
	if !left {
		r.out.Removed = true
		if err := r.s.MarkDeleted(); err != nil {
			return err
		}
		if err := r.s.Unlink(); err != nil {
			return err
		}
		return r.s.fs.SyncDir(r.s.dir)
	}
	if err := r.build(); err != nil {
		return err
	}
	names, err := r.s.fs.List(r.s.dir)
	if err == nil {
		_, err = FinishSwap(r.s.fs, r.s.dir, names)
	}
	return err
}

// saveAll keeps every stretch that the new data file leaves out, and a torn tail.
func (r *rewrite) saveAll() error {
	for _, p := range r.pieces {
		if p.data != nil && len(p.data) == 0 {
			if err := r.save(p.pos, p.end); err != nil {
				return err
			}
		}
	}
	for _, f := range r.checked.Notes {
		if f.Kind == FaultTail {
			if err := r.save(f.Pos, f.End); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *rewrite) save(pos, end int64) error {
	if end <= pos {
		return nil
	}
	k := &recovery{s: r.s, f: r.f, edge: end}
	err := k.keep(pos)
	r.out.SavedAs = append(r.out.SavedAs, k.out.SavedAs)
	r.out.Cut += end - pos
	return err
}

// build makes the new segment aside, and marks it as complete, which is durable once the directory has been synced, as FinishSwap does first of all.
func (r *rewrite) build() error {
	fresh, err := CreateMarked(r.s.fs, r.s.dir, r.s.base, Cleaned, r.s.cfg)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: what an interrupted run left is in the way: call FinishSwap first", err)
	}
	if err != nil {
		return err
	}
	err = r.fill(fresh)
	if err == nil {
		err = fresh.Rename(Swap)
	}
	return errors.Join(err, fresh.Close())
}

func (r *rewrite) fill(fresh *Segment) error {
	if err := r.each(func(b record.Batch) error { return fresh.Append(b) }); err != nil {
		return err
	}
	id, reach := r.opt.TopicID, int64(unknownReach)
	if r.side != nil {
		fresh.facts.created, id, reach = r.side.facts.created, r.side.topicID, r.side.facts.reach
	}
	data, err := readTable(r.s.fs, r.s.path(KindTxnIndex, 0))
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, vfs.ErrTooLarge) {
		return err
	}
	if n := index.CheckAborted(data, r.s.base, fresh.Next()); n > 0 && n == len(data) {
		fresh.aborted.Preload(data)
	}
	sparse := r.checked.Sparse && r.side != nil && r.side.facts.sparse || len(r.out.Lost) > 0
	// The side file comes last, and with it the names of all files are durable.
	return fresh.Seal(SideFacts{TopicID: id, Sparse: sparse, Reach: reach})
}

// Rebuild makes the offset and the time index and the side file of a sealed segment anew from its data, whatever is in them. The list of
// aborted transactions stays. Data that is damaged is a *CorruptionError, and nothing is changed.
func (s *Segment) Rebuild(m SideFacts) error {
	if err := s.Load(); err != nil {
		return err
	}
	s.repair.Lock()
	defer s.repair.Unlock()
	f := s.look()
	file, err := s.data()
	if err != nil {
		return err
	}
	size, err := file.Size()
	if err != nil {
		return err
	}
	out, err := s.scan(size, everything)
	if err != nil {
		return err
	}
	if out.damage != nil {
		return out.damage
	}
	if err := s.offsets.Replace(out.offsets, true); err != nil {
		return err
	}
	if err := s.times.Replace(out.times, true); err != nil {
		return err
	}
	out.facts.created, out.facts.sparse = f.created, out.facts.sparse || f.sparse || m.Sparse
	if out.facts.reach = f.reach; f.reach != unknownReach {
		out.facts.reach = max(f.reach, out.facts.next)
	}
	s.mu.Lock()
	s.facts = out.facts
	s.mu.Unlock()
	s.stray.Store(false)
	return s.writeSide(m.TopicID)
}
