package topic

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/quirelog/quire/log/vfs"
)

// Names of an engine's files beside the partition directories. The first three are Apache Kafka's.
const (
	lockFile  = ".lock"
	metaFile  = "meta.properties"
	cleanFile = ".kafka_cleanshutdown"
)

// smallFile bounds what is read of the small text files.
const smallFile = 64 << 10

// ensureDir makes the data directory, durably with its parents, if it does not exist.
func ensureDir(fsys vfs.FS, dir string) error {
	info, err := fsys.Stat(dir)
	if err == nil {
		if !info.IsDir {
			return fmt.Errorf("%w: %s is not a directory", ErrInvalid, dir)
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	missing := []string{dir}
	for up := filepath.Dir(dir); up != filepath.Dir(up); up = filepath.Dir(up) {
		if _, err := fsys.Stat(up); err == nil {
			break
		}
		missing = append(missing, up)
	}
	if err := fsys.MkdirAll(dir); err != nil {
		return err
	}
	for _, d := range missing {
		if err := fsys.SyncDir(filepath.Dir(d)); err != nil {
			return err
		}
	}
	return nil
}

// syncAbove makes the names on the way to a directory that exists durable: one that made it may have been killed before it had done so. What it made
// holds nothing else.
func syncAbove(fsys vfs.FS, dir string) error {
	for up := filepath.Dir(dir); up != dir; dir, up = up, filepath.Dir(up) {
		if err := fsys.SyncDir(up); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
		if names, err := fsys.List(up); err != nil || len(names) > 1 {
			return nil
		}
	}
	return nil
}

// takeLock takes the directory's lock; *LockedError when another engine has it. It is that of the lock file, which says
// who has it, and that of the directory itself where there is one: the file may be removed under a live engine.
func takeLock(fsys vfs.FS, dir string) (unlock func() error, err error) {
	holder := "quire engine on " + dir
	file, err := fsys.Lock(filepath.Join(dir, lockFile), holder)
	if err != nil {
		return nil, err
	}
	whole, err := fsys.Lock(dir, holder)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return file.Close, nil
	case err != nil:
		return nil, errors.Join(err, file.Close())
	}
	return func() error { return errors.Join(whole.Close(), file.Close()) }, nil
}

// identity is what a meta.properties file says: who wrote the directory.
type identity struct {
	cluster   string
	node      string
	directory string
	rest      []string // lines of other keys, kept as they are
}

// readIdentity reads meta.properties; a missing file gives ok == false, and so does one that is empty or
// damaged, which damage tells: it is made anew, with other ids, since nothing of ours depends on it. An unknown
// version is ErrNewerFormat.
func readIdentity(fsys vfs.FS, dir string) (id identity, ok bool, damage, err error) {
	path := filepath.Join(dir, metaFile)
	data, err := vfs.ReadFile(fsys, path, smallFile)
	if errors.Is(err, fs.ErrNotExist) {
		return identity{}, false, nil, nil
	}
	if err != nil {
		return identity{}, false, nil, err
	}
	version := ""
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, _ := strings.Cut(line, "=")
		switch key {
		case "version":
			version = value
		case "cluster.id":
			id.cluster = value
		case "node.id", "broker.id":
			id.node = value
		case "directory.id":
			id.directory = value
		default:
			id.rest = append(id.rest, line)
		}
	}
	switch version {
	case "0", "1":
		return id, true, nil, nil
	case "":
		return identity{}, false, fmt.Errorf("%w: %s names no version", ErrCorrupt, path), nil
	}
	return identity{}, false, nil, fmt.Errorf("%w: %s has version %q", ErrNewerFormat, path, clip(version))
}

// completeIdentity fills in what is missing and writes the file when something was.
func completeIdentity(fsys vfs.FS, dir string, id identity, found bool) (identity, error) {
	if found && id.cluster != "" && id.directory != "" {
		return id, nil
	}
	for _, field := range []*string{&id.cluster, &id.directory} {
		if *field != "" {
			continue
		}
		fresh, err := newID()
		if err != nil {
			return id, err
		}
		*field = fresh.String()
	}
	if id.node == "" {
		id.node = "1"
	}
	return id, vfs.WriteFile(fsys, filepath.Join(dir, metaFile), id.encode())
}

func (id identity) encode() []byte {
	lines := []string{"version=1", "cluster.id=" + id.cluster, "node.id=" + id.node, "directory.id=" + id.directory}
	return []byte(strings.Join(append(lines, id.rest...), "\n") + "\n")
}

// takeCleanMark tells whether the directory was stopped in good order, and removes the mark that says so,
// durably: from now on a crash is an unclean stop.
func takeCleanMark(fsys vfs.FS, dir string) (clean bool, err error) {
	path := filepath.Join(dir, cleanFile)
	if _, err := fsys.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err := fsys.Remove(path); err != nil {
		return false, err
	}
	return true, fsys.SyncDir(dir)
}

// writeCleanMark is the last thing an orderly stop writes. The content is what Kafka writes.
func writeCleanMark(fsys vfs.FS, dir string) error {
	return vfs.WriteFile(fsys, filepath.Join(dir, cleanFile), []byte(`{"version":0,"brokerEpoch":-1}`))
}
