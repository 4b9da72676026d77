package examples

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestBarIsSilentWithoutTerminal(t *testing.T) {
	var out bytes.Buffer
	b := NewBar(&out, "reading", 10)
	b.Show(3)
	b.Done()
	assert.Empty(t, out.String())
}

func TestBarDraws(t *testing.T) {
	var out bytes.Buffer
	b := &Bar{out: &out, label: "reading", total: 4}
	b.Show(1)
	assert.Equal(t, "\rreading    [##########..............................] 1/4", out.String())
	b.Show(2)
	assert.NotContains(t, out.String(), "2/4", "drawn again at once")
	b.drawn = time.Now().Add(-time.Second)
	b.Show(9)
	assert.Contains(t, out.String(), "[########################################] 9/4")
	b.Done()
	assert.Equal(t, byte('\r'), out.Bytes()[out.Len()-1])
}
