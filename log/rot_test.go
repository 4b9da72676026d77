package log

import (
	"errors"
	"fmt"
	"testing"

	"github.com/quirelog/quire/internal/thin"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/require"
)

// uncovered is how many bytes of a batch no checksum covers: base offset, length, leader epoch, magic.
const uncovered = 17

// killedLog is a killed log with five batches; but at level Sync none of them is synced.
func killedLog(t testing.TB, cfg *Config) *vfs.Mem {
	t.Helper()
	disk := vfs.NewMem()
	l := openLog(t, disk, cfg)
	for i := range 5 {
		_, err := l.Append(t.Context(), batchOf(t, fmt.Sprint("v", i)), AppendOptions{})
		require.NoError(t, err)
	}
	if cfg.Durability != Sync {
		require.Zero(t, l.Durable())
	}
	left := copyOf(t, snapshotOf(t, disk))
	require.NoError(t, l.Close())
	return left
}

// A damaged header costs at most its batch, in the unsynced tail too: what lies behind it is read, and appends go on with the right epoch.
//
// The last batch is cut off, and saved, when its base offset is wrong: it might be one that came there by other ways.
func TestRottenHeaderCostsItsBatchOnly(t *testing.T) {
	size := len(batchOf(t, "v0"))
	for _, level := range []Durability{Sync, Interval, OS} {
		cfg := &Config{Durability: level}
		for batch := range int64(5) {
			for at := range uncovered {
				for _, bit := range []byte{1, 16, 128}[:thin.Raced(3, 1)] {
					name := fmt.Sprintf("level %v, byte %d of batch %d, bit %d", level, at, batch, bit)
					disk := killedLog(t, cfg)
					edit(t, disk, logFile(0), func(b []byte) []byte { b[int(batch)*size+at] ^= bit; return b })
					if batch == 4 && at < 8 && level != Sync {
						requireCut(t, disk, cfg, name)
						continue
					}
					requireRestOf(t, disk, cfg, batch, name)
				}
			}
		}
	}
}

// A power cut may take the header of a batch alone: its first sector. What is put right has the leader epoch that wrote it, which no checksum tells.
func TestLostHeaderHasItsEpoch(t *testing.T) {
	for _, c := range []struct {
		from    int // of the epoch; what lies in front of it is durable
		batch   int // not the last one, which cannot be told from another that came there by other ways
		history bool
	}{{0, 0, true}, {0, 1, true}, {0, 3, true}, {0, 1, false}, {0, 3, false}, {3, 3, true}} {
		name := fmt.Sprintf("%+v", c)
		cfg := &Config{Durability: OS}
		disk := vfs.NewMem()
		l := openLog(t, disk, cfg)
		for i := range 5 {
			if i == c.from {
				require.NoError(t, l.SetLeaderEpoch(7))
			}
			_, err := l.Append(t.Context(), batchOf(t, fmt.Sprint("v", i)), AppendOptions{})
			require.NoError(t, err)
		}
		left := copyOf(t, snapshotOf(t, disk))
		require.NoError(t, l.Close())
		at := c.batch * len(batchOf(t, "v0"))
		edit(t, left, logFile(0), func(b []byte) []byte { clear(b[at : at+uncovered]); return b })
		if !c.history {
			require.NoError(t, left.Remove(testDir+"/"+LeaderEpochFile))
		}
		for _, st := range []OpenState{{ReadOnly: true}, {}, {}} {
			l, _, err := Open(left, testDir, cfg, st)
			require.NoError(t, err, name)
			requireAllBut(t, l, 5, -1, name)
			for i := range 5 {
				run, _, err := l.Read(nil, At(int64(i)), ReadOptions{MaxBytes: 1})
				require.NoError(t, err, name)
				b, err := record.First(run)
				require.NoError(t, err, name)
				require.Equal(t, map[bool]int32{true: 7}[i >= c.from], b.LeaderEpoch(), "%s at %d", name, i)
			}
			require.NoError(t, l.Close())
		}
	}
}

func requireRestOf(t *testing.T, disk *vfs.Mem, cfg *Config, batch int64, name string) {
	requireRepaired(t, copyOf(t, snapshotOf(t, disk)), cfg, batch, name)
	l, _, err := Open(disk, testDir, cfg, OpenState{ReadOnly: true})
	require.NoError(t, err, name)
	requireAllBut(t, l, 5, batch, name)
	require.NoError(t, l.Close())

	l, _, err = Open(disk, testDir, cfg, OpenState{})
	require.NoError(t, err, name)
	requireAllBut(t, l, 5, batch, name)
	a, err := l.Append(t.Context(), batchOf(t, "v5"), AppendOptions{Synced: true})
	require.NoError(t, err, name)
	require.Equal(t, []int64{5, 0}, []int64{a.Base, int64(a.Epoch)}, name)
	requireAllBut(t, l, 6, batch, name)
	require.NoError(t, l.Close())

	l, _, err = Open(disk, testDir, cfg, OpenState{})
	require.NoError(t, err, name)
	requireAllBut(t, l, 6, batch, name)
	require.NoError(t, l.Close())
	requireRepaired(t, disk, cfg, batch, name)
}

// requireCut opens a log whose last batch has another offset than is due, with nothing behind it to tell that it was this one.
func requireCut(t *testing.T, disk *vfs.Mem, cfg *Config, name string) {
	t.Helper()
	l, rep, err := Open(disk, testDir, cfg, OpenState{})
	require.NoError(t, err, name)
	require.Positive(t, rep.CutBytes, name)
	requireAllBut(t, l, 4, -1, name)
	require.NoError(t, l.Close())
}

// requireRepaired verifies and repairs: no other batch is told to be damaged, and none is lost.
func requireRepaired(t *testing.T, disk *vfs.Mem, cfg *Config, batch int64, name string) {
	t.Helper()
	for _, f := range verified(t, disk, cfg).Faults {
		require.Equal(t, []int64{batch, batch + 1}, []int64{f.FirstOffset, f.NextOffset}, "%s: %v", name, f.Err)
	}
	_, err := Repair(disk, testDir, cfg, RepairOptions{})
	require.NoError(t, err, name)
	l, _, err := Open(disk, testDir, cfg, OpenState{})
	require.NoError(t, err, name)
	requireAllBut(t, l, l.End(), -1, name)
	require.GreaterOrEqual(t, l.End(), int64(5), name)
	require.NoError(t, l.Close())
}

// requireAllBut reads the records v0, v1, ... up to end; the one at spared may be told as damaged instead.
func requireAllBut(t *testing.T, l *Log, end, spared int64, name string) {
	t.Helper()
	require.Equal(t, end, l.End(), name)
	var d record.Decoder
	var r record.Record
	for offset := l.Start(); offset < end; {
		run, _, err := l.Read(nil, At(offset), ReadOptions{Check: true, MaxBytes: 1})
		var damage *CorruptionError
		if errors.As(err, &damage) {
			require.Equal(t, []int64{spared, spared + 1}, []int64{damage.FirstOffset, damage.NextOffset}, "%s: %v", name, err)
			offset++
			continue
		}
		require.NoError(t, err, name)
		require.NoError(t, d.Reset(run, 0), name)
		require.True(t, d.Next(&r), name)
		require.Equal(t, []any{offset, fmt.Sprint("v", offset)}, []any{r.Offset, string(r.Value)}, name)
		offset++
	}
}
