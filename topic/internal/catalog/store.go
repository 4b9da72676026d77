package catalog

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/vfs"
)

// leastJournal is what a journal may hold before a new snapshot is worth it, however small the snapshot is.
const leastJournal = 256 << 10

// Store is the catalog of an engine that changes it. All methods may be called at once.
type Store struct {
	fs   vfs.FS
	dir  string
	room func() bool // makes room on a full disk; false when it cannot

	mu      sync.Mutex
	st      *state
	waiting []*commit
	writing bool  // a caller leads
	closed  bool  // no more changes
	fault   error // why it is not known what is on disk

	// What follows belongs to the caller that leads.
	base  uint64 // of the journal
	size  int64  // of the journal's lines
	limit int64  // size at which a new snapshot is made
	ended bool   // the journal ends with an orderly stop
	// lines is what a snapshot says of each topic, encoded when it is changed, not when the snapshot is made.
	lines map[string]encoded
}

// encoded is an entry's line of a snapshot.
type encoded struct {
	entry *Topic
	line  []byte
}

// commit is one caller's changes.
type commit struct {
	line Line
	lead chan bool // true: the caller leads now; false: err is set
	err  error
}

// Start goes on with what Load found; changed says that the caller changed the manifest. What is not in today's form, or was damaged, is written
// anew. room is called when the disk is full and a change would make room on it.
func Start(fsys vfs.FS, dir string, found *Found, changed bool, room func() bool) (*Store, error) {
	s := &Store{fs: fsys, dir: dir, room: room, st: newState(found.Manifest), lines: map[string]encoded{}}
	s.encode(slices.Collect(maps.Values(s.st.topics)))
	if found.current && !changed && len(found.damaged) == 0 {
		s.base, s.size, s.limit = found.journal, found.end, max(leastJournal, found.size)
		s.ended = found.closed
		return s, s.cut()
	}
	// The place of a damaged snapshot is needed; nothing can be read of it.
	snapshots := slices.DeleteFunc(slices.Clone(found.damaged), isJournal)
	if err := setAside(fsys, dir, snapshots); err != nil {
		return nil, err
	}
	next := found.next
	for _, e := range found.Manifest.Topics { // one taken from a copy may have been changed by a line that is lost
		next = max(next, e.Changed+1)
	}
	return s, s.rewrite(next, found.damaged[len(snapshots):])
}

// cut removes a line that was cut off. After a stop that was not orderly it writes those in front of it again and makes them durable: they may be in
// the page cache only, and after a sync that failed a later one does not write them.
func (s *Store) cut() error {
	f, err := s.fs.Open(s.path())
	if err != nil {
		return err
	}
	size, err := f.Size()
	if err == nil && size > s.size {
		err = f.Truncate(s.size)
	}
	if err == nil && !s.ended {
		err = writeAgain(f, s.size)
	}
	if err == nil && (size > s.size || !s.ended) {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// writeAgain writes the first size bytes of a file in place.
func writeAgain(f vfs.File, size int64) error {
	data := make([]byte, size)
	if n, err := f.ReadAt(data, 0); n < len(data) {
		return err
	}
	_, err := f.WriteAt(data, 0)
	return err
}

func (s *Store) path() string { return filepath.Join(s.dir, JournalFile(s.base)) }

// rewrite makes both snapshots anew, at a generation above all that any file speaks of. Damaged journals are set aside then.
func (s *Store) rewrite(generation uint64, damaged []string) error {
	s.mu.Lock()
	m := s.st.manifest()
	s.mu.Unlock()
	m.Generation = generation
	size, err := write(s.fs, s.dir, m, damaged)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.st.generation = generation
	s.mu.Unlock()
	s.base, s.size, s.ended, s.limit = generation, 0, false, max(leastJournal, size)
	return nil
}

// Topic is a topic's entry.
func (s *Store) Topic(name string) (e Topic, found bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.st.topics[name]; p != nil {
		return *p, true
	}
	return Topic{}, false
}

// Manifest is the whole catalog at this moment.
func (s *Store) Manifest() *Manifest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.st.manifest()
}

// NextProducerID is the first producer id that is not handed out; 0: none was.
func (s *Store) NextProducerID() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.st.nextProducerID
}

// Fault tells why it is not known what is on disk; nil when it is known.
func (s *Store) Fault() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault
}

// Commit makes changes together, durably: all of them or none. Changes of callers that come at once share a write and a sync. After an error that
// matches log.ErrUncertain it is not known what is on disk, and nothing more can be changed; after any other nothing was.
func (s *Store) Commit(changes ...Change) error {
	return s.commit(&commit{line: Line{Changes: changes}, lead: make(chan bool, 1)})
}

// Close waits for the changes under way, refuses later ones and ends the journal, so that it is known to be complete. A journal that cannot be
// ended is one that a crash left.
func (s *Store) Close() {
	_ = s.commit(&commit{line: Line{Closed: true}, lead: make(chan bool, 1)})
}

func (s *Store) commit(c *commit) error {
	s.mu.Lock()
	if s.closed && s.fault == nil {
		s.mu.Unlock()
		return log.ErrClosed
	}
	s.closed = c.line.Closed
	s.waiting = append(s.waiting, c)
	leads := !s.writing
	s.writing = true
	s.mu.Unlock()
	if leads || <-c.lead {
		s.lead(c)
	}
	return c.err
}

// lead writes the changes of all who wait, c among them, and hands over to the next.
func (s *Store) lead(c *commit) {
	s.mu.Lock()
	group := s.waiting
	s.waiting = nil
	s.mu.Unlock()
	s.write(group)
	for _, other := range group {
		if other != c {
			other.lead <- false
		}
	}
	if s.size > s.limit {
		s.fold()
	}
	s.mu.Lock()
	var next *commit
	if s.writing = len(s.waiting) > 0; s.writing {
		next = s.waiting[0]
	}
	s.mu.Unlock()
	if next != nil {
		next.lead <- true
	}
}

// write writes the changes of a group as one line, or each for itself if there is no room for all of them; an end is a line of its own.
func (s *Store) write(group []*commit) {
	if last := len(group) - 1; last > 0 && group[last].line.Closed { // what stands in front of an end is on disk
		s.write(group[:last])
		group = group[last:]
	}
	var all Line
	for _, c := range group {
		all.Changes = append(all.Changes, c.line.Changes...)
		all.Closed = c.line.Closed
	}
	err := s.append(&all)
	if len(group) > 1 && vfs.IsNoSpace(err) {
		for _, c := range group {
			c.err = s.append(&c.line)
		}
		return
	}
	for _, c := range group {
		c.err = err
	}
}

// append writes one line and, when it is durable, makes its changes.
func (s *Store) append(l *Line) error {
	err := s.tryAppend(l)
	for vfs.IsNoSpace(err) && l.makesRoom() && s.makeRoom() {
		err = s.tryAppend(l)
	}
	return err
}

func (s *Store) tryAppend(l *Line) error {
	s.mu.Lock()
	l.Generation = s.st.generation + 1
	fault := s.fault
	s.mu.Unlock()
	if fault != nil || l.Closed && len(l.Changes) == 0 && s.ended {
		return fault
	}
	data, err := l.encode()
	if err == nil {
		err = s.put(data)
	}
	if err != nil {
		if l.Closed {
			s.unend()
		}
		return fmt.Errorf("topic: manifest not written: %w", err)
	}
	s.size += int64(len(data))
	s.ended = l.Closed
	s.encode(s.apply(l))
	return nil
}

// apply makes the changes of a line that is durable, and gives the entries that it changed.
func (s *Store) apply(l *Line) []*Topic {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.st.apply(l)
	return s.st.touched(l)
}

// encode sees that there are lines of these entries. One that cannot be encoded is left to the snapshot, which fails for it.
func (s *Store) encode(entries []*Topic) {
	for _, e := range entries {
		if line, err := e.encode(); err == nil {
			s.lines[e.Name] = encoded{e, line}
		}
	}
}

// snapshot gives the bytes of a new snapshot, and its generation.
func (s *Store) snapshot() (generation uint64, data []byte, err error) {
	s.mu.Lock()
	generation, next := s.st.generation, s.st.nextProducerID
	entries := slices.Collect(maps.Values(s.st.topics))
	s.mu.Unlock()
	fresh, lines := make(map[string]encoded, len(entries)), make([][]byte, len(entries))
	for i, e := range sorted(entries) {
		have := s.lines[e.Name]
		if have.entry != e {
			if have.line, err = e.encode(); err != nil {
				return 0, nil, err
			}
		}
		fresh[e.Name], lines[i] = encoded{e, have.line}, have.line
	}
	s.lines = fresh // without those of topics that are gone
	return generation, snapshot(generation, next, lines), nil
}

// unend takes an end back whose sync failed, as far as the disk lets it: the next program would take the journal, of which only the page cache
// may have the last lines, for one that is on disk.
func (s *Store) unend() {
	if f, err := s.fs.Open(s.path()); err == nil {
		_ = f.Truncate(s.size)
		_ = f.Close()
	}
}

// put writes a line at the journal's end and syncs it. What fails is taken back; when that cannot be done either, the outcome is not known.
func (s *Store) put(data []byte) error {
	f, err := s.fs.Open(s.path())
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // what counts was synced
	if _, err = f.WriteAt(data, s.size); err != nil {
		if e := f.Truncate(s.size); e != nil {
			return s.abandon(errors.Join(err, e))
		}
		return err
	}
	if err = f.Sync(); err != nil {
		return s.abandon(err)
	}
	return nil
}

// abandon gives up a journal of which it is not known what is on disk: a new snapshot, two generations on, makes its last line void.
func (s *Store) abandon(cause error) error {
	s.mu.Lock()
	generation := s.st.generation + 2
	s.mu.Unlock()
	err := s.rewrite(generation, nil)
	if err == nil {
		return cause
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fmt.Errorf("topic: manifest: %w: %w", log.ErrUncertain, errors.Join(cause, err))
	return s.fault
}

// makesRoom tells a line that lets files be removed.
func (l *Line) makesRoom() bool {
	return slices.ContainsFunc(l.Changes, func(c Change) bool { return c.Delete != "" || c.Drop != "" })
}

// makeRoom gives up what can be spared on a full disk: first the engine's reserve, then the previous snapshot, provided that the newest
// one can be read.
func (s *Store) makeRoom() bool {
	if s.room() {
		return true
	}
	if _, _, err := readSnapshot(s.fs, filepath.Join(s.dir, File), func(*Topic) error { return nil }); err != nil {
		return false
	}
	sweep(s.fs, s.dir, s.base)
	return s.fs.Remove(filepath.Join(s.dir, PrevFile)) == nil
}

// fold makes a new snapshot and begins a new journal. When that fails the journal goes on: whichever snapshot is in place, the lines behind it are
// found.
func (s *Store) fold() {
	generation, data, err := s.snapshot()
	if err == nil {
		err = putSnapshot(s.fs, s.dir, generation, data)
	}
	if err != nil {
		s.limit = 2 * s.size
		return
	}
	sweep(s.fs, s.dir, s.base, generation)
	s.base, s.size, s.ended, s.limit = generation, 0, false, max(leastJournal, int64(len(data)))
}
