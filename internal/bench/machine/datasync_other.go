//go:build !linux

package machine

import (
	"errors"
	"os"
)

// Datasync is the strongest sync there is where there is no fdatasync.
func Datasync(f *os.File) error { return f.Sync() }

// DiskSync tells that there is no call for it.
func DiskSync(*os.File) error { return errors.ErrUnsupported }
