package index

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"sync/atomic"

	"github.com/quirelog/quire/internal/invariant"
	"github.com/quirelog/quire/log/vfs"
)

// Kind names one of a segment's three tables.
type Kind uint8

// The kinds of tables.
const (
	OffsetKind Kind = iota
	TimeKind
	AbortedKind
)

// Entry sizes in bytes.
const (
	OffsetEntrySize  = 8
	TimeEntrySize    = 12
	AbortedEntrySize = 34
)

// Width is the size of one entry in bytes.
func (k Kind) Width() int {
	switch k {
	case OffsetKind:
		return OffsetEntrySize
	case TimeKind:
		return TimeEntrySize
	default:
		return AbortedEntrySize
	}
}

// Home is what a table must know of the segment it belongs to. The path is asked for at each use, because a segment's files are renamed
// when it is about to be deleted or swapped in.
type Home interface {
	FS() vfs.FS
	IndexPath(k Kind) string
	BaseOffset() int64
	IndexBudget() *Budget
}

// Sum identifies the contents of a sealed table: length in bytes and CRC-32C (Castagnoli).
type Sum struct {
	Len int64
	CRC uint32
}

// SumOf is the Sum of some contents.
func SumOf(data []byte) Sum { return Sum{int64(len(data)), crc32.Checksum(data, castagnoli)} }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// firstEntries is how many entries the first array of an active table has room for; an empty one has none at all.
const firstEntries = 8

// block is entries in memory. Bytes below n are never written again (I2), so whoever loaded n may read them without a lock.
type block struct {
	n   atomic.Int64
	buf []byte

	books
	owner *Table
}

func (b *block) bytes() []byte { return b.buf[:b.n.Load()] }
func (b *block) size() int64   { return int64(len(b.buf)) }
func (b *block) drop()         { b.owner.block.CompareAndSwap(b, nil) }

// handle is an open index file.
type handle struct{ vfs.File }

// Table is what the three indexes share: entries of one width, in memory or in a file. It is made active and empty by init, or sealed by
// initSealed; it must not be copied.
type Table struct {
	home   Home
	block  atomic.Pointer[block]  // the entries; nil when active and empty, or sealed and not in memory
	sealed atomic.Pointer[Sum]    // nil while active
	file   atomic.Pointer[handle] // of a sealed table that is searched in its file; its bytes matched the Sum (I3)
	// flushed is how many bytes of an active table the file has; -1 when the file's contents are unknown. Only the writer uses it.
	flushed int64
	crc     uint32       // CRC-32C of those bytes
	misses  atomic.Int32 // searches in the file since the table was last in memory
	kind    Kind
}

func (t *Table) init(home Home, kind Kind) {
	t.home, t.kind, t.flushed = home, kind, -1
}

func (t *Table) initSealed(home Home, kind Kind, sum Sum) {
	t.init(home, kind)
	t.sealed.Store(&sum)
}

// Len is the number of entries.
func (t *Table) Len() int { return t.size() / t.kind.Width() }

// size is how many bytes the entries take.
func (t *Table) size() int {
	if b := t.block.Load(); b != nil {
		return int(b.n.Load())
	}
	if sum := t.sealed.Load(); sum != nil {
		return int(sum.Len)
	}
	if b := t.block.Load(); b != nil { // activated between the two looks
		return int(b.n.Load())
	}
	return 0
}

// Full reports whether another entry would make the table larger than limit bytes, with room kept for spare more.
func (t *Table) Full(limit, spare int) bool {
	return t.size()+(1+spare)*t.kind.Width() > limit
}

// Bytes is the entries of an active table in file format. The caller must not change them; later Adds do not change them either.
func (t *Table) Bytes() []byte {
	if b := t.block.Load(); b != nil {
		return b.bytes()
	}
	return nil
}

// add appends one entry to an active table.
func (t *Table) add(entry []byte) {
	invariant.Check(t.sealed.Load() == nil, "index: Add on a sealed table")
	b := t.block.Load()
	n := 0
	if b != nil {
		n = int(b.n.Load())
	}
	if b == nil || n+len(entry) > len(b.buf) {
		grown := &block{owner: t, buf: make([]byte, max(2*n, firstEntries*len(entry)))}
		if b != nil {
			copy(grown.buf, b.buf[:n])
		}
		copy(grown.buf[n:], entry)
		grown.n.Store(int64(n + len(entry)))
		t.block.Store(grown)
		return
	}
	copy(b.buf[n:], entry)
	b.n.Store(int64(n + len(entry)))
}

// set gives an active table these contents, which it owns from now on.
func (t *Table) set(data []byte) {
	if len(data) == 0 {
		t.block.Store(nil)
		return
	}
	b := &block{owner: t, buf: data}
	b.n.Store(int64(len(data)))
	t.block.Store(b)
}

// cut keeps the first n bytes of an active table. The array is copied, because readers may still look at the old one (I2).
func (t *Table) cut(n int64) {
	old := t.Bytes()
	if n >= int64(len(old)) {
		return
	}
	t.set(append([]byte(nil), old[:n]...))
	if t.flushed > n {
		t.flushed = -1
	}
}

// Flush makes the file of an active table hold all entries. It is created when there is an entry to write, or when create is set. Nothing is
// synced: an index is derived data.
func (t *Table) Flush(create bool) error {
	data := t.Bytes()
	if t.flushed == int64(len(data)) {
		return nil
	}
	f, err := t.openOrCreate(create || len(data) > 0)
	if f == nil || err != nil {
		return err
	}
	from := max(t.flushed, 0)
	err = writeTail(f, data, from, t.flushed < 0)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		t.flushed = -1
		return err
	}
	if t.flushed < 0 {
		t.crc = 0
	}
	t.crc = crc32.Update(t.crc, castagnoli, data[from:])
	t.flushed = int64(len(data))
	return nil
}

// Flushed describes what the file of an active table is known to hold; ok is false when its contents are unknown.
// Only for the writer.
func (t *Table) Flushed() (sum Sum, ok bool) {
	return Sum{max(t.flushed, 0), t.crc}, t.flushed >= 0 || t.Len() == 0
}

// writeTail writes data[from:] at its place; fresh says that the file may hold anything, also more than data.
func writeTail(f vfs.File, data []byte, from int64, fresh bool) error {
	if fresh {
		if err := f.Truncate(0); err != nil {
			return err
		}
	}
	if from == int64(len(data)) {
		return nil
	}
	_, err := f.WriteAt(data[from:], from)
	return err
}

// openOrCreate returns no file and no error when there is none and none is to be created.
func (t *Table) openOrCreate(create bool) (vfs.File, error) {
	path := t.home.IndexPath(t.kind)
	f, err := t.home.FS().Open(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	if !create {
		return nil, nil
	}
	return t.home.FS().Create(path)
}

// Sum is the identity of the present contents.
func (t *Table) Sum() Sum {
	if sum := t.sealed.Load(); sum != nil {
		return *sum
	}
	return SumOf(t.Bytes())
}

// Seal hands the memory of an active table, whose file Flush has brought up to date, to the budget.
func (t *Table) Seal() {
	if t.sealed.Load() != nil {
		return
	}
	data := t.Bytes()
	sum := SumOf(data)
	// The array grew geometrically; what a budget counts should be what is used.
	if len(data) > 0 {
		t.set(append(make([]byte, 0, len(data)), data...))
	}
	t.sealed.Store(&sum)
	if b := t.block.Load(); b != nil {
		t.home.IndexBudget().adopt(b)
	}
}

// Activate makes a sealed table active again, with all entries in memory. An error matches [ErrCorrupt] when the file is not what was
// sealed; the table stays sealed then.
func (t *Table) Activate() error {
	sum := t.sealed.Load()
	if sum == nil {
		return nil
	}
	b := t.block.Load()
	if b == nil && sum.Len > 0 {
		data, err := t.readFile(*sum)
		if err != nil {
			return err
		}
		b = &block{owner: t, buf: data}
		b.n.Store(sum.Len)
	}
	// Out of the books first, so that nobody evicts what becomes the active block. A reader may have admitted another one meanwhile.
	budget := t.home.IndexBudget()
	budget.release(b)
	if old := t.block.Swap(b); old != nil && old != b {
		budget.release(old)
	}
	// Block before sealed: a reader that finds neither looks for the block once more.
	t.sealed.Store(nil)
	t.flushed, t.crc = sum.Len, sum.CRC
	if sum.Len == 0 {
		t.flushed = -1 // the file may not exist
	}
	t.closeFile()
	return nil
}

// Replace gives the table rebuilt contents, which it owns from now on. A sealed table stays sealed and, if write is set, its file is replaced
// durably; an error says why the file stays as it is. The table then answers from memory as long as the budget leaves it there.
func (t *Table) Replace(data []byte, write bool) error {
	sum := SumOf(data)
	if t.sealed.Load() == nil {
		t.set(data)
		t.flushed = -1
		return nil
	}
	budget := t.home.IndexBudget()
	if old := t.block.Swap(nil); old != nil {
		budget.release(old)
	}
	t.closeFile()
	t.sealed.Store(&sum)
	if len(data) > 0 {
		b := &block{owner: t, buf: data}
		b.n.Store(sum.Len)
		budget.admit(b)
	}
	if !write {
		return nil
	}
	return vfs.WriteFile(t.home.FS(), t.home.IndexPath(t.kind), data)
}

// Preload gives a fresh active table the entries of its file that were found sound; the file is cut to them by the next Flush.
func (t *Table) Preload(data []byte) {
	t.set(append([]byte(nil), data...))
	t.flushed = -1
}

// Close drops what a sealed table has in memory and its open file. Entries of an active table that were not flushed are forgotten.
func (t *Table) Close() {
	if t.home == nil {
		return
	}
	if b := t.block.Swap(nil); b != nil && t.sealed.Load() != nil {
		t.home.IndexBudget().release(b)
	}
	t.closeFile()
}

func (t *Table) closeFile() {
	if h := t.file.Swap(nil); h != nil {
		_ = h.Close() // opened for reading only: nothing can be lost
	}
}

// readFile reads a sealed table and checks it (I3).
func (t *Table) readFile(sum Sum) ([]byte, error) {
	path := t.home.IndexPath(t.kind)
	data, err := vfs.ReadFile(t.home.FS(), path, sum.Len)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, vfs.ErrTooLarge):
		return nil, &CorruptError{path, err}
	case err != nil:
		return nil, err
	}
	if got := SumOf(data); got != sum {
		return nil, &CorruptError{path, fmt.Errorf("length %d crc %08x, sealed with %d %08x", got.Len, got.CRC, sum.Len, sum.CRC)}
	}
	return data, nil
}

// openChecked opens the file of a sealed table for searching, after comparing its contents with the Sum once (I3).
func (t *Table) openChecked(sum Sum) (vfs.File, error) {
	if h := t.file.Load(); h != nil {
		return h.File, nil
	}
	path := t.home.IndexPath(t.kind)
	f, err := t.home.FS().OpenRead(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &CorruptError{path, err}
	}
	if err != nil {
		return nil, err
	}
	if err := compare(f, path, sum); err != nil {
		_ = f.Close()
		return nil, err
	}
	h := &handle{f}
	if !t.file.CompareAndSwap(nil, h) {
		_ = f.Close()
		if h = t.file.Load(); h == nil {
			return nil, fs.ErrClosed
		}
	}
	return h.File, nil
}

// compare reads f through and compares it with sum.
func compare(f vfs.File, path string, sum Sum) error {
	size, err := f.Size()
	if err != nil {
		return err
	}
	if size != sum.Len {
		return &CorruptError{path, fmt.Errorf("length %d, sealed with %d", size, sum.Len)}
	}
	buf := make([]byte, min(sum.Len, 64<<10))
	var crc uint32
	for at := int64(0); at < size; {
		part := buf[:min(int64(len(buf)), size-at)]
		if n, err := f.ReadAt(part, at); n < len(part) {
			if err == io.EOF {
				err = &CorruptError{path, io.ErrUnexpectedEOF}
			}
			return err
		}
		crc = crc32.Update(crc, castagnoli, part)
		at += int64(len(part))
	}
	if crc != sum.CRC {
		return &CorruptError{path, fmt.Errorf("crc %08x, sealed with %08x", crc, sum.CRC)}
	}
	return nil
}
