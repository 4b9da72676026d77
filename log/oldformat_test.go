package log

import (
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/require"
)

// oldMessage is a message as Kafka before 0.11 wrote it, without key.
func oldMessage(offset int64, magic byte, value string) []byte {
	be := binary.BigEndian
	body := []byte{magic, 0}
	if magic == 1 {
		body = be.AppendUint64(body, 1000)
	}
	body = be.AppendUint32(body, 0xffffffff)
	body = append(be.AppendUint32(body, uint32(len(value))), value...)
	data := be.AppendUint64(nil, uint64(offset))
	data = be.AppendUint32(data, uint32(len(body)+4))
	data = be.AppendUint32(data, crc32.ChecksumIEEE(body))
	return append(data, body...)
}

// Messages in formats that are not read are told as such by every way in, and nothing of them is cut off, saved aside or given up.
func TestOldFormatsAreRefused(t *testing.T) {
	for _, magic := range []byte{0, 1} {
		disk := vfs.NewMem()
		require.NoError(t, disk.MkdirAll(testDir))
		data := append(oldMessage(0, magic, "a"), oldMessage(1, magic, "b")...)
		require.NoError(t, vfs.WriteFile(disk, logFile(0), data))
		before := files(t, disk)
		for range 2 {
			for _, st := range []OpenState{{}, {ReadOnly: true}, {AcceptLoss: true}, {Kafka: KafkaState{Clean: true}}} {
				_, _, err := Open(disk, testDir, small, st)
				require.ErrorIs(t, err, record.ErrOldFormat)
				require.NotErrorIs(t, err, ErrCorrupt)
			}
			_, err := Verify(disk, testDir, small, VerifyOptions{})
			require.ErrorIs(t, err, record.ErrOldFormat)
			_, err = Repair(disk, testDir, small, RepairOptions{AcceptLoss: true})
			require.ErrorIs(t, err, record.ErrOldFormat)
		}
		require.Equal(t, before, files(t, disk))
	}
}

// Segments of a later version behind them are read.
func TestOldFormatsInFrontOfLaterOnes(t *testing.T) {
	for _, kafka := range []KafkaState{{}, {Clean: true}} {
		disk := vfs.NewMem()
		require.NoError(t, disk.MkdirAll(testDir))
		require.NoError(t, vfs.WriteFile(disk, logFile(0), append(oldMessage(0, 1, "a"), oldMessage(1, 1, "b")...)))
		require.NoError(t, vfs.WriteFile(disk, logFile(2), at(batchOf(t, "c"), 2, 0)))
		require.NoError(t, vfs.WriteFile(disk, testDir+"/"+snapshotName(2), EncodeProducerSnapshot(nil, nil)))
		before := files(t, disk)["00000000000000000000.log"]
		l, rep, err := Open(disk, testDir, small, OpenState{Kafka: kafka})
		require.NoError(t, err)
		require.Empty(t, rep.Damage)
		_, _, err = l.Read(nil, At(0), ReadOptions{})
		require.ErrorIs(t, err, record.ErrOldFormat)
		run, _, err := l.Read(nil, At(2), ReadOptions{Check: true})
		require.NoError(t, err)
		require.EqualValues(t, 2, record.Batch(run).BaseOffset())
		require.NoError(t, l.Close())
		require.Equal(t, before, files(t, disk)["00000000000000000000.log"])
	}
}
