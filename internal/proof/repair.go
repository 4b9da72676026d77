package main

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

// repairing is the world of the scenario that repairs a damaged directory. Whatever call of
// the repair was the last one, a further repair must end with the same directory as one
// that was left in peace.
type repairing struct {
	disk  vfs.FS
	power func() bool
	eng   *topic.Engine
	err   error
	told  error
	began bool     // the damage is done and on disk
	want  *content // of the directory repaired
	// rough says that calls may fail; prepared that the disk was filled and damaged before.
	rough, prepared bool
	faithless       bool // see scripted
}

func (w *repairing) run() {
	if c, ok := w.disk.(*vfs.Crash); ok {
		w.power = c.Crashed
	}
	w.err = w.play()
}

func (w *repairing) dark() bool { return w.power != nil && w.power() }

func (w *repairing) play() error {
	if !w.prepared {
		if err := fillDamaged(w.disk); err != nil {
			return err
		}
	}
	want, err := repairedContent()
	if err != nil {
		return err
	}
	w.began, w.want = true, want
	if err := w.dryRun(); err != nil {
		return err
	}
	return repairOnce(w.disk)
}

// fillDamaged makes a directory of a few segments and damages it: records, a header,
// files that are derived, a generation of the manifest. All of it is on disk afterwards.
func fillDamaged(disk vfs.FS) error {
	s := &engineScript{fs: disk, h: newEngineHistory()}
	s.open()
	s.create("a", 2, small(), topic.Set("index.interval.bytes", "64"))
	for i := range 12 {
		s.append("a", int32(i%2), 4)
	}
	s.close()
	if err := errors.Join(s.err, s.told); err != nil {
		return err
	}
	return damageFiles(disk)
}

// damageFiles damages the files of both partitions, some in each of the ways.
func damageFiles(disk vfs.FS) error {
	var faults []error
	for n := range 2 {
		dir := path.Join(engineDir, fmt.Sprintf("a-%d", n))
		names, err := disk.List(dir)
		if err != nil {
			return err
		}
		logs := 0
		for _, name := range names {
			file := path.Join(dir, name)
			switch path.Ext(name) {
			case ".log":
				if logs++; logs == 1 {
					faults = append(faults, damageByte(disk, file, 100)) // inside a batch
				} else if logs == 2 {
					faults = append(faults, damageByte(disk, file, 3)) // of its base offset
				}
			case ".index":
				if n == 0 {
					faults = append(faults, damageByte(disk, file, 2))
				}
			case ".timeindex":
				if n == 1 && strings.Contains(name, "00.") {
					faults = append(faults, disk.Remove(file), disk.SyncDir(dir))
				}
			}
		}
	}
	faults = append(faults, damageByte(disk, path.Join(engineDir, "quire.manifest"), 9),
		damageByte(disk, path.Join(engineDir, "a-1", log.SlotFile), 20))
	return errors.Join(faults...)
}

func damageByte(disk vfs.FS, file string, at int64) error {
	info, err := disk.Stat(file)
	if err != nil || info.Size <= at {
		return err
	}
	return flipBit(disk, file, at, 5)
}

func repairOnce(disk vfs.FS) error {
	_, err := topic.Repair(ctx(), engineDir, topic.RepairOptions{FS: disk, AcceptLoss: true})
	return err
}

// repairedContent is what the directory holds after a repair on a good disk.
func repairedContent() (*content, error) {
	disk := vfs.NewCrash()
	if err := fillDamaged(disk); err != nil {
		return nil, err
	}
	if err := repairOnce(disk); err != nil {
		return nil, fmt.Errorf("repair on a good disk: %w", err)
	}
	return contentOf(disk, nil, nil)
}

// dryRun must change nothing.
func (w *repairing) dryRun() error {
	before, err := bytesOf(w.disk, engineDir)
	if err != nil {
		return err
	}
	report, err := topic.Repair(ctx(), engineDir, topic.RepairOptions{FS: w.disk, AcceptLoss: true, DryRun: true})
	if err != nil {
		return err
	}
	after, err := bytesOf(w.disk, engineDir)
	switch {
	case err != nil:
		return err
	case before != after:
		w.told = faultf(wrong, "a dry run changed the directory")
	case len(report.Found) == 0 || len(report.Lost) == 0:
		w.told = faultf(undetected, "a dry run of a damaged directory found %d faults, %d lost", len(report.Found), len(report.Lost))
	}
	return w.told
}

// bytesOf is all names and bytes below a directory.
func bytesOf(disk vfs.FS, dir string) (string, error) {
	var all strings.Builder
	names, err := disk.List(dir)
	if err != nil {
		return "", err
	}
	for _, name := range names {
		file := path.Join(dir, name)
		info, err := disk.Stat(file)
		if err != nil {
			return "", err
		}
		var text string
		if info.IsDir {
			text, err = bytesOf(disk, file)
		} else {
			var data []byte
			data, err = vfs.ReadFile(disk, file, 1<<20)
			text = string(data)
		}
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&all, "%s %d %s\n", name, len(text), text)
	}
	return all.String(), nil
}

func (w *repairing) stop() {}

func (w *repairing) lied() { w.faithless = true }

func (w *repairing) promise() error {
	if w.told != nil {
		return w.told
	}
	if w.err != nil && !w.dark() && !w.rough {
		return faultf(wrong, "a call failed on a good disk: %v", w.err)
	}
	return nil
}

func (w *repairing) recover(disk vfs.FS) { _ = repairOnce(disk) }

func (w *repairing) check(disk *vfs.Crash, _ state) error {
	if !w.began {
		return nil // the other scenarios are about that
	}
	if err := repairOnce(disk); err != nil {
		return faultf(wrong, "repair after a crash in a repair: %v", err)
	}
	if err := w.same(disk, "repaired again"); err != nil {
		return err
	}
	report, err := topic.VerifyDirectory(ctx(), disk, engineDir, topic.VerifyOptions{})
	if err == nil && len(report.Faults) > 0 {
		err = fmt.Errorf("%v", report.Faults)
	}
	if err != nil {
		return faultf(wrong, "repaired again: %v", err)
	}
	if w.faithless {
		return nil
	}
	// Indexes need no sync, and a repair that finds nothing to do makes none.
	return w.same(disk.After(vfs.KeepNone, 0), "repaired again, and a power cut")
}

// same says that the directory reads as if it had been repaired at once.
func (w *repairing) same(disk vfs.FS, when string) error {
	got, err := contentOf(disk, nil, nil)
	if err != nil {
		return faultf(lost, "%s: %v", when, err)
	}
	for i := range got.topics { // ids are drawn anew in each run
		if i < len(w.want.topics) {
			got.topics[i].id = w.want.topics[i].id
		}
	}
	if err := got.same(w.want); err != nil {
		return faultf(wrong, "%s: %v", when, err)
	}
	return nil
}
