package topic

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/require"
)

// twoPartitions is a directory with two partitions of four segments each, and another topic's of the same shape.
func twoPartitions(t *testing.T, clean bool) vfs.FS {
	disk := vfs.NewCrash()
	e := openOn(t, disk)
	for _, name := range []string{"orders", "events"} {
		tp := openTopic(t, e, name, Partitions(2), SegmentBytes(100))
		for i := range 8 {
			_, err := tp.Append(t.Context(), Record{Value: fmt.Append(nil, name, i%2)}, AppendTo(int32(i%2)))
			require.NoError(t, err)
		}
	}
	if !clean {
		t.Cleanup(func() { _ = e.Close() })
		return disk.Kill(0)
	}
	require.NoError(t, e.Close())
	return disk
}

func swapFiles(t *testing.T, disk vfs.FS, a, b string) {
	t.Helper()
	for _, move := range [][2]string{{a, "data/aside"}, {b, a}, {"data/aside", b}} {
		require.NoError(t, disk.Rename(move[0], move[1]))
	}
}

// swapSegments swaps all files of a segment between two directories.
func swapSegments(t *testing.T, disk vfs.FS, a, b string, base int64) {
	t.Helper()
	for _, suffix := range []string{".log", ".index", ".timeindex", ".sums"} {
		name := fmt.Sprintf("%020d%s", base, suffix)
		if _, err := disk.Stat(filepath.Join("data", a, name)); err != nil {
			continue
		}
		swapFiles(t, disk, filepath.Join("data", a, name), filepath.Join("data", b, name))
	}
}

// renameSegment gives a segment's files another base offset.
func renameSegment(t *testing.T, disk vfs.FS, dir string, from, to int64) {
	t.Helper()
	names, err := disk.List(filepath.Join("data", dir))
	require.NoError(t, err)
	for _, name := range names {
		suffix, ok := strings.CutPrefix(name, fmt.Sprintf("%020d", from))
		if ok && suffix != ".snapshot" {
			require.NoError(t, disk.Rename(filepath.Join("data", dir, name), filepath.Join("data", dir, fmt.Sprintf("%020d%s", to, suffix))))
		}
	}
}

// Files that were moved about are damage to Open and to Verify, Repair leaves them alone, and no wrong record is read.
func TestMovedFilesAreDamage(t *testing.T) {
	for name, move := range map[string]func(t *testing.T, disk vfs.FS){
		"directories of partitions":     func(t *testing.T, disk vfs.FS) { swapFiles(t, disk, "data/orders-0", "data/orders-1") },
		"directories of topics":         func(t *testing.T, disk vfs.FS) { swapFiles(t, disk, "data/orders-0", "data/events-0") },
		"first segments of partitions":  func(t *testing.T, disk vfs.FS) { swapSegments(t, disk, "orders-0", "orders-1", 0) },
		"middle segments of partitions": func(t *testing.T, disk vfs.FS) { swapSegments(t, disk, "orders-0", "orders-1", 2) },
		"first segments of topics":      func(t *testing.T, disk vfs.FS) { swapSegments(t, disk, "orders-0", "events-0", 0) },
		"middle segments of topics":     func(t *testing.T, disk vfs.FS) { swapSegments(t, disk, "orders-0", "events-0", 2) },
		"a middle segment, renamed":     func(t *testing.T, disk vfs.FS) { renameSegment(t, disk, "orders-0", 1, 7) },
		"the first segment, renamed":    func(t *testing.T, disk vfs.FS) { renameSegment(t, disk, "orders-0", 0, 9) },
		"two segments, names exchanged": func(t *testing.T, disk vfs.FS) {
			renameSegment(t, disk, "orders-0", 1, 8)
			renameSegment(t, disk, "orders-0", 2, 1)
			renameSegment(t, disk, "orders-0", 8, 2)
		},
	} {
		for _, clean := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/clean=%t", name, clean), func(t *testing.T) {
				disk := twoPartitions(t, clean)
				move(t, disk)
				rep, err := VerifyDirectory(t.Context(), disk, "data", VerifyOptions{})
				require.NoError(t, err)
				require.NotEmpty(t, rep.Faults)
				_, err = Repair(t.Context(), "data", RepairOptions{FS: disk})
				require.ErrorIs(t, err, ErrCorrupt)
				e, err := Open("data", On(disk))
				require.NoError(t, err)
				defer e.Close()
				p := partitionOf(t, openTopic(t, e, "orders"), 0)
				_, err = p.High()
				require.ErrorIs(t, err, ErrCorrupt)
				if !strings.HasPrefix(name, "directories of topics") {
					var foreign *log.ForeignError
					require.True(t, errors.As(err, &foreign), "%v", err)
				}
			})
		}
	}
}

// The last segment under another name is told as well, and its bytes stay.
func TestMovedLastSegmentIsNotCut(t *testing.T) {
	for _, clean := range []bool{true, false} {
		for _, to := range []int64{2, 5} {
			t.Run(fmt.Sprintf("to %d/clean=%t", to, clean), func(t *testing.T) {
				disk := twoPartitions(t, clean)
				if to == 2 { // takes the place of the one in front
					renameSegment(t, disk, "orders-0", 2, 77)
				}
				renameSegment(t, disk, "orders-0", 3, to)
				if to == 2 {
					renameSegment(t, disk, "orders-0", 77, 3)
				}
				path := fmt.Sprintf("data/orders-0/%020d.log", to)
				before, err := vfs.ReadFile(disk, path, 1<<20)
				require.NoError(t, err)
				rep, err := VerifyDirectory(t.Context(), disk, "data", VerifyOptions{})
				require.NoError(t, err)
				require.NotEmpty(t, rep.Faults)
				e, err := Open("data", On(disk))
				require.NoError(t, err)
				defer e.Close()
				_, err = partitionOf(t, openTopic(t, e, "orders"), 0).High()
				require.True(t, errors.Is(err, ErrCorrupt) || errors.Is(err, ErrDataLoss), "%v", err)
				after, err := vfs.ReadFile(disk, path, 1<<20)
				require.NoError(t, err)
				require.Equal(t, before, after)
			})
		}
	}
}

// Directories that the programs before wrote, whose slots and seals name no partition, open as they did.
func TestDirectoriesWithoutPartitionsOpen(t *testing.T) {
	disk := twoPartitions(t, true)
	names, err := disk.List("data/orders-0")
	require.NoError(t, err)
	for _, name := range names {
		if name == log.SlotFile {
			data, err := vfs.ReadFile(disk, "data/orders-0/"+name, 1024)
			require.NoError(t, err)
			for _, sector := range []int{0, 512} {
				clear(data[min(sector+108, len(data)):min(sector+120, len(data))])
			}
			require.NoError(t, vfs.WriteFile(disk, "data/orders-0/"+name, data))
		}
	}
	require.Len(t, holds(t, disk, "data", "orders")[0], 4)
}

// A partition of ours that a broker has led since, as one of a topic of its own, is sound: before it is opened, and afterwards.
func TestVerifyOfAPartitionThatWasUnderABroker(t *testing.T) {
	disk := twoPartitions(t, true)
	loseManifest(t, disk)
	id, err := newID()
	require.NoError(t, err)
	for _, dir := range []string{"data/orders-0", "data/orders-1"} {
		history := log.EncodeLeaderEpochs([]log.LeaderEpoch{{Epoch: 0, Start: 0}, {Epoch: 3, Start: 4}})
		require.NoError(t, vfs.WriteFile(disk, filepath.Join(dir, log.LeaderEpochFile), history))
		require.NoError(t, log.WritePartitionMetadata(disk, filepath.Join(dir, log.PartitionMetadataFile), id))
	}
	e := openOn(t, disk)
	for range 2 {
		rep, err := e.Verify(t.Context(), VerifyOptions{})
		require.NoError(t, err)
		require.Empty(t, rep.Faults)
		tp, err := e.lookup("orders")
		require.NoError(t, err)
		require.Equal(t, id, tp.ID())
		require.Len(t, stored(t, partitionOf(t, tp, 0)), 4)
	}
}
