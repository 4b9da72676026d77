package log

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/segment"
)

// PeekRetention tells whether [Log.ApplyRetention] might remove something from the log in dir, which nobody has open,
// and when that will be the case by age. It opens no log: it goes by names and sizes of files, by
// the side file of the oldest segment, and by the time a file was written where there is none. So it may say yes
// where nothing comes of it, and for records older than their file it may say no until the file
// is as old. Acknowledged and Policy are not asked. Files that wait for their removal are a yes.
func PeekRetention(fsys vfs.FS, dir string, now time.Time, r *Retention) (may bool, due time.Time, err error) {
	names, err := fsys.List(dir)
	if err != nil {
		return false, time.Time{}, err
	}
	p := &peeker{fs: fsys, dir: dir}
	for _, name := range names {
		base, kind, ok := segment.ParseName(name)
		switch {
		case ok && kind == segment.KindLog:
			p.bases = append(p.bases, base)
		case ok && kind.Mark() == segment.Deleted:
			may = true
		}
	}
	if len(p.bases) == 0 {
		return may, time.Time{}, nil
	}
	slices.Sort(p.bases)
	if r.Age != 0 {
		if due, err = p.expiry(r.Age); err != nil {
			return false, time.Time{}, err
		}
		may = may || !due.IsZero() && !now.Before(due)
	}
	if r.Bytes != 0 && !may {
		may, err = p.tooLarge(max(r.Bytes, 0))
	}
	if r.Records != 0 && !may && err == nil {
		may, err = p.tooMany(max(r.Records, 0))
	}
	return may, due, err
}

type peeker struct {
	fs    vfs.FS
	dir   string
	bases []int64
}

func (p *peeker) stat(base int64) (vfs.Info, error) {
	return p.fs.Stat(filepath.Join(p.dir, segment.FileName(base, segment.LogSuffix)))
}

// expiry is when the oldest segment will have passed the age; zero for one that is empty.
func (p *peeker) expiry(age time.Duration) (time.Time, error) {
	base := p.bases[0]
	s, err := segment.OpenActive(p.fs, p.dir, base, &segment.Config{})
	if err != nil && !errors.Is(err, segment.ErrNoSide) {
		return time.Time{}, err
	}
	newest := int64(-1)
	if err == nil {
		if s.Size() == 0 {
			return time.Time{}, nil
		}
		newest, _ = s.MaxTimestamp()
		_ = s.Close()
	}
	if newest < 0 {
		info, err := p.stat(base)
		if err != nil || info.Size == 0 {
			return time.Time{}, err
		}
		newest = info.ModTime.UnixMilli()
	}
	return expired(newest, age), nil
}

// tooLarge tells whether the log may go without its oldest segment.
func (p *peeker) tooLarge(keep int64) (bool, error) {
	var total, first int64
	for i, base := range p.bases {
		info, err := p.stat(base)
		if err != nil {
			return false, err
		}
		if total += info.Size; i == 0 {
			first = info.Size
		}
	}
	return first > 0 && total-first >= keep, nil
}

// tooMany is tooLarge by number of records. The end of a log that was not stopped in order is not known: it may be.
func (p *peeker) tooMany(keep int64) (bool, error) {
	s, err := segment.OpenActive(p.fs, p.dir, p.bases[len(p.bases)-1], &segment.Config{})
	if errors.Is(err, segment.ErrNoSide) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	end := s.Next()
	_ = s.Close()
	first := end // the offset behind the oldest segment
	if len(p.bases) > 1 {
		first = p.bases[1]
	}
	return first > p.bases[0] && end-first >= keep, nil
}

// expired is when something written at newest, in ms since the epoch, has passed the age.
func expired(newest int64, age time.Duration) time.Time {
	return time.UnixMilli(newest).Add(max(age, 0)).Add(time.Millisecond)
}

// Footprint is what the data files of a log take of the disk.
type Footprint struct {
	Bytes    int64     // files of removed segments included
	Segments int       // those that are not removed
	Oldest   time.Time // when the file of the oldest one was last written
}

// Measure looks at the files of the log in dir, without opening it.
func Measure(fsys vfs.FS, dir string) (f Footprint, err error) {
	names, err := fsys.List(dir)
	if err != nil {
		return f, err
	}
	for _, name := range names { // sorted, and so by base offset
		_, kind, ok := segment.ParseName(name)
		if !ok || kind.File() != segment.KindLog {
			continue
		}
		info, err := fsys.Stat(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // unlinked meanwhile
		}
		if err != nil {
			return f, err
		}
		f.Bytes += info.Size
		if kind.Mark() == 0 {
			if f.Segments == 0 {
				f.Oldest = info.ModTime
			}
			f.Segments++
		}
	}
	return f, nil
}
