package segment

import (
	"cmp"
	"errors"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/quirelog/quire/index"
	"github.com/quirelog/quire/log/vfs"
)

// FinishSwap finishes what a crash interrupted among the segment files of a directory, given its names: files marked .deleted and .tmp go, and what else is left of a segment whose data file is marked .deleted;
// .cleaned files go, and with them .swap files at or above the smallest of them (their set was not complete); what is left of .swap is
// complete and takes the place of the segment files in its range of offsets. It returns the names that remain. Names that are not ours are
// not touched, nor are directories of whatever name. The directory is synced between the steps and at the end if anything changed; FinishSwap is
// idempotent.
//
// It relies on the order of a swap, each step durable before the next: the new files complete under .cleaned; .swap; the old ones .deleted;
// the new ones in their place. Within a step a power cut may leave any of its renames undone.
func FinishSwap(fsys vfs.FS, dir string, names []string) ([]string, error) {
	interrupted := slices.ContainsFunc(names, func(name string) bool {
		_, kind, ok := parseMarked(name)
		return ok && kind.Mark() != 0
	})
	if !interrupted {
		return names, nil
	}
	t := &swapFinisher{fs: fsys, dir: dir}
	for _, name := range names {
		if base, kind, ok := parseMarked(name); ok && !t.isDir(name) {
			t.files = append(t.files, swapFile{name, base, kind})
		}
	}
	if err := t.run(); err != nil {
		return nil, err
	}
	return fsys.List(dir)
}

// Swapping tells whether a swap was under way among these names: then other files than those without a mark may be what counts, and [FinishSwap]
// says which.
func Swapping(names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		_, kind, ok := ParseName(name)
		return ok && kind.Mark() == Swap
	})
}

// parseMarked is ParseName that also knows the temporary file of a marked one, such as <base>.sums.cleaned.tmp.
func parseMarked(name string) (int64, Kind, bool) {
	if base, kind, ok := ParseName(name); ok {
		return base, kind, true
	}
	inner, found := strings.CutSuffix(name, Temp.markSuffix())
	if !found {
		return 0, 0, false
	}
	base, kind, ok := ParseName(inner)
	return base, kind.File() | Temp, ok
}

type swapFile struct {
	name string
	base int64
	kind Kind
}

type swapFinisher struct {
	fs    vfs.FS
	dir   string
	files []swapFile
}

func (t *swapFinisher) isDir(name string) bool {
	info, err := t.fs.Stat(filepath.Join(t.dir, name))
	return err == nil && info.IsDir
}

func (t *swapFinisher) run() error {
	// After a killed process the names seen need not be on disk: first they must be, then something may go because of them.
	if err := t.fs.SyncDir(t.dir); err != nil {
		return err
	}
	cleaned := int64(math.MaxInt64)
	for _, f := range t.files {
		if f.kind.Mark() == Cleaned {
			cleaned = min(cleaned, f.base)
		}
	}
	has := t.index()
	steps := []func(f swapFile) bool{
		has.orphan,
		func(f swapFile) bool { return f.kind.Mark() == Deleted || f.kind.Mark() == Temp },
		func(f swapFile) bool { return f.kind.Mark() == Swap && f.base >= cleaned },
		func(f swapFile) bool { return f.kind.Mark() == Cleaned },
	}
	for _, goes := range steps {
		if err := t.remove(goes); err != nil {
			return err
		}
	}
	r, err := t.findReplaced()
	if err != nil {
		return err
	}
	if err := t.remove(r.goes); err != nil {
		return err
	}
	return t.swapIn()
}

// remove removes the files for which goes holds and syncs the directory if there were any.
func (t *swapFinisher) remove(goes func(f swapFile) bool) error {
	kept := t.files[:0:0]
	for _, f := range t.files {
		if !goes(f) {
			kept = append(kept, f)
			continue
		}
		if err := t.fs.Remove(filepath.Join(t.dir, f.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if len(kept) == len(t.files) {
		return nil
	}
	t.files = kept
	return t.fs.SyncDir(t.dir)
}

// index is which files there are.
func (t *swapFinisher) index() fileSet {
	set := fileSet{}
	for _, f := range t.files {
		set[fileID{f.base, f.kind}] = true
	}
	return set
}

type fileSet map[fileID]bool

type fileID struct {
	base int64
	kind Kind
}

// orphan tells an unmarked file whose data file is on its way out, without another in its place: the power went between the two renames.
// It must go before that data file does, or the segment would seem to have lost its data.
func (has fileSet) orphan(f swapFile) bool {
	if f.kind.Mark() != 0 || f.kind == KindSnapshot || !has[fileID{f.base, KindLog | Deleted}] {
		return false
	}
	// With one of its kind on its way out already it belongs to the segment that came instead, whose data file is missing.
	replaced := has[fileID{f.base, f.kind | Deleted}]
	return !replaced && !has[fileID{f.base, KindLog}] && !has[fileID{f.base, KindLog | Swap}]
}

// replaced tells which files give way to complete new segments.
type replaced struct {
	has       fileSet
	tables    map[int64]*side // by base offset of the new segments; nil where there is no side file
	low, high int64           // the range of offsets that the new segments cover
}

func (t *swapFinisher) findReplaced() (*replaced, error) {
	r := &replaced{has: t.index(), tables: map[int64]*side{}, low: math.MaxInt64}
	for _, f := range t.files {
		if f.kind != KindLog|Swap {
			continue
		}
		// Looked at through a window: what Load would write for a segment of Kafka's would be nobody's.
		s := OpenSealed(vfs.ReadOnly(t.fs), t.dir, f.base, f.base, &Config{})
		s.marked.Store(uint32(Swap))
		err := s.Load()
		next := max(s.Next(), s.Reach())
		_ = s.Close()
		if err == nil {
			r.tables[f.base], err = t.side(r, f.base)
		}
		if err != nil {
			return nil, err
		}
		r.low, r.high = min(r.low, f.base), max(r.high, next)
	}
	return r, nil
}

// side reads the side file of a new segment, which may already have its final name.
func (t *swapFinisher) side(r *replaced, base int64) (*side, error) {
	kind := KindSums | Swap
	if !r.has[fileID{base, kind}] && !r.has[fileID{base, KindLog}] {
		kind = KindSums
	}
	d, err := readSide(t.fs, filepath.Join(t.dir, FileName(base, kind.Suffix())))
	if errors.Is(err, ErrNoSide) {
		return nil, nil
	}
	return d, err
}

// goes judges one file. An unmarked file at the base of a new segment is the new one's own, renamed already, if the old data file is out of
// the way and the new segment has a file of that kind which does not wait under .swap.
func (r *replaced) goes(f swapFile) bool {
	d, swaps := r.tables[f.base]
	switch {
	case f.kind.Mark() != 0 || f.kind == KindSnapshot:
		return false
	case !swaps:
		return f.base >= r.low && f.base < r.high
	case r.has[fileID{f.base, KindLog}] || r.has[fileID{f.base, f.kind | Swap}] || d == nil:
		return true
	case f.kind == KindSums:
		return false
	}
	return d.tables[tableKind(f.kind)].Len == 0
}

func tableKind(file Kind) index.Kind {
	switch file {
	case KindIndex:
		return index.OffsetKind
	case KindTimeIndex:
		return index.TimeKind
	default:
		return index.AbortedKind
	}
}

// swapIn gives .swap files their final names, data last: as long as a data file is marked, its segment is found again. Of several segments the
// last comes first, each durably: those that are still marked then end in front of those that are not.
func (t *swapFinisher) swapIn() error {
	var beside, data []swapFile
	for _, f := range t.files {
		switch f.kind {
		case KindLog | Swap:
			data = append(data, f)
		case f.kind.File() | Swap:
			beside = append(beside, f)
		}
	}
	for _, f := range beside {
		if err := t.unmark(f); err != nil {
			return err
		}
	}
	if len(beside) > 0 && len(data) == 0 {
		return t.fs.SyncDir(t.dir)
	}
	slices.SortFunc(data, func(a, b swapFile) int { return cmp.Compare(b.base, a.base) })
	for _, f := range data {
		if err := errors.Join(t.unmark(f), t.fs.SyncDir(t.dir)); err != nil {
			return err
		}
	}
	return nil
}

// unmark gives a file its final name.
func (t *swapFinisher) unmark(f swapFile) error {
	return t.fs.Rename(filepath.Join(t.dir, f.name), filepath.Join(t.dir, FileName(f.base, f.kind.File().Suffix())))
}
