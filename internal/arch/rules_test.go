package arch

import (
	"fmt"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A rule is one agreement of the house, with the proof that it can be broken.
type rule struct {
	name  string
	why   string                 // told with every finding
	where func(dir string) bool  // rooms it holds in; nil means all
	check func(r *room) []string // findings, each starting with its place
	bad   []snippet              // each must be found
	good  []snippet              // each must pass
}

// A snippet is a file of a pretended room: its path and its text. A text without a package clause gets one, so that snippets stay short.
type snippet struct{ path, text string }

func (s snippet) room(t *testing.T) *room {
	t.Helper()
	text := s.text
	if !strings.Contains("\n"+text, "\npackage ") {
		text = "package p\n" + text
	}
	rooms := map[string]*room{}
	require.NoError(t, add(rooms, s.path, []byte(text)))
	return rooms[path.Dir(s.path)]
}

// rules is the whole list, in the order of doc.go.
func rules() []rule {
	var all []rule
	all = append(all, importRules()...)
	all = append(all, diskRules()...)
	all = append(all, stateRules()...)
	all = append(all, timeRules()...)
	all = append(all, waitRules()...)
	all = append(all, mannersRules()...)
	all = append(all, wordRules()...)
	return append(all, dependencyRules()...)
}

func (r rule) holdsIn(dir string) bool { return r.where == nil || r.where(dir) }

func TestHouseKeepsRules(t *testing.T) {
	rooms := house(t)
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			for _, room := range rooms {
				if !r.holdsIn(room.dir) {
					continue
				}
				for _, found := range r.check(room) {
					t.Errorf("%s\n\trule: %s", found, r.why)
				}
			}
		})
	}
}

func TestRulesCanFail(t *testing.T) {
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			assert.NotEmpty(t, r.bad, "the rule has no example of a fault")
			assert.NotEmpty(t, r.good, "the rule has no example that keeps it")
			for i, s := range r.bad {
				assert.True(t, r.holdsIn(path.Dir(s.path)), "bad snippet %d lies outside the rule's rooms", i)
				assert.NotEmpty(t, r.check(s.room(t)), "bad snippet %d passed:\n%s", i, s.text)
			}
			for i, s := range r.good {
				if !r.holdsIn(path.Dir(s.path)) {
					continue
				}
				assert.Empty(t, r.check(s.room(t)), "good snippet %d was found:\n%s", i, s.text)
			}
		})
	}
}

// found renders one finding.
func found(at, format string, args ...any) string { return at + ": " + fmt.Sprintf(format, args...) }
