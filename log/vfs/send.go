package vfs

import (
	"errors"
	"io"
)

// errCannotSend says that the kernel will not move these bytes by itself.
var errCannotSend = errors.New("vfs: no sendfile for this pair")

// sendVia passes a range of f on through its own SendTo, or copies it.
func sendVia(f File, w io.Writer, off, n int64) (int64, error) {
	if n <= 0 {
		return 0, nil
	}
	if s, ok := f.(Sender); ok {
		return s.SendTo(w, off, n)
	}
	return copyRange(w, f, off, n, make([]byte, min(n, copyBytes)))
}

// copyRange writes n bytes of r from off to w through buf.
func copyRange(w io.Writer, r io.ReaderAt, off, n int64, buf []byte) (int64, error) {
	var done int64
	for done < n {
		part := buf[:min(int64(len(buf)), n-done)]
		got, err := r.ReadAt(part, off+done)
		if got > 0 {
			put, werr := w.Write(part[:got])
			done += int64(put)
			if werr == nil && put < got {
				werr = io.ErrShortWrite
			}
			if werr != nil {
				return done, werr
			}
		}
		if done < n && err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return done, err
		}
	}
	return done, nil
}
