package topic

import (
	"hash/crc32"
	"syscall"
	"testing"

	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic/internal/catalog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Names that tests of directories look for.
const (
	manifestFile = catalog.File
	manifestPrev = catalog.PrevFile
	maxManifest  = catalog.MaxBytes
)

// What makes room needs none: on a full disk topics can be deleted.
func TestDeleteTopicOnAFullDisk(t *testing.T) {
	disk := vfs.NewMem()
	e, err := Open("data", On(disk))
	require.NoError(t, err)
	defer e.Close()
	for _, name := range []string{"a", "b"} {
		top := clientTopic(t, e, name)
		_, err := top.Append(t.Context(), Record{Value: make([]byte, 10000)})
		require.NoError(t, err)
	}
	require.NoError(t, e.Checkpoint(t.Context()))
	disk.SetByteLimit(disk.Used())
	_, err = e.CreateTopic(t.Context(), "c", Set("segment.bytes", "100000"))
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NotErrorIs(t, err, ErrUncertain)
	used := disk.Used()
	require.NoError(t, e.DeleteTopic(t.Context(), "a"))
	assert.Less(t, disk.Used(), used-10000)
	_, err = e.CreateTopic(t.Context(), "c")
	require.NoError(t, err)
}

// Too few descriptors for the manifest is a definite failure that passes.
func TestCreateTopicWithoutDescriptors(t *testing.T) {
	disk := vfs.NewMem()
	e, err := Open("data", On(disk))
	require.NoError(t, err)
	defer e.Close()
	disk.SetHandleLimit(max(disk.OpenFiles(), 1))
	_, err = e.CreateTopic(t.Context(), "t")
	require.True(t, vfs.IsTooManyFiles(err), "%v", err)
	require.NotErrorIs(t, err, ErrUncertain)
	disk.SetHandleLimit(0)
	_, err = e.CreateTopic(t.Context(), "t")
	require.NoError(t, err)
}

// crc is the checksum of the manifest's last line.
func crc(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }
