package catalog

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/vfs"
)

// Names of files in an engine's directory.
const (
	// File is the newest snapshot.
	File = "quire.manifest"
	// PrevFile is the snapshot before.
	PrevFile = File + ".prev"

	tempFile      = File + ".tmp"
	journalSuffix = ".journal"
	damagedSuffix = ".damaged"
)

// JournalFile is the name of the journal of the changes since the snapshot of a generation.
func JournalFile(generation uint64) string {
	return File + "." + strconv.FormatUint(generation, 10) + journalSuffix
}

// ParseJournalFile is the inverse of JournalFile.
func ParseJournalFile(name string) (generation uint64, ok bool) {
	text, ok := strings.CutPrefix(name, File+".")
	if !ok {
		return 0, false
	}
	if text, ok = strings.CutSuffix(text, journalSuffix); !ok {
		return 0, false
	}
	generation, err := strconv.ParseUint(text, 10, 64)
	return generation, err == nil && JournalFile(generation) == name
}

func isJournal(name string) bool {
	_, is := ParseJournalFile(name)
	return is
}

// Found is what a directory says of its topics.
type Found struct {
	// Manifest is the catalog with all its changes. It is the caller's to change before Start.
	Manifest *Manifest
	// Exists tells that there was a manifest.
	Exists bool
	// Doubtful tells that changes may be missing: the copies in the partitions' directories may know more.
	Doubtful bool
	// Unended tells that no orderly stop was the last: a journal that was cut ends as one that a crash left. The copies tell whether it was.
	Unended bool
	// Uncopied tells that the manifest is of a format that kept no copies in the partitions' directories.
	Uncopied bool
	// Degraded tells which files were damaged and could be done without, or were left out because the caller asked for that.
	Degraded error

	next    uint64   // a generation above all that were seen
	current bool     // the journal of the newest snapshot can be gone on with
	damaged []string // files that are to be moved out of the way, snapshots first
	journal uint64   // whose journal that is
	end     int64    // where its sound lines end
	closed  bool     // an orderly stop was the last
	size    int64    // of the newest snapshot
}

// loadAttempts bounds how often Load begins anew because a writer beside it made a new snapshot.
const loadAttempts = 100

// Load reads what a directory says; it may run beside a writer. With damage that takes changes away the error matches log.ErrCorrupt, unless
// rebuild: then it gives what can be read. A newer format is always ErrNewerFormat.
func Load(fsys vfs.FS, dir string, check Check, rebuild bool) (*Found, error) {
	for attempt := 1; ; attempt++ {
		l := &loader{fs: fsys, dir: dir, check: check, found: &Found{}}
		if err := l.read(); err != nil {
			return nil, err
		}
		f, err := l.load(rebuild)
		if err == nil && f.Degraded == nil || attempt == loadAttempts || !l.overtaken() {
			return f, err
		}
	}
}

func (l *loader) load(rebuild bool) (*Found, error) {
	base, faults := l.choose()
	st, lost := l.replay(base)
	f := l.found
	for _, j := range l.journals {
		if j.damage != nil {
			f.damaged = append(f.damaged, JournalFile(j.base))
		}
	}
	f.Manifest = st.manifest()
	f.next = max(f.next, st.generation) + 1
	f.Degraded = errors.Join(l.faults...)
	switch {
	case base == nil && len(l.faults) == 0 && len(l.journals) == 0: // a directory without a catalog
		return f, nil
	case base == nil && !f.Exists: // its snapshots are gone
		f.Doubtful = true
		f.Degraded = fmt.Errorf("topic: %s: the snapshots of the manifest are missing", l.dir)
		return f, nil
	}
	if lost = errors.Join(faults, lost); lost != nil {
		if !rebuild {
			return nil, errors.Join(append(l.faults, lost)...)
		}
		f.Doubtful, f.Degraded = true, errors.Join(f.Degraded, lost)
	}
	f.current = f.current && f.Degraded == nil
	f.Unended = !f.current || !f.closed
	return f, nil
}

// overtaken tells that the journals are not those that were read any more.
func (l *loader) overtaken() bool {
	names, err := l.fs.List(l.dir)
	if err != nil {
		return false
	}
	return !slices.Equal(l.names, journalsAmong(names))
}

func journalsAmong(names []string) (list []string) {
	for _, name := range names {
		if isJournal(name) {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// loader is a Load in progress.
type loader struct {
	fs        vfs.FS
	dir       string
	check     Check
	found     *Found
	snapshots []*Manifest // of File and PrevFile; nil for one that cannot be read
	names     []string    // of the journals
	journals  []based
	faults    []error
}

// based is the journal of a snapshot.
type based struct {
	base uint64
	size int64
	journal
}

// read reads all files of the catalog.
func (l *loader) read() error {
	names, err := l.fs.List(l.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, name := range []string{File, PrevFile} {
		m, size, err := readSnapshot(l.fs, filepath.Join(l.dir, name), l.check)
		if name == File {
			l.found.size = size
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, log.ErrCorrupt):
			l.found.Exists = true
			l.found.damaged = append(l.found.damaged, name)
			l.faults = append(l.faults, err)
		case err != nil:
			return err
		default:
			l.found.Exists = true
			l.found.next = max(l.found.next, m.Generation)
		}
		l.snapshots = append(l.snapshots, m)
	}
	l.names = journalsAmong(names)
	for _, name := range l.names {
		data, err := vfs.ReadFile(l.fs, filepath.Join(l.dir, name), MaxBytes)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a writer has a new snapshot
		}
		if err != nil {
			return err
		}
		base, _ := ParseJournalFile(name)
		j := based{base: base, size: int64(len(data)), journal: parseJournal(data, l.check)}
		for _, line := range j.lines {
			l.found.next = max(l.found.next, line.Generation)
		}
		l.journals = append(l.journals, j)
	}
	slices.SortFunc(l.journals, func(a, b based) int { return cmp.Compare(a.base, b.base) })
	return nil
}

func readSnapshot(fsys vfs.FS, path string, check Check) (m *Manifest, size int64, err error) {
	data, err := vfs.ReadFile(fsys, path, MaxBytes)
	if errors.Is(err, vfs.ErrTooLarge) {
		return nil, 0, fmt.Errorf("%w: %w", log.ErrCorrupt, err)
	}
	if err != nil {
		return nil, 0, err
	}
	if m, err = Decode(data, check); err != nil {
		return nil, 0, fmt.Errorf("topic: %s: %w", path, err)
	}
	return m, int64(len(data)), nil
}

// choose gives the newest snapshot that can be read, nil when there is none, and what is lost with the others.
func (l *loader) choose() (*Manifest, error) {
	newest, prev := l.snapshots[0], l.snapshots[1]
	chosen := newest
	if newest == nil || prev != nil && prev.Generation > newest.Generation {
		chosen = prev
	}
	switch {
	case chosen == nil && l.found.Exists:
		return nil, fmt.Errorf("%w: %s: no snapshot of the manifest can be read", log.ErrCorrupt, l.dir)
	case chosen == nil:
		return nil, nil
	case chosen.Format == 1:
		// Without a journal nothing tells what the other generation knew.
		l.found.Doubtful, l.found.Uncopied = chosen != newest, true
		return chosen, nil
	}
	own, has := slices.BinarySearchFunc(l.journals, chosen.Generation, func(j based, g uint64) int { return cmp.Compare(j.base, g) })
	if !has {
		return chosen, fmt.Errorf("%w: %s is missing in %s", log.ErrCorrupt, JournalFile(chosen.Generation), l.dir)
	}
	j := &l.journals[own]
	l.found.current = chosen == newest
	l.found.journal, l.found.end = j.base, j.end
	l.found.closed = j.size == j.end && len(j.lines) > 0 && j.lines[len(j.lines)-1].Closed
	return chosen, nil
}

// replay makes the changes since the snapshot; lost tells of those that are missing between others, which are made all the same.
func (l *loader) replay(base *Manifest) (st *state, lost error) {
	if base == nil {
		base = &Manifest{}
	}
	st = newState(base)
	for _, j := range l.journals {
		for _, line := range j.lines {
			if line.Generation <= st.generation {
				continue
			}
			if line.Generation != st.generation+1 && lost == nil {
				lost = fmt.Errorf("%w: %s in %s: changes %d to %d of the manifest cannot be read", log.ErrCorrupt,
					JournalFile(j.base), l.dir, st.generation+1, line.Generation-1)
				lost = errors.Join(lost, j.damage)
			}
			l.found.current = l.found.current && j.base == l.found.journal
			st.apply(line)
		}
	}
	return st, lost
}

// Faults is what is wrong with the files of a catalog, by the files' names. stopped tells that the engine was stopped in order: then no line was
// cut off by a crash.
func Faults(fsys vfs.FS, dir string, check Check, stopped bool) (map[string]error, error) {
	l := &loader{fs: fsys, dir: dir, check: check, found: &Found{}}
	if err := l.read(); err != nil {
		return nil, err
	}
	faults := map[string]error{}
	for i, name := range l.found.damaged {
		faults[name] = l.faults[i]
	}
	base, missing := l.choose()
	if base != nil && missing != nil {
		faults[JournalFile(base.Generation)] = missing
	}
	for _, j := range l.journals {
		switch {
		case j.damage != nil:
			faults[JournalFile(j.base)] = j.damage
		case stopped && j.size > j.end:
			faults[JournalFile(j.base)] = fmt.Errorf("%w: bytes [%d, %d) are no line", log.ErrCorrupt, j.end, j.size)
		}
	}
	if _, lost := l.replay(base); base != nil && lost != nil && len(faults) == 0 {
		faults[File] = lost
	}
	return faults, nil
}
