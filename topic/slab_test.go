package topic

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestSlabCopies(t *testing.T) {
	s := slab{size: 8}
	src := []byte("abcdef")
	a := s.copy(src)
	b := s.copy(src[:2])
	c := s.copy([]byte("longer than the piece"))
	src[0] = 'X'
	assert.Equal(t, "abcdef", string(a))
	assert.Equal(t, "ab", string(b))
	assert.Equal(t, "longer than the piece", string(c))
	assert.Equal(t, len(a), cap(a), "an append must not reach the neighbour")
	assert.Nil(t, s.copy(nil))
	empty := s.copy([]byte{})
	assert.NotNil(t, empty)
	assert.Empty(t, empty)
}

func TestSlabNullAndEmptyDifferFromTheStart(t *testing.T) {
	var s slab
	assert.Nil(t, s.copy(nil))
	assert.NotNil(t, s.copy([]byte{}))
}

func TestSlabHeaders(t *testing.T) {
	var s slab
	in := []Header{{Key: "a", Value: []byte("1")}, {Key: "b"}, {Key: "a", Value: []byte{}}}
	one, two := s.headers(in), s.headers(in[:1])
	in[0].Value[0] = 'X'
	assert.Equal(t, []Header{{Key: "a", Value: []byte("1")}, {Key: "b"}, {Key: "a", Value: []byte{}}}, one)
	assert.Equal(t, "1", string(two[0].Value))
	assert.Equal(t, len(one), cap(one))
	for range 100 {
		assert.Len(t, s.headers(in), 3)
	}
}

// A record with an empty value may be kept for long; the buffer it was read from must not be kept with it.
func TestSlabEmptyKeepsNothing(t *testing.T) {
	var s slab
	gone := make(chan struct{})
	big := make([]byte, 1<<20)
	runtime.AddCleanup(&big[0], func(struct{}) { close(gone) }, struct{}{})
	empty := s.copy(big[:0])
	runtime.GC()
	<-gone
	assert.NotNil(t, empty)
	runtime.KeepAlive(empty)
}
