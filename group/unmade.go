package group

import (
	"fmt"

	"github.com/quirelog/quire/topic"
)

// unmade is what the zero value of an exported type says of itself.
func unmade(kind string) error {
	return fmt.Errorf("%w: a %s that no call of this package gave", topic.ErrInvalid, kind)
}
