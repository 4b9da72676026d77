package topic

import (
	"testing"
	"time"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Beside a live writer a read-only engine sees what is durable and changes nothing.
func TestReadOnlyBesideWriter(t *testing.T) {
	disk := vfs.NewMem()
	w := openOn(t, disk)
	tp := openTopic(t, w, "orders", Partitions(2))
	for range 3 {
		_, err := tp.Append(t.Context(), Record{Value: []byte("v")}, AppendTo(0))
		require.NoError(t, err)
	}
	changes := 0
	watched := vfs.NewFault(disk, vfs.Rule{Count: vfs.Forever, Hook: func(op vfs.Op, path string) {
		switch op {
		case vfs.OpCreate, vfs.OpOpen, vfs.OpRemove, vfs.OpRename, vfs.OpLink, vfs.OpMkdirAll, vfs.OpLock, vfs.OpWrite,
			vfs.OpTruncate, vfs.OpSync, vfs.OpSyncDir, vfs.OpPreallocate:
			changes++
			t.Errorf("%v %s", op, path)
		}
	}})
	r, err := Open("data", On(watched), ReadOnlyMode())
	require.NoError(t, err)
	assert.True(t, r.ReadOnly())
	seen := openTopic(t, r, "orders")
	p := partitionOf(t, seen, 0)
	assert.Len(t, stored(t, p), 3)

	assert.Empty(t, stored(t, partitionOf(t, seen, 1)), "never written to")

	ctx := t.Context()
	_, err = seen.Append(ctx, Record{}, AppendTo(1))
	assert.ErrorIs(t, err, ErrReadOnly)
	_, err = r.Topic(ctx, "new")
	assert.ErrorIs(t, err, ErrNotFound)
	_, err = seen.Append(ctx, Record{}, AppendTo(0))
	assert.ErrorIs(t, err, ErrReadOnly)
	_, err = r.Topic(ctx, "new")
	assert.ErrorIs(t, err, ErrReadOnly)
	assert.ErrorIs(t, r.DeleteTopic(ctx, "orders"), ErrReadOnly)
	assert.ErrorIs(t, r.AlterTopic(ctx, "orders", Partitions(9)), ErrReadOnly)
	assert.ErrorIs(t, r.Checkpoint(ctx), ErrReadOnly)
	_, err = p.DeleteRecords(ctx, -1)
	assert.ErrorIs(t, err, ErrReadOnly)
	_, err = r.nextProducerID()
	assert.ErrorIs(t, err, ErrReadOnly)
	assert.NoError(t, r.Tick(ctx, time.Now()))
	require.NoError(t, r.Close())
	assert.Zero(t, changes)

	_, err = tp.Append(ctx, Record{}, AppendTo(0))
	require.NoError(t, err, "the writer notices nothing")
	require.NoError(t, w.Close())
	r, err = Open("data", On(watched), ReadOnlyMode())
	require.NoError(t, err)
	assert.Len(t, stored(t, partitionOf(t, openTopic(t, r, "orders"), 0)), 4)
	require.NoError(t, r.Close())
	assert.Contains(t, filesIn(t, disk, "data"), cleanFile, "the clean mark stays")
}

// A reader of a killed writer's directory sees what is there without repairing it.
func TestReadOnlyAfterCrash(t *testing.T) {
	disk := vfs.NewCrash()
	w := openOn(t, disk)
	tp := openTopic(t, w, "orders")
	for range 3 {
		_, err := tp.Append(t.Context(), Record{Value: []byte("v")})
		require.NoError(t, err)
	}
	after := disk.Kill(0)
	pending := after.Pending()
	r, err := Open("data", On(after), ReadOnlyMode())
	require.NoError(t, err)
	assert.Len(t, stored(t, partitionOf(t, openTopic(t, r, "orders"), 0)), 3)
	require.NoError(t, r.Close())
	assert.Equal(t, pending, after.Pending(), "nothing was changed")
}
