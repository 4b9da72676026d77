package topic

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPosition(t *testing.T) {
	p := Position{Topic: "orders", Partition: 3, Offset: 1042, Epoch: 5}
	assert.Equal(t, "orders/3@1042", p.String())
	text, err := p.MarshalText()
	require.NoError(t, err)
	var q Position
	require.NoError(t, q.UnmarshalText(text))
	assert.Equal(t, Position{Topic: "orders", Partition: 3, Offset: 1042, Epoch: -1}, q)
	assert.Equal(t, 0, p.Compare(p))
	assert.Equal(t, -1, q.Compare(p))
	assert.Equal(t, 1, Position{Topic: "p"}.Compare(p))
	assert.Equal(t, -1, Position{Topic: "orders", Partition: 2, Offset: 9999}.Compare(p))
	for _, bad := range []string{"", "/", "@", "orders", "orders/3", "orders@3", "orders/3@", "orders/@3", "orders/-1@2",
		"orders/1@-2", "orders/+1@2", "orders/01@2", "orders/1@02", "../1@2", "a/b/1@2", "orders/2147483648@1",
		"orders/1@9223372036854775808", "orders/1@1 ", strings.Repeat("x", 1000) + "/1@1"} {
		before := q
		assert.ErrorIs(t, q.UnmarshalText([]byte(bad)), ErrInvalid, bad)
		assert.Equal(t, before, q)
	}
}

func FuzzParsePosition(f *testing.F) {
	f.Add("orders/3@1042")
	f.Add("a/0@0")
	f.Add("a.b/9@9223372036854775807")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePosition(text)
		if err == nil && p.String() != text {
			t.Errorf("%q reads as %q", text, p)
		}
	})
}
