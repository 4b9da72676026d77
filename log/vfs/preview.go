package vfs

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
)

// Preview returns inner as it would look after files of dir were removed and renamed: Remove and Rename within dir
// change what is seen through the result and nothing on disk, SyncDir of dir has nothing to do, and every other change
// is refused with ErrReadOnly. What the disk is to hold can so be found out by the code that would do it.
//
// The disk may go on changing underneath. A file that has left the name it was seen under is looked for under the name
// it was given here, where whoever does on disk what was done here has put it.
func Preview(inner FS, dir string) FS {
	return &preview{readOnly: readOnly{inner}, dir: filepath.Clean(dir), places: map[string]string{}}
}

type preview struct {
	readOnly
	dir string

	mu     sync.RWMutex      // held for moments
	places map[string]string // by name in dir: the name on disk, empty for a file that was removed
}

// onDisk is where a name leads; ok is false for a file that was removed.
func (p *preview) onDisk(name string) (path string, ok bool) {
	base, inside := p.inside(name)
	if !inside {
		return name, true
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	place, known := p.places[base]
	if !known {
		return name, true
	}
	return filepath.Join(p.dir, place), place != ""
}

// inside tells the base name of a file in dir.
func (p *preview) inside(name string) (base string, ok bool) {
	name = filepath.Clean(name)
	return filepath.Base(name), filepath.Dir(name) == p.dir
}

func (p *preview) SyncDir(dir string) error {
	if filepath.Clean(dir) != p.dir {
		return refuse("syncdir", dir)
	}
	return nil
}

func (p *preview) Remove(name string) error {
	base, inside := p.inside(name)
	if !inside {
		return refuse("remove", name)
	}
	if _, err := p.Stat(name); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.places[base] = ""
	return nil
}

func (p *preview) Rename(oldname, newname string) error {
	from, inside := p.inside(oldname)
	to, stays := p.inside(newname)
	if !inside || !stays {
		return refuse("rename", oldname)
	}
	if _, err := p.Stat(oldname); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	place, moved := p.places[from]
	if !moved {
		place = from
	}
	p.places[from] = ""
	p.places[to] = place
	return nil
}

func (p *preview) List(dir string) ([]string, error) {
	names, err := p.inner.List(dir)
	if err != nil || filepath.Clean(dir) != p.dir {
		return names, err
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	names = slices.DeleteFunc(names, func(name string) bool { place, known := p.places[name]; return known && place == "" })
	for name, place := range p.places {
		if place != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

func (p *preview) Stat(name string) (Info, error) {
	return seen(p, "stat", name, p.inner.Stat)
}

func (p *preview) OpenRead(name string) (File, error) {
	return seen(p, "open", name, p.readOnly.OpenRead)
}

// seen looks at a file where it is, or where it went.
func seen[T any](p *preview, op, name string, look func(string) (T, error)) (got T, err error) {
	path, ok := p.onDisk(name)
	if !ok {
		return got, pathError(op, name, fs.ErrNotExist)
	}
	if got, err = look(path); path != name && errors.Is(err, fs.ErrNotExist) {
		return look(name)
	}
	return got, err
}
