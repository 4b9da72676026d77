package log

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/require"
)

// underBroker does to a directory what a broker does that leads the partition next: a new epoch in the history, a
// record behind the end, and the next segment. It knows no file of ours.
func underBroker(t testing.TB, disk vfs.FS) {
	t.Helper()
	history := EncodeLeaderEpochs([]LeaderEpoch{{Epoch: 0, Start: 0}, {Epoch: 3, Start: 10}})
	require.NoError(t, vfs.WriteFile(disk, filepath.Join(testDir, LeaderEpochFile), history))
	edit(t, disk, logFile(8), func(b []byte) []byte { return append(b, at(batchOf(t, "v"), 10, 3)...) })
	require.NoError(t, vfs.WriteFile(disk, logFile(11), at(batchOf(t, "v"), 11, 3)))
}

// removeSegment removes the files that Kafka knows of a segment.
func removeSegment(t testing.TB, disk vfs.FS, base int64) {
	t.Helper()
	for _, ending := range []string{".log", ".index", ".timeindex"} {
		require.NoError(t, disk.Remove(fmt.Sprintf("%s/%020d%s", testDir, base, ending)))
	}
}

func TestDirectoryThatWasUnderABroker(t *testing.T) {
	producer := record.BuilderConfig{HasProducer: true, ProducerID: 9, Transactional: true}
	for name, tc := range map[string]struct {
		more  func(disk vfs.FS)
		kafka KafkaState
		want  []string
	}{
		"appended to":      {want: tenWant(12)},
		"stopped in order": {kafka: KafkaState{Clean: true, RecoveryPoint: 12}, want: tenWant(12)},
		"led, and nothing appended": {
			more: func(disk vfs.FS) {
				require.NoError(t, disk.Remove(logFile(11)))
				edit(t, disk, logFile(8), func(b []byte) []byte { return b[:2*len(batchOf(t, "v"))] })
			},
			want: tenWant(10),
		},
		"records deleted": {kafka: KafkaState{Start: 6}, want: tenWant(12)[6:]},
		"segments deleted by retention": {
			more: func(disk vfs.FS) { removeSegment(t, disk, 0) },
			want: tenWant(12)[4:],
		},
		"compacted": {
			more: func(disk vfs.FS) {
				edit(t, disk, logFile(4), func([]byte) []byte { return nil })
				edit(t, disk, logFile(0), func(b []byte) []byte { return b[len(batchOf(t, "v")):] })
			},
			want: slices.Concat(tenWant(4)[1:], tenWant(12)[8:]),
		},
	} {
		for _, closed := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, closed in order before: %v", name, closed), func(t *testing.T) {
				ours := &Config{SegmentBytes: small.SegmentBytes, PreWrite: small.PreWrite, TopicID: TopicID{1}}
				theirs := &Config{SegmentBytes: small.SegmentBytes, PreWrite: small.PreWrite, TopicID: TopicID{2}}
				disk := tenRecords(t, ours, closed)
				underBroker(t, disk)
				require.NoError(t, WritePartitionMetadata(disk, filepath.Join(testDir, PartitionMetadataFile), theirs.TopicID))
				if tc.more != nil {
					tc.more(disk)
				}
				found, err := Verify(disk, testDir, theirs, VerifyOptions{TopicID: theirs.TopicID})
				require.NoError(t, err)
				require.Empty(t, found.Faults, "before it is opened")
				require.False(t, found.Clean)
				l, rep, err := Open(disk, testDir, theirs, OpenState{Kafka: tc.kafka})
				require.NoError(t, err)
				require.Empty(t, rep.Damage)
				requireContents(t, l, tc.want...)
				if l.End() > 10 {
					require.EqualValues(t, 3, l.LeaderEpoch())
					_, end := l.EpochEnd(0)
					require.EqualValues(t, 10, end)
				}
				put(t, l, "v")
				require.NoError(t, l.Close())
				found, err = Verify(disk, testDir, theirs, VerifyOptions{TopicID: theirs.TopicID})
				require.NoError(t, err)
				require.Empty(t, found.Faults, "once it is ours again")
				require.True(t, found.Clean)
				l, rep = reopen(t, disk, theirs)
				require.True(t, rep.Clean)
				requireContents(t, l, append(slices.Clone(tc.want), fmt.Sprintf("%d:v", l.End()-1))...)
			})
		}
	}
	for _, closed := range []bool{true, false} {
		t.Run(fmt.Sprintf("transactions of the broker's clients count, closed in order before: %v", closed), func(t *testing.T) {
			disk := tenRecords(t, small, closed)
			underBroker(t, disk)
			edit(t, disk, logFile(11), func(b []byte) []byte {
				b = append(b, at(build(t, producer, "aborted"), 12, 3)...)
				b = append(b, at(record.EndTxnMarker(record.Abort, 9, 0, 0, 0), 13, 3)...)
				return append(b, at(build(t, record.BuilderConfig{HasProducer: true, ProducerID: 9, BaseSequence: 1, Transactional: true}, "open"), 14, 3)...)
			})
			snapshot := EncodeProducerSnapshot(nil, []ProducerState{{ProducerID: 9, LastSequence: 1, LastOffset: 14, LastTimestamp: time.Now().UnixMilli(), TxnStart: 14}})
			require.NoError(t, vfs.WriteFile(disk, testDir+"/00000000000000000015.snapshot", snapshot))
			l, _ := reopen(t, disk, small)
			require.EqualValues(t, 14, l.Stable())
			aborted, err := l.AbortedIn(0, 14)
			require.NoError(t, err)
			require.Equal(t, []Aborted{{ProducerID: 9, First: 12, Last: 13, Stable: 14}}, aborted)
		})
	}
	t.Run("a history that says less is not taken for a broker's", func(t *testing.T) {
		disk := tenRecords(t, small, true)
		require.NoError(t, vfs.WriteFile(disk, filepath.Join(testDir, LeaderEpochFile), EncodeLeaderEpochs([]LeaderEpoch{{Epoch: 2, Start: 0}})))
		l, rep := reopen(t, disk, small)
		require.NotEmpty(t, rep.Notes)
		require.Zero(t, l.LeaderEpoch())
		requireContents(t, l, tenWant(10)...)
	})
}

// A crash at any call of the open that takes a directory back, or of the close behind it, leaves one that the next open takes back.
func TestTakingBackSurvivesACrash(t *testing.T) {
	mem := tenRecords(t, small, true)
	underBroker(t, mem)
	removeSegment(t, mem, 0)
	disk := vfs.NewCrash()
	require.NoError(t, errors.Join(disk.MkdirAll(testDir), disk.SyncDir(".")))
	for name, data := range files(t, mem) {
		require.NoError(t, vfs.WriteFile(disk, filepath.Join(testDir, name), []byte(data)))
	}
	states := 0
	for crashed, n := true, 1; crashed; n++ {
		for seed := range uint64(4) {
			run := disk.After(vfs.KeepAll, 0)
			run.CrashAt(n)
			l, _, err := Open(run, testDir, small, OpenState{})
			if err == nil {
				err = l.Close()
			}
			if crashed = run.Crashed(); !crashed {
				require.NoError(t, err)
				break
			}
			left := run.After(vfs.KeepRandom, seed)
			l, rep := reopen(t, left, small)
			require.Empty(t, rep.Damage)
			requireContents(t, l, tenWant(12)[4:]...)
			require.NoError(t, l.Close())
			states++
		}
	}
	require.Greater(t, states, 40)
}
