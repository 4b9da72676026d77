package invariant

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestCheckHolds(t *testing.T) {
	assert.NotPanics(t, func() { Check(true, "never shown") })
}

func TestCheckFails(t *testing.T) {
	fail := func() { Check(false, "high %d above end %d", 7, 5) }
	if Enabled {
		assert.PanicsWithError(t, "invariant: high 7 above end 5", fail)
		return
	}
	assert.NotPanics(t, fail)
}

// loud fails the test when anybody formats it.
type loud struct{ t *testing.T }

func (l loud) String() string {
	l.t.Error("a check that holds formatted its arguments")
	return ""
}

func TestCheckFormatsOnlyOnFailure(t *testing.T) {
	Check(true, "%v", loud{t})
	if !Enabled {
		Check(false, "%v", loud{t})
	}
}
