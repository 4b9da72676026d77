package segment

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestNames(t *testing.T) {
	assert.Equal(t, "00000000000000000000.log", FileName(0, LogSuffix))
	assert.Equal(t, "09223372036854775807.timeindex", FileName(math.MaxInt64, TimeIndexSuffix))
	for k := KindLog; k <= KindSnapshot; k++ {
		for _, mark := range []Kind{0, Deleted, Cleaned, Swap, Temp} {
			name := FileName(1042, (k | mark).Suffix())
			base, kind, ok := ParseName(name)
			assert.True(t, ok, name)
			assert.EqualValues(t, 1042, base)
			assert.Equal(t, []Kind{k, mark}, []Kind{kind.File(), kind.Mark()}, name)
		}
	}
}

func TestAlienNames(t *testing.T) {
	stem := fmt.Sprintf("%020d", 7)
	for _, name := range []string{
		"", stem, stem + ".", stem + ".Log", stem + ".logs", stem + "log", stem + ".log.deleted.deleted", stem + ".log.cleaned.swap", stem + ".deleted",
		stem + ".log.cut-17", stem[1:] + ".log", "0" + stem + ".log", "+" + stem[1:] + ".log", "-" + stem[1:] + ".log", " " + stem[1:] + ".log",
		"09223372036854775808.log", "99999999999999999999.log", stem + ".log ", stem + ".log\x00", stem + ".log\n", "leader-epoch-checkpoint",
		strings.Repeat("0", 300) + ".log", strings.Repeat("٠", 20) + ".log", stem + ".log/..",
	} {
		_, _, ok := ParseName(name)
		assert.False(t, ok, "%q", name)
	}
}

func FuzzParseName(f *testing.F) {
	f.Add("00000000000000000007.log")
	f.Add("00000000000000000007.index.swap")
	f.Add("x")
	f.Fuzz(func(t *testing.T, name string) {
		if base, kind, ok := ParseName(name); ok {
			assert.Equal(t, name, FileName(base, kind.Suffix()))
		}
	})
}
