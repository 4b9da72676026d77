package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// machine is a disk whose power can be cut: an ext4 file system in a file, mounted
// through a loop device. What the kernel had not written to the device at the
// moment of the cut is gone, as with a real one.
type machine struct {
	room  string // holds the image and the place to mount it
	image string
	mnt   string
	// thin is the folder in memory that the image lies on when it can run out of space.
	thin string
	// block is the size of the file system's blocks; 0: what mkfs takes.
	block int
}

const (
	machineBytes = 96 << 20
	thinBytes    = 24 << 20 // what a thin machine's device can take before writes to it fail
	thinBallast  = 15 << 20 // of which this is used up from the start
)

// newMachine makes a file system and mounts it. A thin one promises more space than its device has.
func newMachine(thin bool) (*machine, error) {
	room, err := os.MkdirTemp("", "quire-power-")
	if err != nil {
		return nil, err
	}
	m := &machine{room: room, mnt: filepath.Join(room, "mnt"), image: filepath.Join(room, "image")}
	if err := m.make(thin); err != nil {
		return nil, errors.Join(err, m.remove())
	}
	return m, nil
}

func (m *machine) make(thin bool) error {
	if err := os.Mkdir(m.mnt, 0o755); err != nil {
		return err
	}
	if thin {
		m.thin = filepath.Join(m.room, "thin")
		m.image = filepath.Join(m.thin, "image")
		m.block = os.Getpagesize()
		if err := os.Mkdir(m.thin, 0o755); err != nil {
			return err
		}
		if err := system("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d", thinBytes), "quire-proof", m.thin); err != nil {
			return err
		}
	}
	f, err := os.Create(m.image)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(machineBytes), f.Close()); err != nil {
		return err
	}
	mkfs := []string{"-q", "-F", "-J", "size=4"}
	if m.block > 0 {
		mkfs = append(mkfs, "-b", strconv.Itoa(m.block))
	}
	if err := system("mkfs.ext4", append(mkfs, m.image)...); err != nil {
		return err
	}
	return m.mount()
}

func (m *machine) mount() error {
	if err := system("mount", "-o", "loop,errors=continue", m.image, m.mnt); err != nil {
		return err
	}
	if m.thin == "" {
		return nil
	}
	return m.failWhole()
}

// failWhole makes the loop device of a thin machine write a page at a time. A write to the image that comes short because
// room ran out in its middle counts as done for a loop device: with larger requests an fsync would succeed whose last
// pages are nowhere. A page is written, or is not.
func (m *machine) failWhole() error {
	device, err := exec.Command("findmnt", "-n", "-o", "SOURCE", m.mnt).Output()
	if err != nil {
		return fmt.Errorf("proof: device of %s: %w", m.mnt, err)
	}
	limit := filepath.Join("/sys/block", filepath.Base(strings.TrimSpace(string(device))), "queue/max_sectors_kb")
	return os.WriteFile(limit, []byte(strconv.Itoa(m.block>>10)), 0)
}

// unmount tries for a while: a process that another worker is just starting holds
// what this one has open until it runs its own program.
func (m *machine) unmount() (err error) {
	for range 50 {
		if err = system("umount", m.mnt); err == nil || !strings.Contains(err.Error(), "busy") {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}

// boot is what happens after a cut: the file system is mounted again and replays its journal.
func (m *machine) boot() error {
	if err := m.unmount(); err != nil {
		return err
	}
	return m.mount()
}

// fill takes most of the room that a thin machine's device has.
func (m *machine) fill() error {
	f, err := os.Create(filepath.Join(m.mnt, "ballast"))
	if err != nil {
		return err
	}
	ballast := make([]byte, 1<<20)
	for i := range ballast {
		ballast[i] = byte(i) // a page of zeros takes no room
	}
	for range thinBallast >> 20 {
		if _, err := f.Write(ballast); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return errors.Join(f.Sync(), f.Close())
}

// grow gives a thin machine's device room again.
func (m *machine) grow() error {
	return system("mount", "-o", fmt.Sprintf("remount,size=%d", 2*machineBytes), m.thin)
}

// remove takes everything away.
func (m *machine) remove() error {
	_ = m.unmount() // it may not be mounted
	if m.thin != "" {
		_ = system("umount", m.thin)
	}
	return os.RemoveAll(m.room)
}

// cut cuts the power: nothing more reaches the device.
func (m *machine) cut() error { return shutDown(m.mnt) }

// system runs a program of the operating system; its output is part of the error.
func system(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
