//go:build !linux

package vfs

import (
	"errors"
	"io"
	"os"
)

func mapWitness(*os.File) (io.Closer, error) { return nil, errors.ErrUnsupported }
