package main

import (
	"strings"
	"testing"

	"github.com/quirelog/quire/internal/kafkadir"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The tool says of directories that Kafka's cleaner has left gaps in what the library says: they are sound, before and after they are opened.
func TestSoundDirectoriesOfKafka(t *testing.T) {
	one := func(offset int64) kafkadir.Batch { return kafkadir.Batch{Offset: offset, Count: 1} }
	for name, p := range map[string]*kafkadir.Partition{
		"gaps":                     {Segments: []kafkadir.Segment{{Batches: []kafkadir.Batch{one(0), one(5)}}, {Base: 10, Batches: []kafkadir.Batch{one(10)}}}},
		"farther than an index":    {Segments: []kafkadir.Segment{{Batches: []kafkadir.Batch{one(0), one(1<<31 + 1000), one(3 << 31)}}}},
		"a start inside the first": {Segments: []kafkadir.Segment{{Batches: []kafkadir.Batch{one(0), one(3), one(5), one(9)}}}, Start: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			require.NoError(t, p.Write(vfs.OS()))
			for _, other := range []string{"u", "v"} {
				assert.Contains(t, good(t, kafkadir.Dir, "verify {dir}", ""), "no damage")
				good(t, kafkadir.Dir, "repair -accept-loss {dir}", "")
				text := good(t, kafkadir.Dir, "consume -dir {dir} t", "")
				assert.Equal(t, 3, strings.Count(text, "v\n"), text)
				good(t, kafkadir.Dir, "topics create -dir {dir} "+other, "") // opens the directory for writing
			}
		})
	}
}
