package log

import (
	"bytes"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/require"
)

func logFile(base int64) string { return fmt.Sprintf("%s/%020d.log", testDir, base) }

func edit(t testing.TB, disk vfs.FS, name string, change func(b []byte) []byte) {
	t.Helper()
	data, err := vfs.ReadFile(disk, name, -1)
	require.NoError(t, err)
	require.NoError(t, vfs.WriteFile(disk, name, change(data)))
}

func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte { b[at] ^= 0x10; return b }
}

// tenRecords is a log of ten batches in three segments (0, 4, 8), killed or closed.
func tenRecords(t testing.TB, cfg *Config, closed bool) *vfs.Mem {
	t.Helper()
	disk := vfs.NewMem()
	l, _, err := Open(disk, testDir, cfg, OpenState{})
	require.NoError(t, err)
	for range 10 {
		put(t, l, "v")
	}
	require.Len(t, l.Segments(), 3)
	if closed {
		require.NoError(t, l.Close())
	}
	return disk
}

var small = &Config{SegmentBytes: 300, PreWrite: -1}

func tenWant(n int) (want []string) {
	for i := range n {
		want = append(want, itoa(i)+":v")
	}
	return want
}

func TestCleanOpenReadsNoData(t *testing.T) {
	disk := tenRecords(t, small, true)
	reads, n := counted(disk, vfs.OpRead, ".log")
	l, rep, err := Open(reads, testDir, small, OpenState{})
	require.NoError(t, err)
	require.True(t, rep.Clean)
	require.Zero(t, rep.Scanned)
	require.Zero(t, n.Load())
	require.EqualValues(t, 10, l.End())
	before := files(t, disk)
	require.NoError(t, l.Close())
	require.Equal(t, before, files(t, disk), "opening and closing changes nothing")
}

func TestCleanOpenWithProducersReadsNoData(t *testing.T) {
	disk := vfs.NewMem()
	l := openLog(t, disk, &Config{})
	_, err := l.Append(t.Context(), sent{9, 0, 0, 2, 0, false}.batch(t), AppendOptions{})
	require.NoError(t, err)
	l.writer.producers.reset() // as if all had expired before a snapshot was taken
	require.NoError(t, l.Close())
	reads, n := counted(disk, vfs.OpRead, ".log")
	l = openLog(t, reads, &Config{})
	require.Zero(t, n.Load())
	_, err = l.Append(t.Context(), sent{9, 0, 0, 2, 0, false}.batch(t), AppendOptions{})
	require.NoError(t, err)
	require.NoError(t, l.Close())
	l = openLog(t, reads, &Config{})
	require.Len(t, l.Producers(), 1)
}

func TestUncleanOpenReadsOnlyPastTheSlot(t *testing.T) {
	cfg := &Config{Durability: OS}
	disk := vfs.NewMem()
	l := openLog(t, disk, cfg)
	value := strings.Repeat("x", 1000)
	for i := range 2000 {
		_, err := l.Append(t.Context(), batchOf(t, value), AppendOptions{})
		require.NoError(t, err)
		if i == 1899 {
			require.NoError(t, l.Flush(t.Context()))
		}
	}
	_, rep := reopen(t, disk, cfg)
	require.False(t, rep.Clean)
	require.EqualValues(t, 100*len(batchOf(t, value)), rep.Scanned)
}

func TestTornTails(t *testing.T) {
	good := batchOf(t, "later")
	for name, tail := range map[string][]byte{
		"zeros":      make([]byte, 5000),
		"garbage":    bytes.Repeat([]byte{0xa5, 0x3c, 7}, 99),
		"half":       at(good, 10, 0)[:40],
		"bad CRC":    flip(len(good) - 1)(at(good, 10, 0)),
		"wrong base": at(good, 3, 0),
	} {
		t.Run(name, func(t *testing.T) {
			disk := tenRecords(t, small, false)
			edit(t, disk, logFile(8), func(b []byte) []byte { return append(b, tail...) })
			l, rep := reopen(t, disk, small)
			require.Empty(t, rep.Damage)
			requireContents(t, l, tenWant(10)...)
			put(t, l, "v")
			require.NoError(t, l.Close())
			l, _ = reopen(t, disk, small)
			requireContents(t, l, tenWant(11)...)
		})
	}
	t.Run("a whole batch behind garbage is saved", func(t *testing.T) {
		disk := tenRecords(t, small, false)
		edit(t, disk, logFile(8), func(b []byte) []byte { return append(append(b, "garbage"...), at(good, 11, 0)...) })
		l, rep := reopen(t, disk, small)
		requireContents(t, l, tenWant(10)...)
		require.NotEmpty(t, rep.SavedAs)
		require.EqualValues(t, 7+len(good)-1, rep.CutBytes, "the last byte is a zero")
		saved, err := vfs.ReadFile(disk, rep.SavedAs, -1)
		require.NoError(t, err)
		require.Contains(t, string(saved), "later")
	})
}

func TestMissingSegments(t *testing.T) {
	for _, closed := range []bool{true, false} {
		for _, tc := range []struct {
			gone        int64
			first, next int64
			want        []string
		}{
			{0, 0, 4, tenWant(10)[4:]},
			{4, 4, 8, append(tenWant(4), tenWant(10)[8:]...)},
			{8, 8, 10, tenWant(8)},
		} {
			t.Run(fmt.Sprintf("%d closed %v", tc.gone, closed), func(t *testing.T) {
				disk := tenRecords(t, small, closed)
				require.NoError(t, disk.Remove(logFile(tc.gone)))
				_, _, err := Open(disk, testDir, small, OpenState{})
				require.ErrorIs(t, err, ErrDataLoss)
				var lost *LossError
				require.ErrorAs(t, err, &lost)
				require.Equal(t, []int64{tc.first, tc.next}, []int64{lost.First, lost.Next})
				l, rep, err := Open(disk, testDir, small, OpenState{AcceptLoss: true})
				require.NoError(t, err)
				require.NotNil(t, rep.Lost)
				require.EqualValues(t, 10, l.End(), "offsets are not used again")
				requireSkipping(t, l, tc.want)
				put(t, l, "v")
				require.NoError(t, l.Close())
				l, _ = reopen(t, disk, small)
				requireSkipping(t, l, append(tc.want, "10:v"))
			})
		}
	}
	t.Run("the middle one with all its files: a reader is told", func(t *testing.T) {
		disk := tenRecords(t, small, true)
		for _, name := range names(t, disk) {
			if strings.HasPrefix(name, "00000000000000000004.") {
				require.NoError(t, disk.Remove(testDir+"/"+name))
			}
		}
		l, _ := reopen(t, disk, small)
		_, err := contents(l, High)
		var damage *CorruptionError
		require.ErrorAs(t, err, &damage)
		require.Equal(t, []int64{4, 8}, []int64{damage.FirstOffset, damage.NextOffset})
		run, _, err := l.Read(nil, At(8), ReadOptions{Check: true})
		require.NoError(t, err)
		require.NotEmpty(t, run)
	})
}

// requireSkipping reads all there is, going on behind reported damage.
func requireSkipping(t testing.TB, l *Log, want []string) {
	t.Helper()
	var got []string
	require.NoError(t, l.replay(l.Start(), l.End(), func(b record.Batch) {
		for o := b.BaseOffset(); o <= b.LastOffset(); o++ {
			got = append(got, fmt.Sprintf("%d:v", o))
		}
	}))
	require.Equal(t, want, got)
}

// A flipped byte anywhere in the data is told with its range, and reading goes on behind it.
func TestDamageInside(t *testing.T) {
	size := len(batchOf(t, "v"))
	for _, closed := range []bool{true, false} {
		for _, base := range []int64{0, 8} {
			for at := int(base) % 3; at < size; at += every(3) {
				disk := tenRecords(t, small, closed)
				edit(t, disk, logFile(base), flip(size+at)) // the second batch of the segment
				l, _, err := Open(disk, testDir, small, OpenState{})
				require.NoError(t, err)
				_, err = contents(l, High)
				name := fmt.Sprintf("byte %d of offset %d, closed %v", at, base+1, closed)
				require.ErrorIs(t, err, ErrCorrupt, name)
				var damage *CorruptionError
				require.ErrorAs(t, err, &damage)
				require.Equal(t, base+1, damage.FirstOffset, name)
				require.Equal(t, base+2, damage.NextOffset, name)
				_, _, err = l.Read(nil, At(base), ReadOptions{Check: true, MaxBytes: 1})
				require.NoError(t, err, name)
				if base == 0 {
					run, _, err := l.Read(nil, At(2), ReadOptions{Check: true})
					require.NoError(t, err, name)
					require.EqualValues(t, 2, record.Batch(run).BaseOffset())
				}
				_ = l.Close()
			}
		}
	}
}

// Derived files may be missing or damaged: the log opens, and reads the same.
func TestDamagedSideFiles(t *testing.T) {
	for _, closed := range []bool{true, false} {
		for name := range files(t, tenRecords(t, small, closed)) {
			if strings.HasSuffix(name, ".log") {
				continue
			}
			for kind, change := range map[string]func([]byte) []byte{
				"flipped": func(b []byte) []byte {
					if len(b) > 20 {
						b[20] ^= 4
					}
					return b
				},
				"empty": func([]byte) []byte { return nil },
				"half":  func(b []byte) []byte { return b[:len(b)/2] },
				"zeros": func(b []byte) []byte { return make([]byte, len(b)) },
				"gone":  nil,
			} {
				disk := tenRecords(t, small, closed)
				if change == nil {
					require.NoError(t, disk.Remove(testDir+"/"+name))
				} else {
					edit(t, disk, testDir+"/"+name, change)
				}
				what := fmt.Sprintf("%s %s, closed %v", name, kind, closed)
				l, rep, err := Open(disk, testDir, small, OpenState{})
				require.NoError(t, err, what)
				require.Empty(t, rep.Damage, what)
				list, err := contents(l, High)
				require.NoError(t, err, what)
				require.Equal(t, tenWant(10), list, what)
				epoch, _ := l.EpochEnd(0)
				require.Zero(t, epoch, what)
				found, ok, err := l.OffsetFor(1000, High)
				require.NoError(t, err, what)
				require.True(t, ok)
				require.Zero(t, found.Offset)
				put(t, l, "v")
				require.NoError(t, l.Close(), what)
				l, _ = reopen(t, disk, small)
				requireContents(t, l, tenWant(11)...)
			}
		}
	}
}

func TestDamagedSlotHalves(t *testing.T) {
	for _, broken := range [][]int{{0}, {1}, {0, 1}} {
		disk := tenRecords(t, small, false)
		edit(t, disk, testDir+"/"+SlotFile, func(b []byte) []byte {
			for _, half := range broken {
				b[half*slotSector+30] ^= 1
			}
			return b
		})
		l, rep := reopen(t, disk, small)
		requireContents(t, l, tenWant(10)...)
		require.NotEmpty(t, rep.Notes)
		put(t, l, "v")
		require.NoError(t, l.Close())
		l, rep = reopen(t, disk, small)
		require.True(t, rep.Clean)
		requireContents(t, l, tenWant(11)...)
	}
}

func TestNewerSlotIsRefused(t *testing.T) {
	disk := tenRecords(t, small, true)
	edit(t, disk, testDir+"/"+SlotFile, func(b []byte) []byte {
		b[5] = 2
		sum := crc32c(b[:slotSumAt])
		copy(b[slotSumAt:], []byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
		return b
	})
	before := files(t, disk)
	_, _, err := Open(disk, testDir, small, OpenState{})
	require.ErrorIs(t, err, ErrNewerFormat)
	require.Equal(t, before, files(t, disk))
	require.Zero(t, disk.OpenFiles())
}

// kafkaDir is a log as Kafka leaves it: no file of ours.
func kafkaDir(t testing.TB) *vfs.Mem {
	disk := tenRecords(t, small, true)
	for _, name := range names(t, disk) {
		if strings.HasSuffix(name, ".sums") || name == SlotFile {
			require.NoError(t, disk.Remove(testDir+"/"+name))
		}
	}
	return disk
}

func TestKafkaDirectory(t *testing.T) {
	for name, tc := range map[string]struct {
		kafka KafkaState
		spoil func(disk vfs.FS)
		want  []string
		start int64
	}{
		"clean":                   {KafkaState{Clean: true}, nil, tenWant(10), 0},
		"clean, start":            {KafkaState{Clean: true, Start: 5}, nil, tenWant(10)[5:], 5},
		"killed":                  {KafkaState{}, nil, tenWant(10), 0},
		"killed, recovery point":  {KafkaState{RecoveryPoint: 8}, nil, tenWant(10), 0},
		"torn":                    {KafkaState{RecoveryPoint: 8}, func(d vfs.FS) { edit(t, d, logFile(8), func(b []byte) []byte { return b[:len(b)-3] }) }, tenWant(9), 0},
		"without the epoch file":  {KafkaState{}, func(d vfs.FS) { require.NoError(t, d.Remove(testDir+"/"+LeaderEpochFile)) }, tenWant(10), 0},
		"without the index files": {KafkaState{Clean: true}, func(d vfs.FS) { require.NoError(t, d.Remove(testDir+"/00000000000000000004.index")) }, tenWant(10), 0},
	} {
		t.Run(name, func(t *testing.T) {
			disk := kafkaDir(t)
			if tc.spoil != nil {
				tc.spoil(disk)
			}
			l, rep, err := Open(disk, testDir, small, OpenState{Kafka: tc.kafka})
			require.NoError(t, err)
			require.Empty(t, rep.Damage)
			require.Equal(t, tc.start, l.Start())
			require.Equal(t, l.End(), l.Stable(), "no transaction is open")
			requireContents(t, l, tc.want...)
			epoch, _ := l.EpochEnd(0)
			require.Zero(t, epoch)
			put(t, l, "v")
			require.NoError(t, l.Close())
			l, rep = reopen(t, disk, small)
			require.True(t, rep.Clean)
			requireContents(t, l, append(tc.want, fmt.Sprintf("%d:v", len(tc.want)+int(tc.start)))...)
		})
	}
	for name, tc := range map[string]struct {
		left map[int64]int // batches that Kafka's cleaner left in the segments at these offsets
		want []string
	}{
		"first segment emptied":  {map[int64]int{0: 0}, tenWant(10)[4:]},
		"middle segment emptied": {map[int64]int{4: 0}, append(tenWant(4), tenWant(10)[8:]...)},
		"last batches removed":   {map[int64]int{0: 3, 4: 1}, append(tenWant(3), "4:v", "8:v", "9:v")},
	} {
		for _, kafka := range []KafkaState{{Clean: true}, {}, {RecoveryPoint: 8}} {
			t.Run(fmt.Sprintf("%s, %+v", name, kafka), func(t *testing.T) {
				disk := kafkaDir(t)
				size := len(batchOf(t, "v"))
				for base, n := range tc.left {
					edit(t, disk, logFile(base), func(b []byte) []byte { return b[:n*size] })
				}
				l, rep, err := Open(disk, testDir, small, OpenState{Kafka: kafka})
				require.NoError(t, err)
				require.Empty(t, rep.Damage)
				requireContents(t, l, tc.want...)
				put(t, l, "v")
				require.NoError(t, l.Close())
				l, rep = reopen(t, disk, small)
				require.True(t, rep.Clean)
				requireContents(t, l, append(slices.Clone(tc.want), "10:v")...)
			})
		}
	}
	t.Run("damage in the middle of an unclean one is kept and told", func(t *testing.T) {
		disk := kafkaDir(t)
		size := len(batchOf(t, "v"))
		edit(t, disk, logFile(4), flip(2*size+65))
		before := files(t, disk)["00000000000000000004.log"]
		l, rep := reopen(t, disk, small)
		require.Len(t, rep.Damage, 1)
		require.Equal(t, []int64{6, 7}, []int64{rep.Damage[0].FirstOffset, rep.Damage[0].NextOffset})
		require.Equal(t, before, files(t, disk)["00000000000000000004.log"])
		_, err := contents(l, High)
		require.ErrorIs(t, err, ErrCorrupt)
		require.EqualValues(t, 10, l.End())
	})
}

// A reader beside a writer sees what is durable, and changes nothing.
func TestReadOnlyBesideAWriter(t *testing.T) {
	disk := tenRecords(t, small, false)
	w, _ := reopen(t, disk, small)
	_, err := w.Append(t.Context(), batchOf(t, "not yet"), AppendOptions{NoWait: true})
	require.NoError(t, err)
	before := files(t, disk)
	l, _, err := Open(disk, testDir, small, OpenState{ReadOnly: true})
	require.NoError(t, err)
	requireContents(t, l, tenWant(10)...)
	_, ok, err := l.OffsetFor(1000, High)
	require.NoError(t, err)
	require.True(t, ok)
	_, err = l.Append(t.Context(), batchOf(t, "x"), AppendOptions{})
	require.ErrorIs(t, err, ErrReadOnly)
	require.ErrorIs(t, l.AppendAt(t.Context(), at(batchOf(t, "x"), 11, 0)), ErrReadOnly)
	require.ErrorIs(t, l.Truncate(0), ErrReadOnly)
	require.ErrorIs(t, l.TruncateFully(0), ErrReadOnly)
	_, err = l.DeleteRecords(-1)
	require.ErrorIs(t, err, ErrReadOnly)
	_, err = l.AbortedIn(0, 10)
	require.NoError(t, err)
	_, err = l.Tick(t.Context())
	require.NoError(t, err)
	require.NoError(t, l.Close())
	require.Equal(t, before, files(t, disk))
	require.NoError(t, w.Flush(t.Context()))
	l, _, err = Open(disk, testDir, small, OpenState{ReadOnly: true})
	require.NoError(t, err)
	require.EqualValues(t, 11, l.High())
	require.NoError(t, l.Close())

	_, _, err = Open(vfs.NewMem(), testDir, small, OpenState{ReadOnly: true})
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// Leader epochs survive a history file that could not be written in time.
func TestEpochHistoryIsRebuilt(t *testing.T) {
	disk := vfs.NewFault(vfs.NewMem())
	l, _, err := Open(disk, testDir, small, OpenState{Epoch: 1})
	require.NoError(t, err)
	put(t, l, "v")
	disk.Add(vfs.Rule{Op: vfs.OpRename, Path: LeaderEpochFile})
	require.NoError(t, l.AppendAt(t.Context(), at(batchOf(t, "v"), 1, 5)))
	require.NoError(t, l.SetLeaderEpoch(5))
	put(t, l, "v")
	require.Error(t, l.SetLeaderEpoch(4))
	l, _ = reopen(t, disk, small) // killed
	require.EqualValues(t, 5, l.LeaderEpoch())
	_, end := l.EpochEnd(1)
	require.EqualValues(t, 1, end)
	requireContents(t, l, tenWant(3)...)
	put(t, l, "v")
	require.NoError(t, l.Close())
	edit(t, disk, testDir+"/"+LeaderEpochFile, func([]byte) []byte { return []byte("0\n1\n9 0\n") })
	l, rep := reopen(t, disk, small)
	require.NotEmpty(t, rep.Notes)
	require.EqualValues(t, 5, l.LeaderEpoch())
	requireContents(t, l, tenWant(4)...)
}

// A file that is shorter than what was on disk is no torn tail.
func TestShortenedBelowDurable(t *testing.T) {
	size := len(batchOf(t, "v"))
	for _, left := range []int{0, size, size + 40} {
		disk := tenRecords(t, small, false)
		edit(t, disk, logFile(8), func(b []byte) []byte { return b[:left] })
		first := 8 + int64(left/size)
		if left%size == 0 { // nothing is there to show a reader where the hole is
			_, _, err := Open(disk, testDir, small, OpenState{})
			var lost *LossError
			require.ErrorAs(t, err, &lost)
			require.Equal(t, []int64{first, 10}, []int64{lost.First, lost.Next})
		}
		l, rep, err := Open(disk, testDir, small, OpenState{AcceptLoss: true})
		require.NoError(t, err)
		require.Len(t, rep.Damage, 1)
		require.Equal(t, []int64{first, 10}, []int64{rep.Damage[0].FirstOffset, rep.Damage[0].NextOffset})
		require.EqualValues(t, 10, l.End(), "offsets are not used again")
		if left%size != 0 {
			_, err = contents(l, High)
			require.ErrorIs(t, err, ErrCorrupt)
		}
		put(t, l, "v")
		require.NoError(t, l.Close())
		l, _ = reopen(t, disk, small)
		requireSkipping(t, l, append(tenWant(int(first)), "10:v"))
	}
}
