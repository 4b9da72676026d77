//go:build !linux

package main

import (
	"errors"
	"os"
)

// datasync is the strongest sync there is where there is no fdatasync.
func datasync(f *os.File) error { return f.Sync() }

// diskSync tells that there is no call for it.
func diskSync(*os.File) error { return errors.ErrUnsupported }
