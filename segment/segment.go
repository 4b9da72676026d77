package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quirelog/quire/index"
	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/log/vfs"
)

// Segment is one data file with its indexes. See the package documentation for who may call what at once. A sealed segment touches no file
// before it is used.
type Segment struct {
	fs   vfs.FS
	dir  string
	cfg  *Config
	base int64

	file   atomic.Pointer[handle] // the open data file; nil until needed
	failed atomic.Pointer[syncFailure]
	pins   atomic.Int64 // number of pins; retiredBit is added when the segment is retired
	then   func()       // set before retiredBit, called by whoever drops the last pin

	// cuts counts truncations: a reader that finds nonsense looks whether the file was cut under it.
	cuts    atomic.Uint32
	marked  atomic.Uint32 // Kind: the mark that the files carry
	sealed  atomic.Bool   // a side file describes the segment, or could; Unseal before appending
	closed  atomic.Bool
	checked atomic.Bool  // the headers of a sparse segment were compared with their sum
	limit   atomic.Int64 // no batch ends behind it; 0: as far as the entries of indexes reach
	stray   atomic.Bool  // an index entry was found to be wrong; the indexes are made again at the next occasion

	// mu guards facts. It is never held during I/O: readers take it.
	mu    sync.Mutex
	facts facts

	// repair is held while a sealed segment reads its side file or makes its indexes again. Writers of an active segment never take it.
	repair bounded.Mutex

	// Of the writer.
	ahead     int64 // the file is written with zeros up to here
	unindexed int64 // bytes since the start of the last indexed batch
	torn      error // why the end of the file is unknown
	spare     *handle

	indexed        atomic.Pointer[IndexSums] // what the active index files hold; nil if that is not known
	recordsIndexed atomic.Bool               // there may be record indexes
	own            atomic.Pointer[index.Budget]
	mapping        atomic.Uint64 // the segment's name among index.BatchPositions; 0 before the first is noted
	recent         recent        // what was written last, while a reader follows
	offsets        index.Offsets
	times          index.Times
	aborted        index.Aborted
	abortedInvalid atomic.Bool // aborted may lack entries
}

// handle is an open data file.
type handle struct {
	vfs.File
	writable bool
}

// syncFailure is the first error of a Sync.
type syncFailure struct{ err error }

// home is what the indexes see of their segment.
type home Segment

func (h *home) FS() vfs.FS                 { return h.fs }
func (h *home) BaseOffset() int64          { return h.base }
func (h *home) IndexBudget() *index.Budget { return h.cfg.Budget }
func (h *home) IndexPath(k index.Kind) string {
	s := (*Segment)(h)
	return s.path(tableFile(k), s.mark())
}

func newSegment(fsys vfs.FS, dir string, base int64, cfg *Config) *Segment {
	s := &Segment{fs: fsys, dir: dir, cfg: cfg, base: base}
	s.facts.next = base
	s.initTables()
	return s
}

func (s *Segment) initTables() {
	s.offsets.Init((*home)(s))
	s.times.Init((*home)(s))
	s.aborted.Init((*home)(s))
}

// Create makes the empty segment at base in dir and returns it active. Leftover index and side files of that base are removed; a data file
// that is not empty is an error that matches fs.ErrExist. The directory entry is not durable yet: SyncDir before the first append is
// acknowledged.
func Create(fsys vfs.FS, dir string, base int64, cfg *Config) (*Segment, error) {
	return CreateMarked(fsys, dir, base, 0, cfg)
}

// CreateMarked is Create for a segment that is built aside: its files carry mark, [Cleaned] or [Swap], until Rename.
func CreateMarked(fsys vfs.FS, dir string, base int64, mark Kind, cfg *Config) (*Segment, error) {
	if base < 0 {
		return nil, fmt.Errorf("%w: base offset %d", ErrInvalid, base)
	}
	s := newSegment(fsys, dir, base, cfg)
	s.marked.Store(uint32(mark.Mark()))
	f, err := s.createData()
	if err != nil {
		return nil, err
	}
	for _, k := range family() {
		if k == KindLog {
			continue
		}
		if err := fsys.Remove(s.path(k, s.mark())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			_ = f.Close()
			return nil, err
		}
	}
	s.facts = newFacts(base, time.Now().UnixMilli())
	s.file.Store(&handle{f, true})
	return s, nil
}

// createData makes the data file, or takes an empty one that a crash left behind.
func (s *Segment) createData() (vfs.File, error) {
	path := s.path(KindLog, s.mark())
	f, err := s.fs.Create(path)
	if !errors.Is(err, fs.ErrExist) {
		return f, err
	}
	exists := err
	if f, err = s.fs.Open(path); err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err == nil && size > 0 {
		err = exists
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// OpenSealed returns the sealed segment at base without touching a file; next is the base of the segment behind it. Everything else is read
// from the side file when first asked for. Without a valid side file (Kafka writes none) the data is read once and the side file and the
// indexes are made again.
func OpenSealed(fsys vfs.FS, dir string, base, next int64, cfg *Config) *Segment {
	s := newSegment(fsys, dir, base, cfg)
	s.facts.next = next
	if next > base {
		s.limit.Store(next)
	}
	s.sealed.Store(true)
	return s
}

// OpenActive opens the last segment of a log after a clean stop. It trusts the side file and reads nothing else; ErrNoSide if there is none
// or it does not fit: then Recover. Nothing is changed. Unseal before the first append.
func OpenActive(fsys vfs.FS, dir string, base int64, cfg *Config) (*Segment, error) {
	s := newSegment(fsys, dir, base, cfg)
	s.sealed.Store(true)
	side, err := readSide(fsys, s.path(KindSums, 0))
	if err != nil {
		return nil, err
	}
	info, err := fsys.Stat(s.path(KindLog, 0))
	if err != nil {
		return nil, err
	}
	if side.base != base || side.facts.size != info.Size {
		return nil, fmt.Errorf("%w: %s: written for %d bytes, the file has %d", ErrNoSide, s.path(KindSums, 0), side.facts.size, info.Size)
	}
	s.install(side)
	return s, nil
}

// install takes over what a side file says.
func (s *Segment) install(side *side) {
	home := (*home)(s)
	s.offsets.InitSealed(home, side.tables[index.OffsetKind])
	s.times.InitSealed(home, side.tables[index.TimeKind])
	s.aborted.InitSealed(home, side.tables[index.AbortedKind])
	offsets, times := side.tables[index.OffsetKind], side.tables[index.TimeKind]
	s.indexed.Store(&IndexSums{offsets.Len, times.Len, offsets.CRC, times.CRC})
	s.ahead = side.facts.size
	s.limit.Store(max(side.facts.next, side.facts.reach))
	s.mu.Lock()
	s.facts = side.facts
	s.facts.loaded = true
	s.mu.Unlock()
}

// Base is the base offset.
func (s *Segment) Base() int64 { return s.base }

// Next is the offset after the last batch. In a sealed segment that was not used yet it is the base of the following segment.
func (s *Segment) Next() int64 { return s.look().next }

// Size is the number of bytes of batches. It may read the side file; 0 if that fails.
func (s *Segment) Size() int64 { return s.loadedLook().size }

// Tip is Next and Size of an active segment, for its writer only: it takes no lock.
func (s *Segment) Tip() (next, size int64) { return s.facts.next, s.facts.size }

// MaxTimestamp is the largest timestamp, ms since the epoch, and the last offset of the first batch that has it; (-1, base) if there is
// none. It may read the side file.
func (s *Segment) MaxTimestamp() (timestamp, offset int64) {
	f := s.loadedLook()
	if !f.loaded {
		return -1, s.base
	}
	return f.maxTimestamp, f.maxOffset
}

// FirstTimestamp is the largest timestamp of the first batch, -1 if none. It may read the side file.
func (s *Segment) FirstTimestamp() int64 {
	f := s.loadedLook()
	if !f.loaded {
		return -1
	}
	return f.firstTimestamp
}

// LastEpoch is the leader epoch of the last batch, -1 if none. It may read the side file.
func (s *Segment) LastEpoch() int32 {
	f := s.loadedLook()
	if !f.loaded {
		return -1
	}
	return f.lastEpoch
}

// Created is when the data file was created or, if that is not known, opened. It may read the side file.
func (s *Segment) Created() time.Time { return time.UnixMilli(s.loadedLook().created) }

// Sparse reports whether offsets may have gaps. It may read the side file.
func (s *Segment) Sparse() bool { return s.loadedLook().sparse }

// Reach is the offset at which the log goes on behind a sealed segment, as its side file says; -1 if that is not known. It may read the
// side file.
func (s *Segment) Reach() int64 {
	f := s.loadedLook()
	if !f.loaded {
		return unknownReach
	}
	return f.reach
}

// MarkSparse says that offsets may have gaps, as after compaction. An append that leaves a gap says so by itself.
func (s *Segment) MarkSparse() {
	s.mu.Lock()
	s.facts.sparse = true
	s.mu.Unlock()
}

// Path is where the data file lies at present.
func (s *Segment) Path() string { return s.path(KindLog, s.mark()) }

func (s *Segment) look() facts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.facts
}

func (s *Segment) loadedLook() facts {
	f := s.look()
	if !f.loaded && s.Load() == nil {
		f = s.look()
	}
	return f
}

// data returns the open data file, opening it if need be.
func (s *Segment) data() (vfs.File, error) {
	if h := s.file.Load(); h != nil {
		return h.File, nil
	}
	h, err := s.openData(!s.sealed.Load())
	if err != nil {
		return nil, err
	}
	if !s.file.CompareAndSwap(nil, h) {
		_ = h.Close()
		return s.data()
	}
	if s.closed.Load() { // closed between the look and the swap: Close has not seen the file
		if h := s.file.Swap(nil); h != nil {
			_ = h.Close()
		}
		return nil, ErrClosed
	}
	return h.File, nil
}

// openData opens the data file under its present name. A pinned reader may come when the files have just been marked deleted.
func (s *Segment) openData(writable bool) (*handle, error) {
	if s.closed.Load() {
		return nil, ErrClosed
	}
	open := s.fs.OpenRead
	if writable {
		open = s.fs.Open
	}
	f, err := open(s.path(KindLog, s.mark()))
	if writable && errors.Is(err, vfs.ErrReadOnly) {
		open, writable = s.fs.OpenRead, false
		f, err = open(s.path(KindLog, s.mark()))
	}
	if errors.Is(err, fs.ErrNotExist) {
		if g, e := open(s.path(KindLog, Deleted)); e == nil {
			f, err = g, nil
		}
	}
	if err != nil {
		return nil, err
	}
	return &handle{f, writable}, nil
}

// Close closes the files. What was appended but not synced is the disk's business; Seal or Freeze first for a clean stop. Reads that come
// later fail with ErrClosed. Close is idempotent.
func (s *Segment) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	var err error
	if h := s.file.Swap(nil); h != nil {
		err = h.Close()
	}
	if s.spare != nil {
		err = errors.Join(err, s.spare.Close())
		s.spare = nil
	}
	s.recent.forget()
	s.offsets.Close()
	s.times.Close()
	s.aborted.Close()
	return err
}
