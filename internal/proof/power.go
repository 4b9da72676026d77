package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/quirelog/quire/log"
)

const (
	powerCuts     = 60 // in the fast tier
	powerPerDisk  = 15 // cuts of one machine
	thinMachines  = 6  // in the fast tier: machines whose fsync fails
	thinDirectory = "thin"
	powerServices = 2 // in the fast tier, servicePerDir cuts each
)

// runPower cuts the power of real file systems while a child process appends, and
// lets the fsyncs of others fail. It needs root, loop devices and mkfs.ext4.
func runPower(r *runner, t *tally, seed uint64) {
	m, err := newMachine(false)
	if err == nil {
		err = errors.Join(m.cut(), m.remove())
	}
	if err != nil {
		t.note("SKIPPED, no power was cut: this needs root, loop devices and mkfs.ext4: %v", err)
		return
	}
	disks := powerCuts * r.count / powerPerDisk
	r.each(disks, func(i int) { powerDisk(r, t, i, seed) })
	for i := range thinMachines * r.count {
		name := caseName{t.lane.name, thinDirectory, strconv.Itoa(i), "fsync", seed}
		r.try(t, name, func() error { return thinDisk(i, seed) })
	}
	r.each(powerServices*r.count, func(i int) {
		name := caseName{t.lane.name, serviceLevel, strconv.Itoa(i), "cut", seed}
		r.try(t, name, func() error { return powerService(i, seed) })
		t.cases.Add(servicePerDir - 1)
	})
	t.note("%d cuts of ext4 by its shutdown call, levels %v take turns; %d of services; %d disks whose fsync failed for want of space",
		disks*powerPerDisk, levelNames(), powerServices*servicePerDir*r.count, thinMachines*r.count)
}

// powerDisk cuts one machine's power again and again.
func powerDisk(r *runner, t *tally, number int, seed uint64) {
	name := caseName{t.lane.name, levelNames()[number%4], strconv.Itoa(number), "cut", seed}
	m, err := newMachine(false)
	if err != nil {
		t.add(name, err)
		return
	}
	defer m.remove()
	k := m.powerless(name.Scenario, number, seed)
	for range powerPerDisk {
		var bad error
		r.try(t, name, func() error {
			bad = k.powerCycle(m)
			return bad
		})
		if bad != nil {
			return
		}
	}
}

// powerless is a killer that cuts the machine's power before it kills.
func (m *machine) powerless(level string, number int, seed uint64) *killer {
	k := newKiller(filepath.Join(m.mnt, "data"), level, number, seed)
	k.after = powered
	k.end = func(child *os.Process) {
		_ = m.cut() // an error shows in what boot finds
		_ = child.Kill()
	}
	return k
}

// powerCycle runs a child until the power goes, boots, and compares; every third
// time another child does the recovery, and may be cut off in it.
func (k *killer) powerCycle(m *machine) error {
	early := k.cycle%3 == 2
	if err := k.child(early); err != nil {
		return err
	}
	k.cycle++
	if err := m.boot(); err != nil {
		return err
	}
	if k.cycle%3 == 2 {
		return nil
	}
	return k.verify()
}

// powerService cuts the power of a machine on which the service of lane service runs.
func powerService(number int, seed uint64) error {
	m, err := newMachine(false)
	if err != nil {
		return err
	}
	defer m.remove()
	return box{dir: filepath.Join(m.mnt, "data"), dark: true, boot: m.boot, end: func(child *os.Process) {
		_ = m.cut()
		_ = child.Kill()
	}}.live(number, seed)
}

// thinDisk appends to a disk that promised more space than there is, until an fsync
// fails for real: what was acknowledged must be there after the next boot.
func thinDisk(number int, seed uint64) error {
	m, err := newMachine(true)
	if err != nil {
		return err
	}
	defer m.remove()
	if err := m.fill(); err != nil {
		return err
	}
	k := newKiller(filepath.Join(m.mnt, "data"), log.Sync.String(), number, seed)
	k.after = powered
	k.end = func(*os.Process) {} // it ends by itself when an append fails
	if err := k.child(false); err != nil {
		return err
	}
	if err := m.grow(); err != nil {
		return err
	}
	if err := m.boot(); err != nil {
		return err
	}
	if err := k.verify(); err != nil {
		return fmt.Errorf("after a failed fsync: %w", err)
	}
	return nil
}

// replayPower runs one machine's cycles again; the moments differ, the choices do not.
func replayPower(_ *runner, c caseName) error {
	number, err := strconv.Atoi(c.Op)
	if err != nil {
		return fmt.Errorf("proof: operation %q is not the number of a machine", c.Op)
	}
	switch c.Scenario {
	case thinDirectory:
		return thinDisk(number, c.Seed)
	case serviceLevel:
		return powerService(number, c.Seed)
	}
	m, err := newMachine(false)
	if err != nil {
		return err
	}
	defer m.remove()
	k := m.powerless(c.Scenario, number, c.Seed)
	for range powerPerDisk {
		if err := k.powerCycle(m); err != nil {
			return err
		}
	}
	return nil
}
