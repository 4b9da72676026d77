package compress

import (
	"errors"
	"io"
	"slices"
)

// firstGuess is the expansion assumed for the first piece of output memory.
const firstGuess = 4

// reserve returns dst with room for n more bytes, growing at least by a half of
// its size so that many small reservations stay linear.
func reserve(dst []byte, n int) []byte {
	if cap(dst)-len(dst) >= n {
		return dst
	}
	return slices.Grow(dst, max(n, cap(dst)/2))
}

// readAll appends everything r gives to dst, at most limit bytes. hint is the
// length of the input and sizes the first allocation; later ones double, and
// none goes past the limit by more than a few bytes (I1).
func readAll(dst []byte, r io.Reader, hint, limit int) ([]byte, error) {
	start := len(dst)
	step := min(firstGuess*hint+64, limit)
	for {
		if len(dst)-start == limit {
			return dst, expectEnd(r)
		}
		if len(dst) == cap(dst) {
			dst = slices.Grow(dst, min(max(step, 1), limit-(len(dst)-start)))
			step = len(dst) - start + step
		}
		room := min(cap(dst)-len(dst), limit-(len(dst)-start))
		n, err := r.Read(dst[len(dst) : len(dst)+room])
		dst = dst[:len(dst)+n]
		if errors.Is(err, io.EOF) {
			return dst, nil
		}
		if err != nil {
			return dst, err
		}
	}
}

// expectEnd reads one byte more than the limit allows: it must not be there.
func expectEnd(r io.Reader) error {
	var one [1]byte
	for {
		n, err := r.Read(one[:])
		if n > 0 {
			return ErrTooLarge
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
