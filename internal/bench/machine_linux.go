package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// processCalls is the kernel's count of this process's read and write calls on anything; it knows no syncs.
func processCalls() (c Calls) {
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return c
	}
	for line := range strings.Lines(string(text)) {
		var name string
		var n int64
		if _, err := fmt.Sscanf(line, "%s %d", &name, &n); err != nil {
			continue
		}
		switch name {
		case "rchar:":
			c.ReadBytes = n
		case "wchar:":
			c.WriteBytes = n
		case "syscr:":
			c.Reads = n
		case "syscw:":
			c.Writes = n
		}
	}
	return c
}

// openFiles counts this process's descriptors.
func openFiles() int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(list) - 1 // the one that lists
}

// cpuTime is what this process has used so far, user and system.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// fileSystem names what dir lies on; memory is true when that is no disk.
func fileSystem(dir string) (name string, memory bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return "unknown", false
	}
	switch uint32(s.Type) {
	case 0xef53:
		return "ext4", false
	case 0x58465342:
		return "xfs", false
	case 0x9123683e:
		return "btrfs", false
	case 0x2fc12fc1:
		return "zfs", false
	case 0x794c7630:
		return "overlayfs", false
	case 0x01021994:
		return "tmpfs", true
	case 0x858458f6:
		return "ramfs", true
	}
	return fmt.Sprintf("type %#x", uint32(s.Type)), false
}

func cpuModel() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range bytes.Lines(text) {
		if name, value, ok := strings.Cut(string(line), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func kernel() string {
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// load is how many processes wanted to run in the last minute, on average.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}
