//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package vfs

import (
	"math"
	"syscall"
)

// Descriptors returns how many descriptors the process may have open, 0 where that
// is not known. A Go program starts with the most that its user may ask for.
func Descriptors() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int(min(uint64(limit.Cur), math.MaxInt32)) //nolint:unconvert // signed on some systems
}
