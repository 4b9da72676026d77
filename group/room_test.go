package group

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/topic"
)

// A full disk, by whatever name, is waited for; what a callback says is not.
func TestLacksRoom(t *testing.T) {
	for _, err := range []error{topic.ErrNoSpace, &topic.QuotaError{}, syscall.ENOSPC} {
		require.True(t, lacksRoom(fmt.Errorf("store: %w", err)), "%v", err)
	}
	require.False(t, lacksRoom(errors.New("other")))
	require.False(t, lacksRoom(nil))
}
