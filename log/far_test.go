package log

import (
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/require"
)

// farAway is an offset that no entry of an index of the segment at 0 reaches.
const farAway = 1<<31 + 1000

// farDisk is what compaction of an old version of Apache Kafka could make: one file with offsets farther apart than an index tells.
func farDisk(t testing.TB) *vfs.Mem {
	t.Helper()
	disk := vfs.NewMem()
	require.NoError(t, disk.MkdirAll(testDir))
	var data []byte
	for i, offset := range []int64{0, farAway, farAway + 1, 3 * farAway} {
		data = append(data, at(kvBatch(t, record.BuilderConfig{}, kv{string(rune('a' + i)), "v"}), offset, 0)...)
	}
	require.NoError(t, vfs.WriteFile(disk, logFile(0), data))
	return disk
}

func farWant() []string {
	return []string{"0:a=v", fmt.Sprintf("%d:b=v", int64(farAway)), fmt.Sprintf("%d:c=v", int64(farAway+1)), fmt.Sprintf("%d:d=v", int64(3*farAway))}
}

// Kafka splits such segments (LogLoader), and so do we where we may write.
func TestSegmentsThatReachTooFarAreSplit(t *testing.T) {
	disk := farDisk(t)
	before := files(t, disk)
	l, _, err := Open(disk, testDir, small, OpenState{ReadOnly: true})
	require.NoError(t, err)
	require.Len(t, l.Segments(), 1)
	requireKeyed(t, l, farWant()...)
	require.NoError(t, l.Close())
	require.Equal(t, before, files(t, disk), "a reader changes nothing")

	cfg := &Config{Compacted: true}
	l, _, err = Open(disk, testDir, cfg, OpenState{})
	require.NoError(t, err)
	var bases []int64
	for _, s := range l.Segments() {
		bases = append(bases, s.Base)
	}
	require.Equal(t, []int64{0, farAway, 3 * farAway}, bases)
	requireKeyed(t, l, farWant()...)
	putKV(t, l, "b=w")
	require.EqualValues(t, int64(3*farAway+2), l.End())
	roll(t, l)
	compactAt(t, l, time.Now())
	all := farWant()
	requireKeyed(t, l, all[0], all[2], all[3], fmt.Sprintf("%d:b=w", int64(3*farAway+1)))
	require.NoError(t, l.Close())
}

// Without room for the copy, or with damage in it, the segment stays as it is, and is read as it is.
func TestSegmentsThatReachTooFarStayWithoutRoom(t *testing.T) {
	disk := vfs.NewFault(farDisk(t))
	disk.Add(vfs.Rule{Op: vfs.OpCreate, Path: filepath.Base(logFile(0)) + ".cleaned", Count: vfs.Forever, Err: syscall.ENOSPC})
	l, rep, err := Open(disk, testDir, small, OpenState{})
	require.NoError(t, err)
	require.Len(t, rep.Notes, 1)
	require.Len(t, l.Segments(), 1)
	requireKeyed(t, l, farWant()...)
	put(t, l, "behind")
	require.Len(t, l.Segments(), 2)
	require.NoError(t, l.Close())
}
