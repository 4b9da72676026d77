package topic

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic/internal/catalog"
)

// RepairOptions say how far [Repair] goes.
type RepairOptions struct {
	// FS is the file system; nil means the operating system's.
	FS vfs.FS
	// Topics are the topics to repair; none means all, and the engine's own files.
	Topics []string
	// DryRun finds out what would be done and changes nothing; it takes no lock.
	DryRun bool
	// AcceptLoss lets records be given up that cannot be read, and partitions be made anew, empty, whose directory is missing. Without it
	// such partitions are left alone and Repair reports them with an error that matches ErrDataLoss.
	AcceptLoss bool
	// Progress, if set, is called now and then.
	Progress func(Progress)
}

// RepairReport is what [Repair] found and did, or with DryRun would do.
type RepairReport struct {
	Found   []Fault  // everything that was wrong
	Mended  []Fault  // damaged data that was put right without loss
	Lost    []Fault  // records given up: their offsets stay a gap; their bytes, where there are any, were saved aside
	SavedAs []string // files that hold what was cut out or replaced
	Cut     int64    // bytes cut out of data files
	Rebuilt []string // derived files made anew
}

// Repair makes a damaged directory, which no engine has open, whole again; it takes the directory's lock. Batches whose header alone is
// damaged are put right; what cannot be read is saved aside, in files beside the data, and left out, its offsets stay a gap; everything
// derived is made anew; a damaged manifest gives way to its other generation or is made again from the directories, with default settings.
// No byte is thrown away. Afterwards [Open] opens the directory as one stopped in order and [Engine.Verify] finds nothing. A crash at any
// point leaves a directory that opens no worse than before; Repair again goes on.
//
// Errors: one that matches ErrDataLoss names what would be lost, if that was not accepted (the rest is repaired); ErrLocked;
// ErrNewerFormat; the context's; what the disk says. The report tells what was done before.
func Repair(ctx context.Context, dir string, opts RepairOptions) (*RepairReport, error) {
	if opts.FS == nil {
		opts.FS = vfs.OS()
	}
	r := &repairer{ctx: ctx, fs: opts.FS, dir: filepath.Clean(dir), opts: opts, out: &RepairReport{}}
	report, err := workOn(ctx, r.run)
	if report == nil {
		report = &RepairReport{}
	}
	return report, err
}

func (r *repairer) run() (*RepairReport, error) {
	dir := r.dir
	if err := r.locked(); err != nil {
		return r.out, fmt.Errorf("topic: repair %s: %w", dir, err)
	}
	if r.opts.DryRun || len(r.out.Found) == 0 || r.alone {
		return r.out, errors.Join(r.refused...)
	}
	if err := r.finish(); err != nil {
		return r.out, fmt.Errorf("topic: repair %s: %w", dir, err)
	}
	return r.out, errors.Join(r.refused...)
}

// repairer is a Repair in progress.
type repairer struct {
	ctx     context.Context
	fs      vfs.FS
	dir     string
	opts    RepairOptions
	v       *verifier
	alone   bool    // the directory is one partition's
	refused []error // partitions left alone
	out     *RepairReport
}

// locked does everything that needs the lock.
func (r *repairer) locked() error {
	names, err := r.fs.List(r.dir)
	if err != nil {
		return err
	}
	if !holdsSegments(names) {
		if err := admit(r.fs, r.dir, true); err != nil {
			return err
		}
	}
	if !r.opts.DryRun {
		unlock, err := takeLock(r.fs, r.dir)
		if err != nil {
			return err
		}
		defer func() { _ = unlock() }()
	}
	r.v = newVerifier(r.ctx, r.fs, r.dir, VerifyOptions{Topics: r.opts.Topics, Progress: r.opts.Progress})
	if err := r.v.run(); err != nil {
		return err
	}
	r.out.Found = append(r.v.out.Faults, r.v.out.derived()...)
	if len(r.out.Found) == 0 {
		return nil
	}
	if !r.opts.DryRun {
		if err := r.engineFiles(); err != nil {
			return err
		}
	}
	var done []TopicPartition
	for _, f := range r.out.Found {
		tp := TopicPartition{Topic: f.Topic, Partition: f.Partition}
		switch {
		case f.Kind == faultManifest, f.Kind == faultCheckpoint, f.Kind == faultMeta:
			continue
		case slices.Contains(done, tp):
			continue
		}
		done = append(done, tp)
		if err := r.partition(tp); err != nil {
			return err
		}
	}
	return nil
}

// engineFiles takes damaged files out of the way. Opening the engine makes them again; of a damaged journal of the manifest it takes what is sound,
// so that only a copy of it is put aside here.
func (r *repairer) engineFiles() error {
	for _, f := range r.out.Found {
		if f.Kind != faultManifest && f.Kind != faultCheckpoint && f.Kind != faultMeta {
			continue
		}
		r.out.Rebuilt = append(r.out.Rebuilt, f.Path)
		move := catalog.SetAside
		if _, journal := catalog.ParseJournalFile(filepath.Base(f.Path)); journal {
			move = copyAside
		}
		if _, err := r.fs.Stat(f.Path); errors.Is(err, fs.ErrNotExist) {
			continue // it is missing, and that is the fault
		}
		aside, err := move(r.fs, f.Path)
		if err != nil {
			return err
		}
		r.out.SavedAs = append(r.out.SavedAs, aside)
	}
	return nil
}

// copyAside copies a damaged file, durably, and returns the copy's name.
func copyAside(fsys vfs.FS, path string) (string, error) {
	aside, err := catalog.AsideName(fsys, path)
	if err != nil {
		return "", err
	}
	data, err := vfs.ReadFile(fsys, path, catalog.MaxBytes)
	if err != nil {
		return "", err
	}
	return aside, vfs.WriteFile(fsys, aside, data)
}

// partition repairs one partition. What it refuses keeps the others from nothing.
func (r *repairer) partition(tp TopicPartition) error {
	dir := r.dir
	if r.alone = tp.Topic == ""; !r.alone {
		dir = filepath.Join(r.dir, dirName(tp.Topic, tp.Partition))
	}
	opt, settings, err := r.v.logOptions(tp)
	if err != nil {
		return err
	}
	if _, err := r.fs.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return r.makeAnew(dir, tp)
	}
	if opt.TopicID.IsZero() && !r.alone { // the manifest does not know the topic, and the files made anew are to name it
		if opt.TopicID, err = idIn(r.fs, dir, tp.Topic); err != nil {
			return err
		}
	}
	done, err := log.Repair(r.fs, dir, settings.logConfig(opt.TopicID, nil), log.RepairOptions{
		DryRun: r.opts.DryRun, AcceptLoss: r.opts.AcceptLoss, Gaps: opt.Gaps, Step: func(int64) error { return bounded.Cause(r.ctx) },
	})
	if done != nil {
		r.out.Mended = appendFaults(r.out.Mended, tp, done.Mended)
		r.out.Lost = appendFaults(r.out.Lost, tp, done.Lost)
		r.out.SavedAs, r.out.Rebuilt = append(r.out.SavedAs, done.SavedAs...), append(r.out.Rebuilt, done.Rebuilt...)
		r.out.Cut += done.Cut
	}
	if errors.Is(err, ErrDataLoss) || errors.Is(err, ErrCorrupt) {
		r.refused = append(r.refused, &PartitionError{Topic: tp.Topic, Partition: tp.Partition, Err: err})
		return nil
	}
	return err
}

// makeAnew makes the directory of a partition that is gone, for the engine to open it empty.
func (r *repairer) makeAnew(dir string, tp TopicPartition) error {
	gone := Fault{Topic: tp.Topic, Partition: tp.Partition, Kind: string(log.FaultMissing), Path: dir, FirstOffset: -1, NextOffset: -1,
		Err: errors.New("the directory is missing")}
	r.out.Lost = append(r.out.Lost, gone)
	if !r.opts.AcceptLoss {
		r.refused = append(r.refused, &PartitionError{Topic: tp.Topic, Partition: tp.Partition, Err: &LossError{Dir: dir, First: 0, Next: 0, Reason: "the directory is missing"}})
		return nil
	}
	if r.opts.DryRun {
		return nil
	}
	opt, _, err := r.v.logOptions(tp)
	if err == nil {
		err = ensureDir(r.fs, dir)
	}
	if err != nil {
		return err
	}
	return log.WritePartitionMetadata(r.fs, filepath.Join(dir, log.PartitionMetadataFile), opt.TopicID)
}

// finish opens the engine, which makes its own files again, and stops it in order.
func (r *repairer) finish() error {
	opts := []Option{On(r.fs), RebuildManifest()}
	if r.opts.AcceptLoss {
		opts = append(opts, AcceptDataLoss())
	}
	e, err := Open(r.dir, opts...)
	if err != nil {
		return err
	}
	for _, p := range e.allPartitions() {
		touched := func(f Fault) bool { return f.Topic == p.topic.name && f.Partition == p.id }
		refused := func(err error) bool {
			var at *PartitionError
			return errors.As(err, &at) && at.Topic == p.topic.name && at.Partition == p.id
		}
		if !slices.ContainsFunc(r.out.Found, touched) || slices.ContainsFunc(r.refused, refused) {
			continue
		}
		if err := p.Warm(r.ctx); err != nil {
			return errors.Join(err, e.Close())
		}
	}
	return e.Close()
}

// RebuildIndexes makes every derived file of the topics anew from their batches: indexes, lists of aborted transactions, side files,
// producer snapshots, histories of leader epochs. No topics means all. It may run beside appends and reads; what the active segment needs it
// has in memory. ErrNotFound for a topic that is not there, ErrReadOnly, ErrClosed. Damage in the data ends it with an error that matches ErrCorrupt: [Repair] first.
func (e *Engine) RebuildIndexes(ctx context.Context, topics ...string) error {
	if err := e.usable(ctx); err != nil {
		return err
	}
	if e.readOnly {
		return fmt.Errorf("%w: engine %s", ErrReadOnly, e.dir)
	}
	for _, name := range topics {
		if _, err := e.lookup(name); err != nil {
			return err
		}
	}
	for _, p := range e.allPartitions() {
		if len(topics) > 0 && !slices.Contains(topics, p.topic.name) {
			continue
		}
		err := p.RebuildIndexes(ctx)
		if err != nil && (!p.topic.deleted.Load() || slices.Contains(topics, p.topic.name)) {
			return err
		}
	}
	return nil
}

// RebuildIndexes is Engine.RebuildIndexes for one partition.
func (p *Partition) RebuildIndexes(ctx context.Context) error {
	if p.topic == nil {
		return unmade("Partition")
	}
	if p.topic.eng.readOnly {
		return p.fault(ErrReadOnly)
	}
	l, err := p.openWith(ctx)
	if err != nil {
		return err
	}
	return p.waitFault(ctx, l.RebuildIndexes(ctx))
}
