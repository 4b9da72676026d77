package fetch

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/quirelog/quire/log/record"
)

func TestSlabCopies(t *testing.T) {
	s := Slab{size: 8}
	src := []byte("abcdef")
	a := s.Copy(src)
	b := s.Copy(src[:2])
	c := s.Copy([]byte("longer than the piece"))
	src[0] = 'X'
	assert.Equal(t, "abcdef", string(a))
	assert.Equal(t, "ab", string(b))
	assert.Equal(t, "longer than the piece", string(c))
	assert.Equal(t, len(a), cap(a), "an append must not reach the neighbour")
	assert.Nil(t, s.Copy(nil))
	empty := s.Copy([]byte{})
	assert.NotNil(t, empty)
	assert.Empty(t, empty)
}

func TestSlabNullAndEmptyDifferFromTheStart(t *testing.T) {
	var s Slab
	assert.Nil(t, s.Copy(nil))
	assert.NotNil(t, s.Copy([]byte{}))
}

func TestSlabHeaders(t *testing.T) {
	var s Slab
	in := []record.Header{{Key: "a", Value: []byte("1")}, {Key: "b"}, {Key: "a", Value: []byte{}}}
	one, two := s.CopyHeaders(in), s.CopyHeaders(in[:1])
	in[0].Value[0] = 'X'
	assert.Equal(t, []record.Header{{Key: "a", Value: []byte("1")}, {Key: "b"}, {Key: "a", Value: []byte{}}}, one)
	assert.Equal(t, "1", string(two[0].Value))
	assert.Equal(t, len(one), cap(one))
	for range 100 {
		assert.Len(t, s.CopyHeaders(in), 3)
	}
}

// A record with an empty value may be kept for long; the buffer it was read from must not be kept with it.
func TestSlabEmptyKeepsNothing(t *testing.T) {
	var s Slab
	gone := make(chan struct{})
	big := make([]byte, 1<<20)
	runtime.AddCleanup(&big[0], func(struct{}) { close(gone) }, struct{}{})
	empty := s.Copy(big[:0])
	runtime.GC()
	<-gone
	assert.NotNil(t, empty)
	runtime.KeepAlive(empty)
}
