package kafkadir

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/segment"
	"github.com/quirelog/quire/topic"
)

// Way is a way into a directory. Go reads it, which may change it; an error is anything but a sound directory.
type Way struct {
	Name string
	Go   func(disk vfs.FS) (Content, error)
}

// Ways are all of them. Each wants a directory of its own.
func Ways() []Way {
	return []Way{
		{"open", func(disk vfs.FS) (Content, error) { return opened(disk) }},
		{"open again", func(disk vfs.FS) (Content, error) { return after(disk, func() error { return enter(disk) }) }},
		{"read-only", func(disk vfs.FS) (Content, error) { return opened(disk, topic.ReadOnlyMode()) }},
		{"read-only after an open", func(disk vfs.FS) (Content, error) {
			return after(disk, func() error { return enter(disk) }, topic.ReadOnlyMode())
		}},
		{"open after a kill", killed},
		{"verify and repair after an open that left it alone", func(disk vfs.FS) (Content, error) {
			return after(disk, func() error { return errors.Join(adopt(disk), verify(disk), repair(disk)) })
		}},
		{"verify", func(disk vfs.FS) (Content, error) { return after(disk, func() error { return verify(disk) }) }},
		{"verify after an open", func(disk vfs.FS) (Content, error) {
			return after(disk, func() error { return errors.Join(enter(disk), verify(disk)) })
		}},
		{"repair", func(disk vfs.FS) (Content, error) { return after(disk, func() error { return repair(disk) }) }},
		{"repair after an open", func(disk vfs.FS) (Content, error) {
			return after(disk, func() error { return errors.Join(enter(disk), repair(disk)) })
		}},
		{"indexes rebuilt", func(disk vfs.FS) (Content, error) { return within(disk, rebuild) }},
		{"seals lost", func(disk vfs.FS) (Content, error) {
			return after(disk, func() error { return errors.Join(enter(disk), unseal(disk)) })
		}},
		{"backup", backup},
	}
}

// opened opens an engine, looks, verifies and closes.
func opened(disk vfs.FS, opts ...topic.Option) (Content, error) {
	return within(disk, func(*topic.Engine) error { return nil }, opts...)
}

// after is opened behind something else.
func after(disk vfs.FS, first func() error, opts ...topic.Option) (Content, error) {
	if err := first(); err != nil {
		return Content{}, err
	}
	return opened(disk, opts...)
}

// within looks before and after something is done, verifies, and closes.
func within(disk vfs.FS, do func(e *topic.Engine) error, opts ...topic.Option) (c Content, err error) {
	e, err := topic.Open(Dir, append([]topic.Option{topic.On(disk)}, opts...)...)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	if _, err = look(e); err != nil {
		return c, err
	}
	if err = do(e); err != nil {
		return c, err
	}
	if c, err = look(e); err != nil {
		return c, err
	}
	found, err := e.Verify(context.Background(), topic.VerifyOptions{})
	if err != nil {
		return c, err
	}
	return c, faultOf(found)
}

// enter opens the directory for writing and closes it.
func enter(disk vfs.FS) error {
	_, err := opened(disk)
	return err
}

// adopt opens the directory for writing and closes it, without a look at the partition.
func adopt(disk vfs.FS) error {
	e, err := topic.Open(Dir, topic.On(disk))
	if err != nil {
		return err
	}
	return e.Close()
}

// killed reads what a process leaves that opened the directory and was killed.
func killed(disk vfs.FS) (c Content, err error) {
	left := vfs.NewMem()
	_, err = within(disk, func(*topic.Engine) error { return copyTree(left, disk, Dir) })
	if err != nil {
		return c, err
	}
	return opened(left)
}

func copyTree(to, from vfs.FS, dir string) error {
	names, err := from.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		info, err := from.Stat(path)
		if err != nil {
			return err
		}
		if info.IsDir {
			err = errors.Join(to.MkdirAll(path), copyTree(to, from, path))
		} else if data, e := vfs.ReadFile(from, path, -1); e == nil {
			err = errors.Join(to.MkdirAll(dir), vfs.WriteFile(to, path, data))
		} else {
			err = e
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func verify(disk vfs.FS) error {
	for _, dir := range []string{Dir, filepath.Join(Dir, Topic+"-0")} {
		found, err := topic.VerifyDirectory(context.Background(), disk, dir, topic.VerifyOptions{})
		if err == nil {
			err = faultOf(found)
		}
		if err != nil {
			return fmt.Errorf("verify %s: %w", dir, err)
		}
	}
	return nil
}

func faultOf(found *topic.VerifyReport) error {
	for i := range found.Faults {
		return fmt.Errorf("a fault of kind %s: %w", found.Faults[i].Kind, &found.Faults[i])
	}
	return nil
}

// repair finds nothing to do, also where it may give records up.
func repair(disk vfs.FS) error {
	for _, opts := range []topic.RepairOptions{{FS: disk, DryRun: true}, {FS: disk, AcceptLoss: true}} {
		done, err := topic.Repair(context.Background(), Dir, opts)
		if err == nil && len(done.Found)+len(done.Mended)+len(done.Lost)+len(done.Rebuilt) > 0 {
			err = fmt.Errorf("found %v, mended %v, lost %v, rebuilt %v", done.Found, done.Mended, done.Lost, done.Rebuilt)
		}
		if err != nil {
			return fmt.Errorf("repair: %w", err)
		}
	}
	return nil
}

func rebuild(e *topic.Engine) error { return e.RebuildIndexes(context.Background()) }

// unseal removes the side files and the lists of aborted transactions.
func unseal(disk vfs.FS) error {
	dir := filepath.Join(Dir, Topic+"-0")
	names, err := disk.List(dir)
	for _, name := range names {
		if strings.HasSuffix(name, segment.SumsSuffix) || strings.HasSuffix(name, segment.TxnIndexSuffix) {
			err = errors.Join(err, disk.Remove(filepath.Join(dir, name)))
		}
	}
	return err
}

// backup reads a copy.
func backup(disk vfs.FS) (c Content, err error) {
	const to = "copy/data"
	if err := disk.MkdirAll("copy"); err != nil {
		return c, err
	}
	left := vfs.NewMem()
	_, err = within(disk, func(e *topic.Engine) error {
		_, err := e.Backup(context.Background(), to, topic.BackupOptions{})
		return err
	})
	if err == nil {
		err = copyTree(left, disk, to)
	}
	if err != nil {
		return c, err
	}
	e, err := topic.Open(to, topic.On(left))
	if err != nil {
		return c, err
	}
	c, err = look(e)
	return c, errors.Join(err, e.Close())
}
