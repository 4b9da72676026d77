package topic

import (
	"fmt"
	"testing"

	"github.com/quirelog/quire/internal/thin"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/require"
)

// After a power cut, which takes index files that are never synced above all, Verify and Backup find no damage, before any partition is
// used and after, and the backup holds all that was acknowledged.
func TestBackupAfterPowerCuts(t *testing.T) {
	told := 0
	for _, policy := range vfs.Policies() {
		for seed := range uint64(thin.Raced(4, 1)) {
			hint := fmt.Sprintf("%v, seed %d", policy, seed)
			disk := vfs.NewCrash()
			e := openOn(t, disk)
			p := partitionOf(t, openTopic(t, e, "orders", SegmentBytes(800), Set("index.interval.bytes", "100")), 0)
			for i := range int32(40) {
				b := batchOf(t, record.BuilderConfig{HasProducer: true, ProducerID: 7, BaseSequence: i}, fmt.Sprint("v", i))
				_, err := p.AppendRaw(t.Context(), b, RawAppend{})
				require.NoError(t, err)
			}
			after := disk.After(policy, seed)
			require.NoError(t, e.Close())

			found, err := VerifyDirectory(t.Context(), after, "data", VerifyOptions{})
			require.NoError(t, err, hint)
			require.Empty(t, found.Faults, hint)
			e, err = Open("data", On(after))
			require.NoError(t, err, hint)
			rep, err := e.Backup(t.Context(), "saved", BackupOptions{})
			require.NoError(t, err, hint)
			require.Empty(t, rep.Faults, hint)
			if told += len(rep.Notes); len(rep.Notes) > 0 {
				require.NotEmpty(t, found.derived(), hint)
			}
			require.Len(t, holds(t, after, "saved", "orders")[0], 40, hint)
			again, err := e.Backup(t.Context(), "saved", BackupOptions{})
			require.NoError(t, err, hint)
			require.Empty(t, again.Notes, hint)
			require.Positive(t, again.Kept, hint)
			copied, err := VerifyDirectory(t.Context(), after, "saved", VerifyOptions{})
			require.NoError(t, err, hint)
			require.Empty(t, append(copied.Faults, copied.Notes...), hint)
			require.NoError(t, e.Close())
		}
	}
	require.Positive(t, told, "power cuts took indexes")
}

// What is derived is no damage to an engine that may not write either.
func TestRestoreFromWhatAPowerCutLeft(t *testing.T) {
	disk := vfs.NewCrash()
	e := openOn(t, disk)
	p := partitionOf(t, openTopic(t, e, "orders", SegmentBytes(200), Set("index.interval.bytes", "50")), 0)
	appendTo(t, p, 40)
	after := disk.After(vfs.KeepNone, 0)
	require.NoError(t, e.Close())
	rep, err := Restore(t.Context(), "data", "restored", RestoreOptions{FS: after})
	require.NoError(t, err)
	require.NotEmpty(t, rep.Notes)
	require.Len(t, holds(t, after, "restored", "orders")[0], 40)
}
