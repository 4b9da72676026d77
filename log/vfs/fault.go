package vfs

import (
	"io"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// Forever as the Count of a Rule makes it apply from the K-th match on.
const Forever = -1

// Rule says which calls through a Fault go wrong, and how. The zero value of each
// field means the ordinary thing.
type Rule struct {
	// Op is the kind of call; OpAny for all kinds.
	Op Op
	// Path is matched with the path of the call (for Rename and Link: with
	// either path), both with slashes: as a pattern of path.Match with the base
	// name or the whole path, else as a part of the path. Empty matches all. A handle
	// keeps the path it was opened by.
	Path string
	// K is the first match that is hit, counted from 1 and since the rule was
	// added. 0 means 1.
	K int
	// Count is how many matches are hit: 0 means once, Forever all from K on.
	Count int

	// Hook is called first, with no lock held: to wait, to look, to crash.
	Hook func(op Op, path string)
	// Err is what the call returns. When it is nil and there is neither Hook
	// nor Lie, it is syscall.EIO. The call itself is not carried out.
	Err error
	// Short is how many bytes a write, read or send does before it fails.
	Short int
	// Done carries the call out and then returns Err all the same: the outcome
	// the caller must call unknown.
	Done bool
	// Lie makes a Sync, SyncDir, WriteAt, Truncate or Preallocate return
	// success without doing anything.
	Lie bool
}

// matches reports whether the rule is about such a call.
func (r *Rule) matches(op Op, paths []string) bool {
	if r.Op != OpAny && r.Op != op {
		return false
	}
	if r.Path == "" {
		return true
	}
	pattern := filepath.ToSlash(r.Path)
	for _, name := range paths {
		name = filepath.ToSlash(name)
		if ok, err := path.Match(pattern, path.Base(name)); ok && err == nil {
			return true
		}
		if ok, err := path.Match(pattern, name); ok && err == nil {
			return true
		}
		if strings.Contains(name, pattern) {
			return true
		}
	}
	return false
}

// activeRule is a rule with how often it matched.
type activeRule struct {
	Rule
	seen int
}

// hit counts one match and reports whether it is among those to be hit.
func (r *activeRule) hit() bool {
	r.seen++
	first := max(r.K, 1)
	if r.seen < first {
		return false
	}
	return r.Count < 0 || r.seen < first+max(r.Count, 1)
}

// Fault passes calls on to another file system, counts them, and lets chosen ones
// fail. When a Sync is made to fail and the file belongs to a Crash, the data that
// was not synced yet is lost there as it would be on a real disk: it stays visible
// and a later Sync succeeds without it.
type Fault struct {
	inner  FS
	counts [opCount]atomic.Int64

	mu    sync.Mutex // guards rules; never held during a call or a hook
	rules []*activeRule
}

// NewFault returns a Fault around inner. Where several rules hit the same call the
// first one added decides, and the hooks of all are called.
func NewFault(inner FS, rules ...Rule) *Fault {
	f := &Fault{inner: inner}
	f.Add(rules...)
	return f
}

// Add adds rules. They count matches from now on.
func (f *Fault) Add(rules ...Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range rules {
		f.rules = append(f.rules, &activeRule{Rule: r})
	}
}

// Clear removes all rules.
func (f *Fault) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = nil
}

// Count returns how many calls of a kind were made, failed ones included; for
// OpAny how many of all kinds. A test reads it after a run without rules to know
// the k it has to go through.
func (f *Fault) Count(op Op) int64 { return f.counts[op].Load() }

// verdict is what becomes of one call.
type verdict struct {
	err   error
	short int
	done  bool
	lie   bool
}

// judge counts a call, runs hooks and says what to do. An error is returned
// dressed with the path.
func (f *Fault) judge(op Op, paths ...string) verdict {
	f.counts[op].Add(1)
	f.counts[OpAny].Add(1)
	hits := f.hits(op, paths)
	var v verdict
	decided := false
	for i := range hits {
		r := &hits[i]
		if r.Hook != nil {
			r.Hook(op, paths[0])
		}
		if decided {
			continue
		}
		err := r.Err
		if err == nil && r.Hook == nil && !r.Lie {
			err = syscall.EIO
		}
		if err != nil {
			v = verdict{err: pathError(op.String(), paths[0], err), short: r.Short, done: r.Done}
			decided = true
		} else if r.Lie {
			v = verdict{lie: true}
			decided = true
		}
	}
	return v
}

func (f *Fault) hits(op Op, paths []string) []Rule {
	f.mu.Lock()
	defer f.mu.Unlock()
	var hits []Rule
	for _, r := range f.rules {
		if r.matches(op, paths) && r.hit() {
			hits = append(hits, r.Rule)
		}
	}
	return hits
}

// run carries a call out, or not, as judged.
func (v verdict) run(call func() error) error {
	switch {
	case v.lie:
		return nil
	case v.err == nil:
		return call()
	case v.done:
		if err := call(); err != nil {
			return err
		}
	}
	return v.err
}

func (f *Fault) open(op Op, name string, call func(string) (File, error)) (File, error) {
	v := f.judge(op, name)
	if v.err != nil && !v.done {
		return nil, v.err
	}
	inner, err := call(name)
	if err != nil {
		return nil, err
	}
	if v.err != nil {
		_ = inner.Close()
		return nil, v.err
	}
	return &faultFile{f: f, inner: inner, name: name}, nil
}

// Create is a call of the kind OpCreate.
func (f *Fault) Create(name string) (File, error) { return f.open(OpCreate, name, f.inner.Create) }

// Open is a call of the kind OpOpen.
func (f *Fault) Open(name string) (File, error) { return f.open(OpOpen, name, f.inner.Open) }

// OpenRead is a call of the kind OpOpenRead.
func (f *Fault) OpenRead(name string) (File, error) {
	return f.open(OpOpenRead, name, f.inner.OpenRead)
}

// Remove is a call of the kind OpRemove.
func (f *Fault) Remove(name string) error {
	return f.judge(OpRemove, name).unlying().run(func() error { return f.inner.Remove(name) })
}

// Rename is a call of the kind OpRename.
func (f *Fault) Rename(oldname, newname string) error {
	return f.judge(OpRename, oldname, newname).unlying().run(func() error { return f.inner.Rename(oldname, newname) })
}

// Link is a call of the kind OpLink.
func (f *Fault) Link(oldname, newname string) error {
	return f.judge(OpLink, oldname, newname).unlying().run(func() error { return f.inner.Link(oldname, newname) })
}

// MkdirAll is a call of the kind OpMkdirAll.
func (f *Fault) MkdirAll(name string) error {
	return f.judge(OpMkdirAll, name).unlying().run(func() error { return f.inner.MkdirAll(name) })
}

// SyncDir is a call of the kind OpSyncDir.
func (f *Fault) SyncDir(dir string) error {
	return f.judge(OpSyncDir, dir).run(func() error { return f.inner.SyncDir(dir) })
}

// unlying drops a lie about a call whose effect the caller would miss at once.
func (v verdict) unlying() verdict {
	v.lie = false
	return v
}

// List is a call of the kind OpList.
func (f *Fault) List(dir string) ([]string, error) {
	if v := f.judge(OpList, dir); v.err != nil {
		return nil, v.err
	}
	return f.inner.List(dir)
}

// Stat is a call of the kind OpStat.
func (f *Fault) Stat(name string) (Info, error) {
	if v := f.judge(OpStat, name); v.err != nil {
		return Info{}, v.err
	}
	return f.inner.Stat(name)
}

// Lock is a call of the kind OpLock. Closing the lock is not counted.
func (f *Fault) Lock(name, holder string) (io.Closer, error) {
	if v := f.judge(OpLock, name); v.err != nil {
		return nil, v.err
	}
	return f.inner.Lock(name, holder)
}

// faultFile is a handle whose calls are judged.
type faultFile struct {
	f     *Fault
	inner File
	name  string
}

// dirtyDropper is a file that can lose its un-synced data as a failed sync does.
type dirtyDropper interface{ dropDirty() }

func (f *faultFile) ReadAt(p []byte, off int64) (int, error) {
	v := f.f.judge(OpRead, f.name)
	if v.err == nil {
		return f.inner.ReadAt(p, off)
	}
	n, err := f.inner.ReadAt(p[:min(v.short, len(p))], off)
	if err != nil && err != io.EOF {
		return n, err
	}
	return n, v.err
}

func (f *faultFile) WriteAt(p []byte, off int64) (int, error) {
	v := f.f.judge(OpWrite, f.name)
	switch {
	case v.lie:
		return len(p), nil
	case v.err == nil:
		return f.inner.WriteAt(p, off)
	case v.done:
		v.short = len(p)
	}
	n := 0
	if k := min(v.short, len(p)); k > 0 {
		var err error
		if n, err = f.inner.WriteAt(p[:k], off); err != nil {
			return n, err
		}
	}
	return n, v.err
}

func (f *faultFile) Truncate(size int64) error {
	return f.f.judge(OpTruncate, f.name).run(func() error { return f.inner.Truncate(size) })
}

func (f *faultFile) Preallocate(off, n int64) error {
	return f.f.judge(OpPreallocate, f.name).run(func() error { return f.inner.Preallocate(off, n) })
}

func (f *faultFile) Sync() error {
	v := f.f.judge(OpSync, f.name)
	if d, ok := f.inner.(dirtyDropper); ok && v.err != nil && !v.done {
		d.dropDirty()
	}
	return v.run(f.inner.Sync)
}

func (f *faultFile) Size() (int64, error) {
	if v := f.f.judge(OpSize, f.name); v.err != nil {
		return 0, v.err
	}
	return f.inner.Size()
}

// Witness is a call of the kind OpWitness.
func (f *faultFile) Witness() (io.Closer, error) {
	if v := f.f.judge(OpWitness, f.name); v.err != nil {
		return nil, v.err
	}
	return witness(f.inner)
}

// Close always closes the handle inside, as the operating system does.
func (f *faultFile) Close() error {
	v := f.f.judge(OpClose, f.name)
	if err := f.inner.Close(); err != nil {
		return err
	}
	return v.err
}

func (f *faultFile) SendTo(w io.Writer, off, n int64) (int64, error) {
	v := f.f.judge(OpSend, f.name)
	if v.err == nil {
		return sendVia(f.inner, w, off, n)
	}
	sent, err := sendVia(f.inner, w, off, min(int64(v.short), n))
	if err != nil {
		return sent, err
	}
	return sent, v.err
}

// dropDirty lets one Fault lie around another.
func (f *faultFile) dropDirty() {
	if d, ok := f.inner.(dirtyDropper); ok {
		d.dropDirty()
	}
}
