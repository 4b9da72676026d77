package log

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"

	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/segment"
)

// NotAFileError says that a directory lies where a file of the log has to be: Path. Move it away; nothing was
// changed. It matches fs.ErrExist.
type NotAFileError struct{ Path string }

func (e *NotAFileError) Error() string {
	return fmt.Sprintf("log: %s is a directory where a file of the log belongs", e.Path)
}

// Is reports whether target is fs.ErrExist.
func (e *NotAFileError) Is(target error) bool {
	return target == fs.ErrExist || target == syscall.EISDIR
}

// listFiles lists a log's directory without the directories in it that are named like data files or snapshots:
// whoever made them, they are none of ours and are left alone.
func listFiles(fsys vfs.FS, dir string) ([]string, error) {
	names, err := fsys.List(dir)
	if err != nil {
		return nil, err
	}
	return onlyFiles(fsys, dir, names), nil
}

func onlyFiles(fsys vfs.FS, dir string, names []string) []string {
	kept := names[:0:0]
	for _, name := range names {
		_, kind, ok := segment.ParseName(name)
		if ok && (kind == segment.KindLog || kind == segment.KindSnapshot) && isDir(fsys, filepath.Join(dir, name)) {
			continue
		}
		kept = append(kept, name)
	}
	return kept
}

// isDir says no when that cannot be told: whoever uses the file meets the fault.
func isDir(fsys vfs.FS, path string) bool {
	info, err := fsys.Stat(path)
	return err == nil && info.IsDir
}

// checkPlaces finds a directory where a file of the log has to be written: the slot, the epoch history, and the
// files beside the last data file.
func (o *opener) checkPlaces() error {
	last := int64(-1)
	if n := len(o.bases); n > 0 {
		last = o.bases[n-1]
	}
	for _, name := range o.names {
		base, kind, ok := segment.ParseName(name)
		needed := name == SlotFile || name == LeaderEpochFile || ok && base == last && (kind.Mark() == 0 || kind.Mark() == segment.Temp)
		if path := filepath.Join(o.l.dir, name); needed && isDir(o.l.fs, path) {
			return &NotAFileError{Path: path}
		}
	}
	return nil
}
