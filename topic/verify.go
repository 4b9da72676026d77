package topic

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic/internal/catalog"
)

// Fault is one thing that is wrong with a file of a directory.
type Fault struct {
	Topic     string // empty when the file is the engine's
	Partition int32  // -1 then
	// Kind says what sort of thing is wrong: data, headers, gap, missing, identity, manifest, meta are about what cannot be
	// made again, or not without asking. Notes have index, aborted, side, slot, epochs, snapshot, checkpoint, copy, which are files that are made again
	// from the data when they are needed, and tail, saved, swap.
	Kind string
	Path string
	// Pos and End are the bytes concerned, [Pos, End); both 0 when it is the file as a whole.
	Pos, End int64
	// FirstOffset and NextOffset are the records concerned, [FirstOffset, NextOffset); both -1 when it is none.
	FirstOffset, NextOffset int64
	Err                     error
}

func (f *Fault) Error() string {
	inner := log.Fault{Kind: log.FaultKind(f.Kind), Path: f.Path, Pos: f.Pos, End: f.End, FirstOffset: f.FirstOffset, NextOffset: f.NextOffset, Err: f.Err}
	return inner.Error()
}

// Is reports that every Fault matches [ErrCorrupt].
func (f *Fault) Is(target error) bool { return target == ErrCorrupt }

// Unwrap gives the cause.
func (f *Fault) Unwrap() error { return f.Err }

// VerifyOptions say what to verify.
type VerifyOptions struct {
	// Topics are the topics to look at; none means all, and the engine's own files. One of which there is no trace is an error that
	// matches ErrNotFound.
	Topics []string
	// Shallow leaves the records alone and checks what the checksums cover.
	Shallow bool
	// Progress, if set, is called now and then by the goroutine that verifies.
	Progress func(Progress)
}

// VerifyReport is what Verify found.
type VerifyReport struct {
	Partitions, Segments    int
	Batches, Records, Bytes int64
	Faults                  []Fault // everything that is wrong
	Notes                   []Fault // what is no damage, such as a torn tail that the next open cuts off, or an index that a power cut took
}

// derived is the notes about files that can be made again.
func (r *VerifyReport) derived() (list []Fault) {
	for _, f := range r.Notes {
		if f.Kind == faultCheckpoint || errors.Is(f.Err, log.ErrDerived) {
			list = append(list, f)
		}
	}
	return list
}

// Verify reads every file of every partition, and the engine's own, and holds each against the others: checksums, lengths, records, the
// order of offsets, indexes against data, side files, snapshots, leader epochs. It changes nothing, opens no partition, and may run beside
// appends, retention and compaction, and in an engine opened for reading. Damage is in the report, with file, bytes and offsets; the error
// is the context's, ErrClosed, also when the engine is closed meanwhile, or one of the disk.
func (e *Engine) Verify(ctx context.Context, opts VerifyOptions) (*VerifyReport, error) {
	if err := e.usable(ctx); err != nil {
		return nil, err
	}
	v := newVerifier(ctx, e.fs, e.dir, opts)
	v.closing = e.closing
	return awaited(ctx, e, v.report)
}

// VerifyDirectory is [Engine.Verify] for a directory that no engine need have open, damaged as it may be; also for the directory of one
// partition alone. A nil file system is the operating system's.
func VerifyDirectory(ctx context.Context, fsys vfs.FS, dir string, opts VerifyOptions) (*VerifyReport, error) {
	if fsys == nil {
		fsys = vfs.OS()
	}
	return workOn(ctx, newVerifier(ctx, fsys, dir, opts).report)
}

func newVerifier(ctx context.Context, fsys vfs.FS, dir string, opts VerifyOptions) *verifier {
	return &verifier{ctx: ctx, fs: vfs.ReadOnly(fsys), dir: dir, opts: opts, out: &VerifyReport{}, progress: meter{tell: opts.Progress}}
}

// verifier is a VerifyDirectory in progress.
type verifier struct {
	ctx      context.Context
	fs       vfs.FS
	dir      string
	opts     VerifyOptions
	out      *VerifyReport
	manifest *Manifest // the newest that can be read, or an empty one
	progress meter
	closing  <-chan struct{} // closed when the engine that asks is about to; nil: none asks
}

// report is run with what it found.
func (v *verifier) report() (*VerifyReport, error) {
	if err := v.run(); err != nil {
		return nil, fmt.Errorf("topic: verify %s: %w", v.dir, err)
	}
	return v.out, nil
}

func (v *verifier) run() error {
	names, err := v.fs.List(v.dir)
	if err != nil {
		return err
	}
	v.manifest = &Manifest{}
	if holdsSegments(names) {
		v.progress.expect(v.fs, v.dir)
		err := v.partition(v.dir, TopicPartition{Topic: "", Partition: -1})
		if err == nil {
			v.progress.end()
		}
		return err
	}
	if err := admit(v.fs, v.dir, true); err != nil {
		return err
	}
	if err := v.engineFiles(names); err != nil {
		return err
	}
	list := v.partitions(names)
	for _, topic := range v.opts.Topics {
		if !slices.ContainsFunc(list, func(tp TopicPartition) bool { return tp.Topic == topic }) {
			return fmt.Errorf("%w: topic %q", ErrNotFound, clip(topic))
		}
	}
	dirs := make([]string, len(list))
	for i, tp := range list {
		dirs[i] = filepath.Join(v.dir, dirName(tp.Topic, tp.Partition))
	}
	v.progress.expect(v.fs, dirs...)
	for i, tp := range list {
		if err := v.partition(dirs[i], tp); err != nil {
			return err
		}
	}
	v.progress.end()
	return nil
}

// holdsSegments tells the directory of a partition from an engine's.
func holdsSegments(names []string) bool {
	return slices.ContainsFunc(names, func(base string) bool {
		stem, ok := strings.CutSuffix(base, ".log")
		return ok && len(stem) == 20 && strings.Trim(stem, "0123456789") == ""
	})
}

// partitions lists what the manifest knows and what else has a partition's name.
func (v *verifier) partitions(names []string) (list []TopicPartition) {
	wanted := func(topic string) bool {
		return len(v.opts.Topics) == 0 || slices.Contains(v.opts.Topics, topic)
	}
	for _, entry := range v.manifest.Topics {
		for n := range entry.Partitions {
			if entry.State == TopicReady && wanted(entry.Name) && !entry.Unused.Has(int32(n)) {
				list = append(list, TopicPartition{Topic: entry.Name, Partition: int32(n)})
			}
		}
	}
	for _, base := range names {
		tp, ok := parseDirName(base)
		if !ok || !wanted(tp.Topic) {
			continue
		}
		if i, known := v.manifest.Find(tp.Topic); known && v.manifest.Counts(tp.Topic, tp.Partition) && !v.manifest.Topics[i].Unused.Has(tp.Partition) {
			continue
		}
		if info, err := v.fs.Stat(filepath.Join(v.dir, base)); err == nil && !info.IsDir {
			continue // a file that was put aside
		}
		list = append(list, tp)
	}
	return list
}

// step is called as bytes are read.
func (v *verifier) step(n int64) error {
	v.progress.add(n)
	return v.ended()
}

// ended tells why the run is to end.
func (v *verifier) ended() error {
	select {
	case <-v.closing:
		return ErrClosed
	default:
		return bounded.Cause(v.ctx)
	}
}

// partition verifies one partition's directory.
func (v *verifier) partition(dir string, tp TopicPartition) error {
	if err := v.ended(); err != nil {
		return err
	}
	v.progress.begin(tp)
	opt, _, err := v.logOptions(tp)
	if err != nil {
		return err
	}
	opt.Shallow, opt.Step = v.opts.Shallow, v.step
	found, err := log.Verify(v.fs, dir, &log.Config{}, opt)
	if errors.Is(err, fs.ErrNotExist) {
		return v.missing(dir, tp)
	}
	if err != nil {
		return err
	}
	if len(found.Faults) > 0 && v.replaced(tp) {
		return nil
	}
	v.out.Partitions++
	v.out.Segments += len(found.Segments)
	v.out.Batches, v.out.Records, v.out.Bytes = v.out.Batches+found.Batches, v.out.Records+found.Records, v.out.Bytes+found.Bytes
	v.out.Faults = appendFaults(v.out.Faults, tp, found.Faults)
	v.out.Notes = appendFaults(v.out.Notes, tp, found.Notes)
	return v.copyOfEntry(dir, tp)
}

// copyOfEntry looks at the copy of the topic's entry in a partition's directory. A damaged one is made again when the partition is opened.
func (v *verifier) copyOfEntry(dir string, tp TopicPartition) error {
	_, err := catalog.ReadCopy(v.fs, dir, checkEntry)
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, ErrCorrupt), errors.Is(err, vfs.ErrTooLarge):
		v.out.Notes = append(v.out.Notes, Fault{Topic: tp.Topic, Partition: tp.Partition, Kind: faultCopy, Path: filepath.Join(dir, catalog.CopyFile),
			FirstOffset: -1, NextOffset: -1, Err: err})
		return nil
	}
	return err
}

// replaced tells that a partition's topic was created or deleted since the manifest was read; another may have its name by now.
func (v *verifier) replaced(tp TopicPartition) bool {
	now, err := catalog.Load(v.fs, v.dir, checkEntry, false)
	if err != nil || !now.Exists {
		return false
	}
	i, was := v.manifest.Find(tp.Topic)
	j, is := now.Manifest.Find(tp.Topic)
	if !was || !is {
		return was != is
	}
	return now.Manifest.Topics[j].ID != v.manifest.Topics[i].ID || now.Manifest.Topics[j].State != v.manifest.Topics[i].State
}

// logOptions is what the manifest says of a partition's log. Offsets of a topic that it does not know may have gaps.
func (v *verifier) logOptions(tp TopicPartition) (opt log.VerifyOptions, settings Settings, err error) {
	settings = DefaultSettings()
	i, known := v.manifest.Find(tp.Topic)
	if !known || !v.manifest.Counts(tp.Topic, tp.Partition) {
		opt.Gaps = true
		return opt, settings, nil
	}
	entry := v.manifest.Topics[i]
	if settings, err = ParseSettings(entry.Settings); err != nil {
		return opt, settings, err
	}
	opt.TopicID, opt.Gaps = entry.ID, settings.compacts()
	return opt, settings, nil
}

func appendFaults(dst []Fault, tp TopicPartition, list []log.Fault) []Fault {
	for _, f := range list {
		dst = append(dst, Fault{Topic: tp.Topic, Partition: tp.Partition, Kind: string(f.Kind), Path: f.Path, Pos: f.Pos, End: f.End,
			FirstOffset: f.FirstOffset, NextOffset: f.NextOffset, Err: f.Err})
	}
	return dst
}

// missing judges a partition without a directory. That is a loss only if one and the same topic used the partition before the look and after it: it
// may have been deleted meanwhile, and other topics of its name may have come and gone.
func (v *verifier) missing(dir string, tp TopicPartition) error {
	now, err := catalog.Load(v.fs, v.dir, checkEntry, true)
	if err != nil {
		return err
	}
	before, was := usedBy(v.manifest, tp)
	after, is := usedBy(now.Manifest, tp)
	if was && is && before == after {
		v.out.Faults = append(v.out.Faults, Fault{Topic: tp.Topic, Partition: tp.Partition, Kind: string(log.FaultMissing), Path: dir,
			FirstOffset: -1, NextOffset: -1, Err: errors.New("the manifest has this partition, the directory has not")})
	}
	return nil
}

// usedBy tells which topic uses a partition, by a manifest.
func usedBy(m *Manifest, tp TopicPartition) (id ID, used bool) {
	i, known := m.Find(tp.Topic)
	if !known || m.Topics[i].State != TopicReady || int(tp.Partition) >= m.Topics[i].Partitions || m.Topics[i].Unused.Has(tp.Partition) {
		return ID{}, false
	}
	return m.Topics[i].ID, true
}

// Kinds of faults of the engine's own files.
const (
	faultManifest   = "manifest"
	faultCheckpoint = "checkpoint"
	faultMeta       = "meta"
	faultCopy       = "copy" // of a topic's entry, in a partition's directory
)

func (v *verifier) fault(kind, name string, err error) {
	list := &v.out.Faults
	if kind == faultCheckpoint {
		list = &v.out.Notes // the next one is written from what the logs say
	}
	*list = append(*list, Fault{Partition: -1, Kind: kind, Path: filepath.Join(v.dir, name), FirstOffset: -1, NextOffset: -1, Err: err})
}

// engineFiles checks the files beside the partitions.
func (v *verifier) engineFiles(names []string) error {
	found, err := catalog.Load(v.fs, v.dir, checkEntry, true)
	if err != nil {
		return err
	}
	v.manifest = found.Manifest
	faults, err := catalog.Faults(v.fs, v.dir, checkEntry, slices.Contains(names, cleanFile))
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(faults)) {
		v.fault(faultManifest, name, faults[name])
	}
	if len(v.opts.Topics) > 0 {
		return nil
	}
	for _, name := range names {
		var err error
		kind := faultCheckpoint
		switch name {
		case log.LogStartFile, log.RecoveryPointFile, log.HighWatermarkFile, log.CleanerFile:
			_, err = log.ReadOffsetCheckpoint(v.fs, filepath.Join(v.dir, name))
		case metaFile:
			kind, err = faultMeta, v.checkMeta()
		}
		switch {
		case err == nil, errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, ErrCorrupt), errors.Is(err, vfs.ErrTooLarge):
			v.fault(kind, name, err)
		default:
			return err
		}
	}
	return nil
}

// checkMeta checks meta.properties.
func (v *verifier) checkMeta() error {
	_, _, damage, err := readIdentity(v.fs, v.dir)
	return errors.Join(damage, err)
}
