package log

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/segment"
)

// BackupOptions say where a copy of a log goes and how far.
type BackupOptions struct {
	FS  vfs.FS // of the copy
	Dir string // of the copy; it exists
	// Until is the offset that the copy ends at, or below it where a batch holds it. At most the high watermark counts; negative: that.
	Until int64
	// Link gives a file of the log a second name, Dir's. A nil Link, or an error of it, has the file copied.
	Link func(oldname, newname string) error
	// Step is called as bytes are done with, n at a time. Its error ends the copying.
	Step func(n int64) error
}

// BackedUp tells what [Log.Backup] did.
type BackedUp struct {
	Start, End     int64 // offsets [Start, End) are in the copy
	Linked, Copied int64 // bytes of data
	Kept           int64 // bytes of data that the copy had already
	Changed        int64 // base of the first segment that the copy did not have; End when it had all
	// Rebuilt is one note for each segment of the log whose indexes were not what was sealed, as after a power cut.
	Rebuilt []Fault
}

// errShifted says that segments were removed or replaced while they were copied.
var errShifted = errors.New("log: segments changed while they were copied")

// backupTries is how often the copying begins again when segments change under it. What was copied before is kept.
const backupTries = 16

// Backup makes the directory opt.Dir a log that was stopped in order and equals this one up to an offset. Sealed segments whose copy is
// there already are kept, others are linked or copied with their side files; the last one is always copied, since whoever opens the copy
// writes to it. Files of ours that do not belong to the result are removed. The log goes on meanwhile: appends, rolls, retention and
// compaction disturb nothing, segments are pinned while they are copied. When Backup returns nil the copy is on disk, but for the entry of
// its directory. A crash leaves a directory that a further Backup completes, and that is no log before.
//
// Nothing is checked here: [Verify] the copy.
func (l *Log) Backup(opt BackupOptions) (*BackedUp, error) {
	for range backupTries {
		b := &backup{l: l, opt: opt, want: map[string]bool{}}
		err := b.run()
		if err == nil {
			return &b.out, nil
		}
		if !errors.Is(err, errShifted) {
			return nil, fmt.Errorf("backup of %s: %w", l.dir, l.located(err))
		}
	}
	return nil, fmt.Errorf("backup of %s: %w: %w", l.dir, ErrBusy, errShifted)
}

// backup is a Backup in progress.
type backup struct {
	l     *Log
	opt   BackupOptions
	out   BackedUp
	until int64
	cuts  int64           // truncations before
	want  map[string]bool // names that belong to the result
	begun bool            // out.Changed is set
	slot  slotState
	buf   []byte
}

func (b *backup) run() error {
	v := b.look()
	if v == nil {
		return ErrClosed
	}
	b.out.Start, b.until = b.l.start.Load(), b.l.high.Load()
	if b.opt.Until >= 0 {
		b.until = min(b.until, max(b.opt.Until, b.out.Start))
	}
	// From here on the copy is no log, until its slot says so.
	if err := b.remove(SlotFile); err != nil {
		return err
	}
	list := b.covered(v)
	for i, s := range list {
		last := i == len(list)-1
		err := b.pinned(s, last)
		if errors.Is(err, errShifted) && !last && list[i+1].Base() <= b.l.start.Load() {
			clear(b.want) // deleted meanwhile, as are those before it: here as in the log
			continue
		}
		if err != nil {
			return err
		}
	}
	for _, step := range []func() error{b.snapshots, b.clean, b.history, b.unmoved, b.writeSlot} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// look gives the segments, none of which is about to take the names of those that it replaces.
func (b *backup) look() *view {
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	if b.l.closed.Load() {
		return nil
	}
	b.cuts = b.l.syncer.cuts()
	return b.l.view.Load()
}

// unmoved makes sure that what was told of the log at the end is of the one that was copied.
func (b *backup) unmoved() error {
	if b.l.closed.Load() || b.l.syncer.cuts() != b.cuts {
		return errShifted
	}
	return nil
}

// named tells whether the names of a segment's files are its own: they are another's when it was replaced, and when the swap that put it in its
// place has failed.
func (b *backup) named(s *segment.Segment) bool {
	return !s.Retired() && s.Path() == filepath.Join(b.l.dir, segment.FileName(s.Base(), segment.LogSuffix))
}

// covered is the segments up to where the copy ends: an empty last one too, when only that says how far offsets were used.
func (b *backup) covered(v *view) []*segment.Segment {
	n := max(v.floor(b.until-1)+1, 1)
	if n < len(v.segments) && v.segments[n].Base() == b.until && v.segments[n-1].Load() == nil && v.segments[n-1].Next() < b.until {
		n++
	}
	return v.segments[:n]
}

// pinned copies a segment that nobody may take away meanwhile.
func (b *backup) pinned(s *segment.Segment, last bool) error {
	if !s.Pin() {
		return errShifted
	}
	defer s.Unpin()
	return b.segment(s, last)
}

func (b *backup) remove(name string) error {
	err := b.opt.FS.Remove(filepath.Join(b.opt.Dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = b.opt.FS.SyncDir(b.opt.Dir)
	}
	return err
}

func (b *backup) segment(s *segment.Segment, last bool) error {
	if !last && s.Load() == nil {
		whole, err := b.whole(s)
		if whole || err != nil {
			return err
		}
	}
	return b.rewrite(s, last)
}

var familySuffixes = [...]string{segment.LogSuffix, segment.IndexSuffix, segment.TimeIndexSuffix, segment.TxnIndexSuffix, segment.SumsSuffix}

// whole keeps, links or copies a sealed segment's files. false means that they have not got their names, that there is no side file, or
// that indexes do not fit, and that it has to be written batch by batch.
func (b *backup) whole(s *segment.Segment) (bool, error) {
	if !b.named(s) {
		return false, nil
	}
	if fit, err := b.refit(s); !fit || err != nil {
		return false, err
	}
	sums := segment.FileName(s.Base(), segment.SumsSuffix)
	seal, err := vfs.ReadFile(b.l.fs, filepath.Join(b.l.dir, sums), 4096)
	if errors.Is(err, fs.ErrNotExist) {
		if s.Retired() {
			return false, errShifted
		}
		return false, nil
	}
	if err != nil {
		return false, err
	}
	size := s.Size()
	if b.has(s, seal) {
		b.out.Kept += size
	} else if err := b.take(s); err != nil {
		return false, err
	} else if !b.has(s, seal) {
		return false, errShifted
	}
	if !b.named(s) { // any more
		return false, errShifted
	}
	for _, suffix := range familySuffixes {
		b.want[segment.FileName(s.Base(), suffix)] = true
	}
	b.out.End = s.Next()
	return true, b.step(size)
}

// refit sees that a segment's indexes are what its seal says, making them anew if need be and if the log may be written to. Those of a
// segment whose data is damaged stay: whatever is copied, reading it tells.
func (b *backup) refit(s *segment.Segment) (bool, error) {
	fit, err := s.TablesFit()
	if fit || err != nil {
		return fit, err
	}
	b.l.mu.Lock()
	err = b.l.changeable()
	b.l.mu.Unlock()
	if !b.named(s) {
		return false, errShifted
	}
	b.out.Rebuilt = append(b.out.Rebuilt, fileFault(segment.FaultIndex, s.Path(), ErrDerived))
	if err == nil {
		err = b.l.rebuildSegment(s, true)
	}
	return err == nil || errors.Is(err, ErrCorrupt), nil
}

// has tells whether the copy of a segment has this seal, which is that of the segment, and fits it.
func (b *backup) has(s *segment.Segment, seal []byte) bool {
	there, err := vfs.ReadFile(b.opt.FS, filepath.Join(b.opt.Dir, segment.FileName(s.Base(), segment.SumsSuffix)), 4096)
	if err != nil || string(there) != string(seal) {
		return false
	}
	c, err := segment.OpenActive(b.opt.FS, b.opt.Dir, s.Base(), b.l.cfg.Load().segmentConfig())
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }()
	if fit, err := c.TablesFit(); !fit || err != nil {
		return false
	}
	ts, at := s.MaxTimestamp()
	ts2, at2 := c.MaxTimestamp()
	return c.Next() == s.Next() && c.Size() == s.Size() && ts == ts2 && at == at2 && c.LastEpoch() == s.LastEpoch()
}

// take links or copies a segment's files, its side file last.
func (b *backup) take(s *segment.Segment) error {
	b.changed(s.Base())
	if err := b.forget(s.Base()); err != nil {
		return err
	}
	for _, suffix := range familySuffixes {
		name := segment.FileName(s.Base(), suffix)
		if suffix == segment.SumsSuffix {
			if err := b.syncTables(s.Base()); err != nil {
				return err
			}
		}
		linked, err := b.file(name)
		switch {
		case errors.Is(err, fs.ErrNotExist) && suffix == segment.LogSuffix:
			return errShifted
		case errors.Is(err, fs.ErrNotExist):
			continue // none was needed; or the seal tells
		case err != nil:
			return err
		case suffix == segment.LogSuffix && linked:
			b.out.Linked += s.Size()
		case suffix == segment.LogSuffix:
			b.out.Copied += s.Size()
		}
	}
	return nil // history makes the seal's name durable
}

// syncTables makes a segment's index files durable, which those of a log need not be. A seal whose files' names a power cut took is no copy
// (has), and at the end history makes all names durable.
func (b *backup) syncTables(base int64) error {
	for _, suffix := range familySuffixes[1:4] {
		f, err := b.opt.FS.Open(filepath.Join(b.opt.Dir, segment.FileName(base, suffix)))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// changed notes the first segment that the copy did not have.
func (b *backup) changed(base int64) {
	if !b.begun {
		b.begun, b.out.Changed = true, base
	}
}

// forget removes the copy's files of a segment, the seal first.
func (b *backup) forget(base int64) error {
	for _, suffix := range slices.Backward(familySuffixes[:]) {
		err := b.opt.FS.Remove(filepath.Join(b.opt.Dir, segment.FileName(base, suffix)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// file links or copies one file of the log.
func (b *backup) file(name string) (linked bool, err error) {
	from, to := filepath.Join(b.l.dir, name), filepath.Join(b.opt.Dir, name)
	if b.opt.Link != nil && !b.l.previewed {
		err := b.opt.Link(from, to)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return true, err
		}
	}
	return false, b.copyFile(from, to)
}

// copyBytes is how much is copied at once.
const copyBytes = 1 << 20

func (b *backup) copyFile(from, to string) error {
	src, err := b.l.fs.OpenRead(from)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()
	dst, err := b.opt.FS.Create(to)
	if err != nil {
		return err
	}
	err = b.pour(dst, src)
	if err == nil {
		err = dst.Sync()
	}
	return errors.Join(err, dst.Close())
}

func (b *backup) pour(dst, src vfs.File) error {
	if b.buf == nil {
		b.buf = make([]byte, copyBytes)
	}
	for at := int64(0); ; {
		n, err := src.ReadAt(b.buf, at)
		if n > 0 {
			if _, err := dst.WriteAt(b.buf[:n], at); err != nil {
				return err
			}
			at += int64(n)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := b.step(0); err != nil {
			return err
		}
	}
}

func (b *backup) step(n int64) error {
	if b.opt.Step == nil {
		return nil
	}
	return b.opt.Step(n)
}
