package topic

import (
	"testing"

	"github.com/quirelog/quire/internal/handletest"
)

// Handles that no call of this package gave give errors, a zero Engine that it is closed, and neither panic nor hang.
func TestZeroHandlesGiveErrors(t *testing.T) {
	handletest.Zero(t, ErrClosed, &Engine{})
	handletest.Zero(t, ErrInvalid, &Topic{}, &Partition{}, &Producer{}, &Consumer{}, &Typed[string, string]{}, &RetryLadder{})
}
