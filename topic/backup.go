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
	"time"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic/internal/catalog"
)

// BackupOptions say where a backup goes.
type BackupOptions struct {
	// FS is where the directory lies; nil means on the engine's own file system, where sealed segments cost no room: they are hard links.
	FS vfs.FS
	// Topics are the topics to back up; none means all.
	Topics []string
	// Remove names topics that an earlier backup in the directory holds and this one will not: deleted ones, ones that were deleted and created
	// again, and ones that Topics leaves out. Without their names nothing is thrown away, and Backup returns a [DiscardError].
	Remove []string
	// Copy copies instead of linking, so that the backup shares no bytes with the directory. Also what happens where links fail.
	Copy bool
	// AllowDamage lets a backup succeed whose copies, like the originals, are damaged: the report has the faults.
	AllowDamage bool
	// Progress, if set, is called now and then by the goroutine that copies.
	Progress func(Progress)
}

// BackupReport is what a backup or a restoration did.
type BackupReport struct {
	Partitions           int
	Linked, Copied, Kept int64 // bytes of data: as links, as copies, and there already
	Faults               []Fault
	Notes                []Fault                  // indexes of the directory that did not fit its data, as after a power cut, and were made anew
	Ends                 map[TopicPartition]int64 // the offset that each partition's copy ends at
}

// backupFile marks the directory of a backup. It says "running" until the backup is complete, and is removed when an engine opens the
// directory for writing: from then on it is no copy any more.
const (
	backupFile      = "quire.backup"
	backupRunning   = "running\n"
	backupRestoring = "restoring\n" // of a restoration that is not complete
	backupComplete  = "complete\n"
)

// Backup makes dir, a new or empty directory or an earlier backup, one that [Open] opens as stopped in order, and that holds of every
// partition what was visible at one moment soon after the call: sealed segments are linked, or copied, and the rest is copied up to the high watermark. Appends, rolls,
// retention and compaction go on meanwhile, and topics come and go: one that is deleted before its copy is complete is left out. Every copy is read back and checked. A further backup into the same directory keeps
// what is still good there and costs only what is new. It works in an engine opened for reading too, as long as no writer beside it removes what is being copied.
//
// When Backup returns nil the backup is on disk. An interrupted one is refused by Open and completed by a further Backup. Errors: ErrInvalid
// when dir holds something else or another cluster's backup, [DiscardError], ErrNotFound when a topic of Topics does not exist or is deleted meanwhile, ErrLocked, ErrBusy when segments come and go faster than they can be copied, ErrCorrupt when a copy is not sound, the context's, what the disk says.
func (e *Engine) Backup(ctx context.Context, dir string, opts BackupOptions) (*BackupReport, error) {
	if err := e.usable(ctx); err != nil {
		return nil, err
	}
	c := &copier{ctx: ctx, e: e, dir: filepath.Clean(dir), topics: opts.Topics, remove: opts.Remove, link: !opts.Copy && opts.FS == nil,
		allow: opts.AllowDamage, progress: meter{tell: opts.Progress}, limit: func(*log.Log, TopicPartition) (int64, error) { return -1, nil }, mark: backupComplete}
	if c.fs = opts.FS; c.fs == nil {
		c.fs = e.disk
	}
	return work(ctx, e, c.run)
}

// RestoreOptions say how much of a backup to restore, and where it lies.
type RestoreOptions struct {
	// FS is the file system of both directories; nil means the operating system's.
	FS vfs.FS
	// Topics are the topics to restore; none means all.
	Topics []string
	// Until ends partitions at an offset, at the begin of the batch that holds it; those that it does not name are restored whole. One
	// that is not among what is restored is an error that matches ErrNotFound.
	Until map[TopicPartition]int64
	// UntilTime, if it is not zero, ends every partition that Until does not name in front of the first batch that holds a record of that
	// time or later.
	UntilTime time.Time
	// Link makes hard links instead of copies. The directories then share their sealed segments, which nobody writes to.
	Link bool
	// Progress, if set, is called now and then by the goroutine that copies.
	Progress func(Progress)
}

// Restore makes the new or empty directory to out of a backup, or of any directory that no engine has open for writing: the whole of it, or
// each partition up to an offset or a time. Every copy is read back and checked. The backup is not changed. When Restore returns nil the
// directory is on disk, and [Open] opens it as one stopped in order; an interrupted one is refused by Open, and completed by Restore again.
func Restore(ctx context.Context, from, to string, opts RestoreOptions) (*BackupReport, error) {
	if opts.FS == nil {
		opts.FS = vfs.OS()
	}
	return workOn(ctx, func() (*BackupReport, error) { return restore(ctx, from, to, opts) })
}

func restore(ctx context.Context, from, to string, opts RestoreOptions) (*BackupReport, error) {
	e, err := Open(from, On(opts.FS), ReadOnlyMode())
	if err != nil {
		return nil, err
	}
	c := &copier{ctx: ctx, e: e, fs: opts.FS, dir: filepath.Clean(to), topics: opts.Topics, link: opts.Link, progress: meter{tell: opts.Progress}, limit: opts.limit,
		named: slices.SortedFunc(maps.Keys(opts.Until), TopicPartition.Compare)}
	report, err := c.run()
	return report, errors.Join(err, e.Close())
}

// limit is where a partition is to end; -1: nowhere.
func (o *RestoreOptions) limit(l *log.Log, tp TopicPartition) (int64, error) {
	if offset, named := o.Until[tp]; named {
		return max(offset, 0), nil
	}
	if o.UntilTime.IsZero() {
		return -1, nil
	}
	found, ok, err := l.OffsetFor(record.Millis(o.UntilTime), log.High)
	if err != nil || !ok {
		return -1, err
	}
	return found.Offset, nil
}

// copier makes a directory a copy of an engine's.
type copier struct {
	ctx      context.Context
	e        *Engine
	fs       vfs.FS // of the copy
	dir      string
	topics   []string
	remove   []string         // topics of an earlier backup that may go
	named    []TopicPartition // must be among what is copied
	link     bool
	allow    bool // damage that the original has too
	limit    func(*log.Log, TopicPartition) (int64, error)
	mark     string    // what backupFile says at the end; empty: it is removed
	resumed  bool      // an earlier run was interrupted: nothing it left is trusted unread
	manifest *Manifest // of the copy: what it has directories of, and nothing else, is used
	list     []planned
	earlier  map[string]bool // topics of which an earlier backup holds anything
	progress meter
	out      BackupReport
}

func (c *copier) run() (*BackupReport, error) {
	if err := c.locked(); err != nil {
		return &c.out, fmt.Errorf("topic: copy of %s to %s: %w", c.e.dir, c.dir, err)
	}
	return &c.out, nil
}

// locked copies with the copy's lock.
func (c *copier) locked() error {
	if c.dir == "" || c.dir == "." || c.dir == c.e.dir {
		return fmt.Errorf("%w: directory %q", ErrInvalid, c.dir)
	}
	if err := admit(c.fs, c.dir, false); err != nil {
		return err
	}
	if err := ensureDir(c.fs, c.dir); err != nil {
		return err
	}
	// An earlier run may have failed here.
	if err := syncAbove(c.fs, c.dir); err != nil {
		return err
	}
	unlock, err := takeLock(c.fs, c.dir)
	if err != nil {
		return err
	}
	defer func() { _ = unlock() }()
	for _, step := range []func() error{c.distinct, c.plan, c.claim, c.partitions, c.forget, c.finish} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// distinct makes sure that the directory is not the engine's own by another name, such as a symbolic link.
func (c *copier) distinct() error {
	id, found, _, err := readIdentity(c.fs, c.dir)
	if err == nil && found && id.directory != "" && id.directory == c.e.identity.directory {
		err = fmt.Errorf("%w: %s is the directory to be copied, or was made of it by other means", ErrInvalid, c.dir)
	}
	return err
}

// claim makes sure that the directory is ours to write to, and says durably that it is no copy yet.
func (c *copier) claim() error {
	names, err := c.fs.List(c.dir)
	if err != nil {
		return err
	}
	foreign := slices.ContainsFunc(names, func(name string) bool { return name != lockFile && name != backupFile+".tmp" && name != lostFound })
	is, err := readBackupMark(c.fs, c.dir)
	c.resumed = errors.Is(err, ErrCorrupt)
	if err != nil && !c.resumed {
		return err
	}
	if foreign && !c.resumed && (!is || c.mark == "") {
		return fmt.Errorf("%w: %s holds something else", ErrInvalid, c.dir)
	}
	running := backupRunning
	if c.mark == "" {
		running = backupRestoring
	}
	if c.resumed && !c.interrupted(running) {
		return fmt.Errorf("%w: %s holds an interrupted %s", ErrInvalid, c.dir, map[bool]string{true: "backup", false: "restoration"}[c.mark == ""])
	}
	if err := c.keepsEarlier(names); err != nil {
		return err
	}
	if err := vfs.WriteFile(c.fs, filepath.Join(c.dir, backupFile), []byte(running)); err != nil {
		return err
	}
	_, err = takeCleanMark(c.fs, c.dir)
	return err
}

// step is called as bytes are done with.
func (c *copier) step(n int64) error {
	c.progress.add(n)
	return bounded.Cause(c.ctx)
}

func (c *copier) partitions() error {
	c.out.Ends = map[TopicPartition]int64{}
	err := c.each(func(job *planned) error {
		c.progress.begin(job.tp)
		return c.partition(job)
	})
	if err != nil {
		return err
	}
	c.out.Partitions = len(c.out.Ends)
	c.progress.end()
	return nil
}

// partition copies one partition and reads the copy back.
func (c *copier) partition(job *planned) error {
	if err := bounded.Cause(c.ctx); err != nil {
		return err
	}
	dir := filepath.Join(c.dir, dirName(job.tp.Topic, job.tp.Partition))
	if err := ensureDir(c.fs, dir); err != nil {
		return err
	}
	l, err := job.p.openWith(c.ctx)
	if err != nil {
		return err
	}
	opt := log.BackupOptions{FS: c.fs, Dir: dir, Until: job.until, Step: c.step}
	if c.link {
		opt.Link = c.fs.Link
	}
	done, err := l.Backup(opt)
	if err != nil {
		return err
	}
	c.out.Linked, c.out.Copied, c.out.Kept = c.out.Linked+done.Linked, c.out.Copied+done.Copied, c.out.Kept+done.Kept
	c.out.Ends[job.tp] = done.End
	c.out.Notes = appendFaults(c.out.Notes, job.tp, done.Rebuilt)
	if c.resumed {
		done.Changed = 0
	}
	settings := job.p.topic.state.Load().settings
	found, err := log.Verify(c.fs, dir, l.Config(), log.VerifyOptions{TopicID: job.p.topic.id, Gaps: settings.compacts(),
		From: done.Changed, Shallow: true, Step: func(int64) error { return bounded.Cause(c.ctx) }})
	if err != nil {
		return err
	}
	c.out.Faults = appendFaults(c.out.Faults, job.tp, found.Faults)
	if len(found.Faults) > 0 && !c.allow {
		return fmt.Errorf("the copy is not sound: %w", &found.Faults[0])
	}
	return nil
}

// forget removes the partitions that an earlier backup has and this one has not.
func (c *copier) forget() error {
	names, err := c.fs.List(c.dir)
	if err != nil {
		return err
	}
	for _, base := range names {
		tp, ok := parseDirName(base)
		if _, copied := c.out.Ends[tp]; !ok || copied {
			continue
		}
		if err := vfs.RemoveAll(c.fs, filepath.Join(c.dir, base)); err != nil {
			return err
		}
	}
	return nil
}

// finish writes the engine's files, each durably with the names before it, and last of all that the copy is complete.
func (c *copier) finish() error {
	if err := c.writeManifest(); err != nil {
		return err
	}
	id, found, _, err := readIdentity(c.fs, c.dir)
	if err != nil {
		return err
	}
	id.cluster, id.node = c.e.identity.cluster, c.e.identity.node
	if _, err := completeIdentity(c.fs, c.dir, id, found && id.cluster != ""); err != nil {
		return err
	}
	marks, start := log.OffsetCheckpoint{}, log.OffsetCheckpoint{}
	for tp, end := range c.out.Ends {
		marks[log.TopicPartition{Topic: tp.Topic, Partition: tp.Partition}] = end
	}
	err = errors.Join(
		log.WriteOffsetCheckpoint(c.fs, filepath.Join(c.dir, log.LogStartFile), start),
		log.WriteOffsetCheckpoint(c.fs, filepath.Join(c.dir, log.RecoveryPointFile), marks),
		log.WriteOffsetCheckpoint(c.fs, filepath.Join(c.dir, log.HighWatermarkFile), marks))
	if err != nil {
		return err
	}
	if err := writeCleanMark(c.fs, c.dir); err != nil {
		return err
	}
	path := filepath.Join(c.dir, backupFile)
	if c.mark != "" {
		return vfs.WriteFile(c.fs, path, []byte(c.mark))
	}
	if err := c.fs.Remove(path); err != nil {
		return err
	}
	return c.fs.SyncDir(c.dir)
}

// writeManifest puts the manifest in place, above whatever generation an earlier backup left, and copies of its entries beside the data.
func (c *copier) writeManifest() error {
	old, err := catalog.Load(c.fs, c.dir, checkEntry, true)
	if err != nil {
		return err
	}
	c.manifest.Generation = max(c.manifest.Generation, old.Manifest.Generation+1)
	for _, entry := range c.manifest.Topics {
		if entry.Unused.Covers(entry.Partitions) {
			continue
		}
		dir := filepath.Join(c.dir, dirName(entry.Name, entry.Unused.FirstMissing()))
		if err := catalog.WriteCopy(c.fs, dir, entry); err != nil {
			return err
		}
		if err := c.fs.SyncDir(dir); err != nil {
			return err
		}
	}
	return catalog.Write(c.fs, c.dir, c.manifest)
}

// readBackupMark tells whether a directory is a backup. One that is not complete is an error that matches ErrCorrupt.
func readBackupMark(fsys vfs.FS, dir string) (is bool, err error) {
	text, err := vfs.ReadFile(fsys, filepath.Join(dir, backupFile), smallFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case strings.TrimSpace(string(text)) == strings.TrimSpace(backupComplete):
		return true, nil
	}
	return true, fmt.Errorf("%w: %s is a backup or a restoration that was interrupted: repeat it", ErrCorrupt, dir)
}

// leaveBackup makes a backup an ordinary directory, which it is as soon as it is written to; durably once the caller has synced the directory.
func leaveBackup(fsys vfs.FS, dir string) error {
	is, err := readBackupMark(fsys, dir)
	if err != nil || !is {
		return err
	}
	return fsys.Remove(filepath.Join(dir, backupFile))
}
