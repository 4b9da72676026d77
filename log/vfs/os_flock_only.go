//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package vfs

import "os"

// excludeRecordLocks does nothing: a lock by fcntl would be the process's, and go with any handle of the file.
func excludeRecordLocks(*os.File) error { return nil }

func admitRecordLocks(*os.File) {}
