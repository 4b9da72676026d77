package topic

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// The values are those that Kafka's clients compute.
func TestMurmur2GoldenValues(t *testing.T) {
	for key, want := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"abc":                        479470107,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
	} {
		assert.Equal(t, want, int32(murmur2([]byte(key))), key)
	}
	assert.Equal(t, int32(-58897971), int32(murmur2([]byte("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8"))))
	assert.Equal(t, int32(479470107), int32(murmur2([]byte{'a', 'b', 'c'})))
}

func TestMurmur2AllocatesNothing(t *testing.T) {
	key := []byte("some key of a usual length")
	assert.Zero(t, testing.AllocsPerRun(100, func() { murmur2(key) }))
}

func BenchmarkMurmur2(b *testing.B) {
	key := []byte("some key of a usual length")
	b.ReportAllocs()
	for b.Loop() {
		murmur2(key)
	}
}
