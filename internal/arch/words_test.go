package arch

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// unfinished matches words that mean somebody meant to come back. They are put together here so that this file does not hold them.
var unfinished = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b|(?i)\b(for` + ` now|simpli` + `fied|not implemen` + `ted|stu` + `b(s|bed)?|placehol` + `ders?)\b`)

// machinePaths matches folders of one particular machine.
var machinePaths = regexp.MustCompile(`(?m)(^|[^a-zA-Z0-9_.])/(wo` + `rk|ho` + `me|ro` + `ot)/`)

// stems are what any find of the two contains, in small letters: without one the slow look is spared.
var stems = []string{
	"to" + "do", "fix" + "me", "xx" + "x", "for" + " now", "simpli" + "fied", "not implemen" + "ted", "stu" + "b", "placehol" + "der",
	"/wo" + "rk/", "/ho" + "me/", "/ro" + "ot/",
}

func wordRules() []rule {
	return []rule{{
		name: "no words of unfinished work",
		why:  "what is in the tree is finished; what is not finished is not in the tree",
		check: func(r *room) []string {
			var list []string
			for _, s := range r.files {
				list = append(list, badWords(s.path, s.text)...)
			}
			return list
		},
		bad: []snippet{
			{"log/a.go", "// TO" + "DO: later\n"},
			{"log/a_test.go", "// good enough for" + " now\n"},
			{"log/a.go", "var s = \"not implemen" + "ted\""},
			{"log/a.go", "// a Stu" + "b of the tower\n"},
			{"log/a.go", "// see /wo" + "rk/x\n"},
		},
		good: []snippet{
			{"log/a.go", "// stubborn, before nowhere\n"},
		},
	}}
}

func badWords(name string, text []byte) []string {
	if lower := bytes.ToLower(text); !slices.ContainsFunc(stems, func(stem string) bool { return bytes.Contains(lower, []byte(stem)) }) {
		return nil
	}
	var list []string
	for _, re := range []*regexp.Regexp{unfinished, machinePaths} {
		for _, at := range re.FindAllIndex(text, -1) {
			line := 1 + bytes.Count(text[:at[1]], []byte("\n"))
			list = append(list, found(name, "line %d has %q", line, text[at[0]:at[1]]))
		}
	}
	return list
}

func TestPagesHaveNoUnfinishedWork(t *testing.T) {
	for _, name := range []string{"README.md", ".ci/run", "examples/testdata/NOTICE"} {
		text, err := os.ReadFile(filepath.Join(rootDir(t), filepath.FromSlash(name)))
		require.NoError(t, err)
		assert.Empty(t, badWords(name, text))
	}
}
