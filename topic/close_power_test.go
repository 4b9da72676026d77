package topic

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fileSyncs counts the syncs of partitions' files by the end of their names, and those of partitions' directories.
func fileSyncs(disk vfs.FS) (counting vfs.FS, taken func() map[string]int) {
	var mu sync.Mutex
	counts := map[string]int{}
	fault := vfs.NewFault(disk)
	for _, op := range []vfs.Op{vfs.OpSync, vfs.OpSyncDir} {
		fault.Add(vfs.Rule{Op: op, Path: "orders-", Count: vfs.Forever, Done: true, Hook: func(_ vfs.Op, path string) {
			mu.Lock()
			defer mu.Unlock()
			counts[strings.TrimPrefix(filepath.Ext(strings.TrimSuffix(path, ".tmp")), ".")]++
		}})
	}
	return fault, func() map[string]int {
		mu.Lock()
		defer mu.Unlock()
		defer func() { counts = map[string]int{} }()
		return counts
	}
}

// Close syncs of a partition what was promised, its data and its slot: nothing that is derived, and no directory. A partition that was only read
// costs nothing.
func TestCloseSyncsDataAndSlots(t *testing.T) {
	const n = 5
	for name, level := range map[string][]TopicOption{"durable": nil, "not": {NoSync()}} {
		t.Run(name, func(t *testing.T) {
			disk, taken := fileSyncs(vfs.NewMem())
			e := openOn(t, disk)
			usedTopic(t, e, "orders", n, level...)
			taken()
			require.NoError(t, e.Close())
			assert.Equal(t, map[string]int{"log": n, "slot": n}, taken())

			e = openOn(t, disk)
			tp := openTopic(t, e, "orders")
			for i := range int32(n) {
				assert.Len(t, stored(t, partitionOf(t, tp, i)), 1)
				assert.Nil(t, partitionOf(t, tp, i).Recovered(), "stopped in good order")
			}
			require.NoError(t, e.Close())
			assert.Empty(t, taken())
		})
	}
}

// A power cut at any call of Close, and after it, takes nothing that was acknowledged; what says that the engine was stopped in good order is there
// only if everything is.
func TestPowerCutsInClose(t *testing.T) {
	const records = 6
	disk := vfs.NewCrash()
	e := openOn(t, disk)
	for i, opts := range [][]TopicOption{nil, {NoSync(), SegmentBytes(300)}} {
		tp := openTopic(t, e, fmt.Sprint("orders", i), opts...)
		for i := range records {
			_, err := tp.Append(t.Context(), Record{Key: fmt.Append(nil, i), Value: make([]byte, 50)})
			require.NoError(t, err)
		}
	}
	var mu sync.Mutex
	var states []*vfs.Crash
	look := func() {
		for _, policy := range vfs.Policies() {
			states = append(states, disk.After(policy, uint64(len(states))))
		}
	}
	disk.OnOp(func(vfs.Op, string) {
		mu.Lock()
		defer mu.Unlock()
		look()
	})
	require.NoError(t, e.Close())
	disk.OnOp(nil)
	during := len(states)
	look()
	assert.Greater(t, during, 400)
	marked := 0
	for i, after := range states {
		_, err := after.Stat(filepath.Join("data", cleanFile))
		require.True(t, err == nil || errors.Is(err, fs.ErrNotExist))
		whole := err == nil || i >= during
		if whole {
			marked++
		}
		again, err := Open("data", On(after))
		require.NoError(t, err)
		for k, all := range []bool{true, whole} {
			p := partitionOf(t, openTopic(t, again, fmt.Sprint("orders", k)), 0)
			list := stored(t, p)
			if all {
				require.Len(t, list, records)
			}
			for i, r := range list {
				require.Equal(t, fmt.Append(nil, i), r.Key)
			}
			_, err := p.Append(t.Context(), Record{})
			require.NoError(t, err)
		}
		rep, err := again.Verify(t.Context(), VerifyOptions{})
		require.NoError(t, err)
		require.Empty(t, rep.Faults)
		require.NoError(t, again.Close())
	}
	assert.Greater(t, marked, len(states)-during)
}
