package index

import (
	"encoding/binary"
	"io"

	"github.com/quirelog/quire/log/vfs"
)

// windowEntries is how many entries are read at once when a search in a file has come close.
const windowEntries = 256

// searchUnit is what one search in a file is taken to cost, in bytes of sequential reading: after size/searchUnit searches reading the
// whole table would have been as cheap.
const searchUnit = 64 << 10

// order is how a search sees entries: key reads the field that rises, floor finds the last entry with key at most target in entries in
// memory (-1: none). Both are plain functions, one pair per field; floor holds the loop, so nothing is called inside it.
type order struct {
	key   func(entry []byte) int64
	floor func(entries []byte, target int64) int
}

// entries returns a stretch of the table and the index in it of the last entry with key at most target, -1 if the table has none. In the
// second case the stretch starts with the table's first entry; always at least two entries follow the found one, if the table has them.
func (t *Table) entries(target int64, o order) (stretch []byte, at int, err error) {
	b := t.block.Load()
	if b != nil {
		b.use() // not by the look-up that reads it in: tables that are looked at once are the first to go
	}
	if b == nil {
		sum := t.sealed.Load()
		if sum == nil {
			b = t.block.Load() // activated between the two looks, or active and empty
		} else if sum.Len > 0 {
			if b, err = t.load(*sum); err != nil {
				return nil, -1, err
			}
			if b == nil {
				return t.searchFile(*sum, target, o)
			}
		}
	}
	if b == nil {
		return nil, -1, nil
	}
	stretch = b.bytes()
	return stretch, o.floor(stretch, target), nil
}

// load reads a sealed table into memory if the budget has room, or if it was searched in its file so often that others must make room. It
// returns nil and no error when it is to be searched in the file.
func (t *Table) load(sum Sum) (*block, error) {
	budget := t.home.IndexBudget()
	ever, roomy := budget.fits(sum.Len)
	if !ever || !roomy && int64(t.misses.Add(1))*searchUnit < sum.Len {
		return nil, nil
	}
	data, err := t.readFile(sum)
	if err != nil {
		return nil, err
	}
	t.misses.Store(0)
	b := &block{owner: t, buf: data}
	b.n.Store(sum.Len)
	if budget.admit(b) {
		t.closeFile()
	}
	return b, nil
}

// searchFile is entries on the file of a sealed table.
func (t *Table) searchFile(sum Sum, target int64, o order) ([]byte, int, error) {
	f, err := t.openChecked(sum)
	if err != nil {
		return nil, -1, err
	}
	width := int64(t.kind.Width())
	count := sum.Len / width
	lo, hi := int64(0), count // the wanted entry, if there is one, is in [lo, hi)
	var entry [AbortedEntrySize]byte
	for hi-lo > windowEntries {
		mid := lo + (hi-lo)/2
		if err := readFull(f, entry[:width], mid*width); err != nil {
			return nil, -1, err
		}
		if o.key(entry[:width]) <= target {
			lo = mid
		} else {
			hi = mid
		}
	}
	stretch := make([]byte, (min(hi+2, count)-lo)*width)
	if err := readFull(f, stretch, lo*width); err != nil {
		return nil, -1, err
	}
	return stretch, o.floor(stretch, target), nil
}

func readFull(f vfs.File, p []byte, at int64) error {
	n, err := f.ReadAt(p, at)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// floor32 finds the last entry of so many bytes whose int32 at byte shift is at most target.
func floor32(entries []byte, width, shift int, target int64) int {
	lo, hi := 0, len(entries)/width
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if int64(int32(binary.BigEndian.Uint32(entries[mid*width+shift:]))) <= target {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo - 1
}

// floor64 is floor32 for int64 fields.
func floor64(entries []byte, width, shift int, target int64) int {
	lo, hi := 0, len(entries)/width
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if int64(binary.BigEndian.Uint64(entries[mid*width+shift:])) <= target {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo - 1
}
