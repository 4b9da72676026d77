//go:build !linux && !windows && !darwin

package vfs

import "os"

func dataSync(f *os.File) error { return f.Sync() }
