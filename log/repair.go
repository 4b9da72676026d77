package log

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/segment"
)

// Fault is one thing that is wrong with a file; see [Verify].
type Fault = segment.Fault

// FaultKind says what sort of thing is wrong.
type FaultKind = segment.FaultKind

// RepairOptions say how far a repair goes.
type RepairOptions struct {
	// DryRun finds out what would be done and changes nothing.
	DryRun bool
	// AcceptLoss lets the repair give up records that cannot be read. Without it a log that has such is left alone.
	AcceptLoss bool
	// Gaps says that offsets may have gaps, as after compaction.
	Gaps bool
	// Step is called as bytes are read, n at a time. Its error ends the run.
	Step func(n int64) error
}

// Repaired is what [Repair] found and did, or with DryRun would do.
type Repaired struct {
	Found   []Fault  // everything that was wrong
	Mended  []Fault  // damaged data that was put right without loss
	Lost    []Fault  // records that cannot be read; their bytes, where there are any, are kept aside
	SavedAs []string // files that hold what was cut out of the log, or was replaced
	Cut     int64    // bytes cut out of data files
	Rebuilt []string // derived files made anew
}

// Repair makes a damaged log, which nobody has open, whole again. Batches whose header alone is damaged are put right; what cannot be read
// is saved aside and left out, its offsets stay a gap; indexes, side files, the history of leader epochs, producer state and the watermark
// slot are made anew from what is there. Afterwards [Open] finds a log that was stopped in order, and [Verify] finds nothing. No byte is
// thrown away. A log without faults is left alone. Repair may be repeated after a crash at any point.
//
// Errors: a [LossError] when records would be given up and that was not accepted, with nothing changed; one that matches [ErrCorrupt] when
// the directory is another topic's; [ErrNewerFormat]; what the disk says.
func Repair(fsys vfs.FS, dir string, cfg *Config, opt RepairOptions) (*Repaired, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	all := &Repaired{}
	// The second pass sees what only shows once the history of leader epochs is whole: batches that do not fit it.
	for range 2 {
		r := &repairer{fs: fsys, dir: dir, cfg: cfg, opt: opt, out: &Repaired{}}
		err := r.run()
		all.add(r.out)
		if err != nil {
			return all, fmt.Errorf("repair %s: %w", dir, err)
		}
		if opt.DryRun || len(r.out.Found) == 0 || len(r.has(FaultEpochs, FaultSlot)) == 0 {
			break
		}
	}
	return all, nil
}

func (r *Repaired) add(o *Repaired) {
	r.Found, r.Mended, r.Lost = append(r.Found, o.Found...), append(r.Mended, o.Mended...), append(r.Lost, o.Lost...)
	r.SavedAs, r.Rebuilt, r.Cut = append(r.SavedAs, o.SavedAs...), append(r.Rebuilt, o.Rebuilt...), r.Cut+o.Cut
}

// repairer is a Repair in progress.
type repairer struct {
	fs  vfs.FS
	dir string
	cfg *Config
	opt RepairOptions
	v   *verifier
	out *Repaired
}

func (r *repairer) run() error {
	if err := r.finishSwap(); err != nil {
		return err
	}
	if err := r.look(); err != nil || len(r.out.Found) == 0 {
		return err
	}
	if err := r.foreign(); err != nil {
		return err
	}
	if err := r.salvage(true); err != nil {
		return err
	}
	if n := len(r.out.Lost); n > 0 && !r.opt.AcceptLoss {
		first := r.out.Lost[0]
		return &LossError{Dir: r.dir, First: first.FirstOffset, Next: first.NextOffset,
			Reason: fmt.Sprintf("%v; %d such places, nothing was changed", first.Err, n)}
	}
	if r.opt.DryRun {
		return nil
	}
	for _, step := range []func() error{func() error { return r.salvage(false) }, r.markGaps, r.replaceSmall, r.reopen} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (r *repairer) finishSwap() error {
	if r.opt.DryRun {
		return nil
	}
	names, err := r.fs.List(r.dir)
	if err == nil {
		_, err = segment.FinishSwap(r.fs, r.dir, names)
	}
	return err
}

// look verifies the log.
func (r *repairer) look() error {
	opt := VerifyOptions{TopicID: r.cfg.TopicID, Gaps: r.opt.Gaps, Step: r.opt.Step}
	r.v = &verifier{fs: r.fs, dir: r.dir, cfg: r.cfg, opt: opt, out: &Verified{Dir: r.dir}}
	err := r.v.run()
	r.out.Found = r.v.out.Faults
	return err
}

// has gives the faults of these kinds.
func (r *repairer) has(kinds ...FaultKind) (list []Fault) {
	for _, f := range r.out.Found {
		if slices.Contains(kinds, f.Kind) {
			list = append(list, f)
		}
	}
	return list
}

// foreign refuses a directory that says that it is somebody else's, unless the slot or a side file knows better.
func (r *repairer) foreign() error {
	for _, f := range r.has(FaultIdentity) {
		var moved *ForeignError
		if errors.As(f.Err, &moved) {
			return moved
		}
	}
	if r.cfg.TopicID == [16]byte{} || len(r.has(FaultIdentity)) == 0 || r.v.haveSlot && r.v.slot.topicID == r.cfg.TopicID {
		return nil
	}
	for i := range r.v.out.Segments {
		if r.v.out.Segments[i].TopicID == r.cfg.TopicID {
			return nil
		}
	}
	id, err := ReadPartitionMetadata(r.fs, filepath.Join(r.dir, PartitionMetadataFile))
	switch {
	case err == nil:
		return fmt.Errorf("%w: the directory is of topic id %v, not %v", ErrCorrupt, id, TopicID(r.cfg.TopicID))
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, ErrCorrupt):
		return nil
	}
	return err
}

// salvage repairs data files, or finds out what that would come to.
func (r *repairer) salvage(dry bool) error {
	out := r.out
	out.Mended, out.Lost, out.SavedAs, out.Cut = nil, r.has(FaultMissing), nil, 0
	var kept, gaps []int64
	for i, base := range r.v.bases {
		done, err := segment.Salvage(r.fs, r.dir, base, r.cfg.segmentConfig(), segment.SalvageOptions{
			Check: r.v.checkOptions(base, i == len(r.v.bases)-1), TopicID: r.cfg.TopicID, Epoch: r.epochOf(), Stamp: r.stamps(base), DryRun: dry,
		})
		if err != nil {
			return err
		}
		out.Mended, out.Lost = append(out.Mended, done.Mended...), append(out.Lost, done.Lost...)
		out.SavedAs, out.Cut = append(out.SavedAs, done.SavedAs...), out.Cut+done.Cut
		switch {
		case !done.Removed:
			kept = append(kept, base)
		case len(kept) > 0:
			gaps = append(gaps, kept[len(kept)-1])
		}
	}
	r.v.bases = kept
	slices.SortFunc(out.Lost, func(a, b Fault) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) })
	for _, base := range gaps {
		if err := r.markGap(base); err != nil {
			return err
		}
	}
	return nil
}

// epochOf looks up the history of leader epochs, where there is one.
func (r *repairer) epochOf() func(int64) (int32, bool) {
	if !r.v.haveFile {
		return nil
	}
	return func(offset int64) (int32, bool) { return epochAt(r.v.epochs.entries, offset) }
}

// stamps tells whether Verify found leader epochs in a segment that a history known to be right contradicts.
func (r *repairer) stamps(base int64) bool {
	return r.v.trusted && slices.ContainsFunc(r.out.Found, func(f Fault) bool {
		return errors.Is(f.Err, errStrayed) && filepath.Base(f.Path) == segment.FileName(base, segment.LogSuffix)
	})
}

// markGaps notes in the segments in front of missing ones that offsets are missing behind them, and takes what is left of the missing ones
// out of the way.
func (r *repairer) markGaps() error {
	for _, f := range r.has(FaultMissing) {
		for _, name := range r.v.names {
			base, kind, ok := segment.ParseName(name)
			if !ok || kind == segment.KindSnapshot || base < f.FirstOffset || base >= f.NextOffset || slices.Contains(r.v.bases, base) {
				continue
			}
			if err := r.setAside(filepath.Join(r.dir, name)); err != nil {
				return err
			}
		}
		i, _ := slices.BinarySearch(r.v.bases, f.FirstOffset)
		if i == 0 {
			continue
		}
		if err := r.markGap(r.v.bases[i-1]); err != nil {
			return err
		}
	}
	return nil
}

// markGap marks a segment. The last one, if it was not sealed, is marked when the log is opened.
func (r *repairer) markGap(base int64) error {
	var s *segment.Segment
	var err error
	facts := segment.SideFacts{TopicID: r.cfg.TopicID, Sparse: true, Reach: -1}
	if base < r.v.bases[len(r.v.bases)-1] {
		facts.Reach = r.v.following(base)
		s = segment.OpenSealed(r.fs, r.dir, base, r.v.following(base), r.cfg.segmentConfig())
	} else if s, err = segment.OpenActive(r.fs, r.dir, base, r.cfg.segmentConfig()); errors.Is(err, segment.ErrNoSide) {
		return nil
	} else if err != nil {
		return err
	}
	return errors.Join(s.Reseal(facts), s.Close())
}

// replaceSmall takes damaged small files out of the way. What they said is made anew when the log is opened.
func (r *repairer) replaceSmall() error {
	for _, f := range r.has(FaultSlot, FaultEpochs, FaultSnapshot, FaultIdentity) {
		if err := r.setAside(f.Path); err != nil {
			return err
		}
	}
	if len(r.has(FaultIdentity)) == 0 {
		return nil
	}
	path := filepath.Join(r.dir, PartitionMetadataFile)
	r.out.Rebuilt = append(r.out.Rebuilt, path)
	return WritePartitionMetadata(r.fs, path, r.cfg.TopicID)
}

// damagedSuffix marks a file that was damaged and has been replaced; -1, -2 and so on follow when there are more.
const damagedSuffix = ".damaged"

// setAside gives a file a name under which nobody takes it for what it was.
func (r *repairer) setAside(path string) error {
	for n := 0; ; n++ {
		aside := path + damagedSuffix
		if n > 0 {
			aside += fmt.Sprintf("-%d", n)
		}
		if _, err := r.fs.Stat(aside); err == nil {
			continue
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		err := r.fs.Rename(path, aside)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		r.out.SavedAs = append(r.out.SavedAs, aside)
		return r.fs.SyncDir(r.dir)
	}
}

// reopen opens the log, which recovers what is left to recover, makes the derived files anew and stops it in order.
func (r *repairer) reopen() error {
	l, done, err := Open(r.fs, r.dir, r.cfg, OpenState{AcceptLoss: r.opt.AcceptLoss, RebuildEpochs: len(r.has(FaultEpochs, FaultSlot)) > 0})
	if err != nil {
		return err
	}
	if done.SavedAs != "" {
		r.out.SavedAs = append(r.out.SavedAs, done.SavedAs)
	}
	err = r.rederive(l)
	if err == nil {
		l.mu.Lock()
		err = l.beginWritingLocked()
		l.mu.Unlock()
	}
	return errors.Join(err, l.Close())
}

// rederive makes the damaged derived files of segments anew.
func (r *repairer) rederive(l *Log) error {
	for _, f := range r.has(segment.FaultIndex, segment.FaultSide, segment.FaultAborted) {
		base, _, ok := segment.ParseName(filepath.Base(f.Path))
		if !ok || slices.Contains(r.out.Rebuilt, f.Path) {
			continue
		}
		v := l.view.Load()
		s := v.segments[v.floor(base)]
		if s.Base() != base {
			continue
		}
		if err := l.rebuildSegment(s, f.Kind == segment.FaultAborted); err != nil {
			return err
		}
		r.out.Rebuilt = append(r.out.Rebuilt, f.Path)
	}
	for _, f := range r.has(FaultSlot, FaultEpochs) {
		r.out.Rebuilt = append(r.out.Rebuilt, f.Path)
	}
	return nil
}
