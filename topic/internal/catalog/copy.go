package catalog

import (
	"fmt"
	"path/filepath"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/vfs"
)

// CopyFile is the name, in a partition's directory, of the copy of its topic's entry.
const CopyFile = "quire.topic"

// maxCopy bounds what is read of a copy.
const maxCopy = 1 << 20

// WriteCopy puts a copy of a topic's entry into a partition's directory; it is durable once the caller has synced that directory. The copy
// is the line of a journal that would create the topic at the generation of the entry's last change.
func WriteCopy(fsys vfs.FS, dir string, e Topic) error {
	generation := e.Changed
	e.Changed = 0
	l := Line{Generation: generation, Changes: []Change{{Create: &e}}}
	data, err := l.encode()
	if err != nil {
		return err
	}
	return vfs.ReplaceFile(fsys, filepath.Join(dir, CopyFile), data)
}

// ReadCopy reads the copy in a partition's directory. A missing one is an error that matches fs.ErrNotExist, a damaged one log.ErrCorrupt.
func ReadCopy(fsys vfs.FS, dir string, check Check) (Topic, error) {
	path := filepath.Join(dir, CopyFile)
	data, err := vfs.ReadFile(fsys, path, maxCopy)
	if err != nil {
		return Topic{}, err
	}
	l, size, err := decodeLine(data, check)
	if err != nil || size != len(data) || len(l.Changes) != 1 || l.Changes[0].Create == nil {
		return Topic{}, fmt.Errorf("%w: %s is no copy of a topic's entry: %w", log.ErrCorrupt, path, err)
	}
	e := *l.Changes[0].Create
	e.Changed = l.Generation
	return e, nil
}
