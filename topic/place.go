package topic

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/vfs"
)

// ErrNotData: a directory is not an engine's and is not made one; see [DirectoryError].
var ErrNotData = errors.New("topic: not a data directory")

// DirectoryError says why a directory is not taken for an engine's: it is missing or empty where one must exist, it holds other things, it
// is a partition's, or it lies inside an engine's. Nothing was changed. It matches [ErrNotData] and [ErrInvalid], and fs.ErrNotExist when it is
// missing.
type DirectoryError struct {
	Dir    string
	Reason string
	Err    error
}

func (e *DirectoryError) Error() string { return fmt.Sprintf("%v: %s %s", ErrNotData, e.Dir, e.Reason) }

// Is reports whether target is [ErrNotData] or [ErrInvalid].
func (e *DirectoryError) Is(target error) bool { return target == ErrNotData || target == ErrInvalid }

// Unwrap gives what the disk said.
func (e *DirectoryError) Unwrap() error { return e.Err }

// place is what was found where a data directory is to be.
type place struct {
	fs    vfs.FS
	dir   string
	names []string
}

// admit tells whether dir may be opened: it is a data directory, or may become one. What cannot be listed is left to the steps that follow.
func admit(fsys vfs.FS, dir string, mustExist bool) error {
	names, err := fsys.List(dir)
	missing := errors.Is(err, fs.ErrNotExist)
	p := place{fs: fsys, dir: dir, names: names}
	switch {
	case missing && mustExist:
		return &DirectoryError{Dir: dir, Reason: "does not exist", Err: err}
	case err != nil && !missing:
		return nil
	case holdsPartition(names):
		return &DirectoryError{Dir: dir, Reason: "is the directory of a partition"}
	}
	if is, err := p.isData(); is || err != nil {
		return err
	}
	if mustExist {
		return &DirectoryError{Dir: dir, Reason: "holds no topics"}
	}
	if i := slices.IndexFunc(names, foreign); i >= 0 {
		return &DirectoryError{Dir: dir, Reason: fmt.Sprintf("holds other things, such as %q", clip(names[i]))}
	}
	for up := filepath.Dir(dir); ; up = filepath.Dir(up) {
		upper := place{fs: fsys, dir: up}
		if upper.marked() {
			return &DirectoryError{Dir: dir, Reason: "lies inside the data directory " + up}
		}
		if up == filepath.Dir(up) {
			return nil
		}
	}
}

// holdsPartition tells the directory of a partition by the names in it.
func holdsPartition(names []string) bool {
	return holdsSegments(names) || slices.Contains(names, log.PartitionMetadataFile) || slices.Contains(names, log.SlotFile)
}

// isData tells a data directory: by a file of an engine's, or by a partition with data.
func (p *place) isData() (bool, error) {
	if slices.ContainsFunc(p.names, engineFile) {
		return true, nil
	}
	for _, base := range p.names {
		if _, ok := parseDirName(base); !ok {
			continue
		}
		if holds, err := holdsData(p.fs, filepath.Join(p.dir, base)); holds || err != nil {
			return holds, err
		}
	}
	return false, nil
}

// marked tells a data directory by the files that every engine's has.
func (p *place) marked() bool {
	for _, name := range []string{ManifestFile, metaFile} {
		if _, err := p.fs.Stat(filepath.Join(p.dir, name)); err == nil {
			return true
		}
	}
	return false
}

// engineFile tells the files beside the partitions that only a data directory has.
func engineFile(name string) bool {
	switch name {
	case metaFile, cleanFile, backupFile, log.LogStartFile, log.RecoveryPointFile, log.HighWatermarkFile, log.CleanerFile:
		return true
	}
	return strings.HasPrefix(name, ManifestFile)
}

// lostFound is what file systems make at their root.
const lostFound = "lost+found"

// foreign tells what a directory that is to become an engine's must not hold: all but what file systems and interrupted openings leave, and
// empty partitions.
func foreign(name string) bool {
	switch name {
	case lockFile, metaFile + ".tmp", lostFound, ".DS_Store", ".snapshot", ".gitkeep":
		return false
	}
	_, partition := parseDirName(name)
	return !partition && !strings.HasPrefix(name, "quire.")
}
