package vfs

import (
	"errors"
	"io"
)

// witness asks a file for its witness.
func witness(f File) (io.Closer, error) {
	if w, ok := f.(Witnesser); ok {
		return w.Witness()
	}
	return nil, errors.ErrUnsupported
}

// dismiss closes a witness if there is one.
func dismiss(w io.Closer) {
	if w != nil {
		_ = w.Close()
	}
}
