//go:build !darwin && !dragonfly && !freebsd && !linux && !netbsd && !openbsd

package vfs

// Descriptors returns how many descriptors the process may have open, 0 where that
// is not known.
func Descriptors() int { return 0 }
