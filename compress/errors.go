package compress

import (
	"errors"
	"fmt"
)

// Sentinels. Match them with errors.Is: what the functions return may carry the
// codec and the cause as well.
var (
	// ErrCorrupt tells that the input is not a whole, valid stream of its codec.
	ErrCorrupt = errors.New("compress: corrupt input")
	// ErrTooLarge tells that the input expands to more bytes than the limit.
	ErrTooLarge = errors.New("compress: output exceeds the limit")
	// ErrLevel tells that a compression level is outside its codec's range.
	ErrLevel = errors.New("compress: level out of range")
	// ErrCodec tells that a codec id or name is unknown.
	ErrCodec = errors.New("compress: unknown codec")
)

// corrupt makes an error that matches ErrCorrupt and names codec and reason.
func corrupt(c Codec, reason string) error {
	return fmt.Errorf("%w: %s: %s", ErrCorrupt, c, reason)
}

// corruptBy is corrupt with a cause from the codec's own library.
func corruptBy(c Codec, cause error) error {
	return fmt.Errorf("%w: %s: %w", ErrCorrupt, c, cause)
}

// tooLarge makes an error that matches ErrTooLarge.
func tooLarge(c Codec, limit int) error {
	return fmt.Errorf("%w of %d bytes (%s)", ErrTooLarge, limit, c)
}
