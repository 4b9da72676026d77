//go:build !linux

package main

import "os"

// datasync is the strongest sync there is where there is no fdatasync.
func datasync(f *os.File) error { return f.Sync() }
