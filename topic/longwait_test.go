package topic

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/quirelog/quire/internal/thin"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// longCalls take as long as there are bytes or partitions.
var longCalls = map[string]func(ctx context.Context, e *Engine) error{
	"DeleteTopic": func(ctx context.Context, e *Engine) error { return e.DeleteTopic(ctx, "large") },
	"Backup": func(ctx context.Context, e *Engine) error {
		return failed(e.Backup(ctx, "backup", BackupOptions{Copy: true}))
	},
	"Checkpoint":     func(ctx context.Context, e *Engine) error { return e.Checkpoint(ctx) },
	"Compact":        func(ctx context.Context, e *Engine) error { return e.Compact(ctx) },
	"ApplyRetention": func(ctx context.Context, e *Engine) error { return e.ApplyRetention(ctx) },
	"Scrub":          func(ctx context.Context, e *Engine) error { return failed(e.Scrub(ctx, ScrubOptions{})) },
	"Verify":         func(ctx context.Context, e *Engine) error { return failed(e.Verify(ctx, VerifyOptions{})) },
	"RebuildIndexes": func(ctx context.Context, e *Engine) error { return e.RebuildIndexes(ctx, "large") },
	"Warm": func(ctx context.Context, e *Engine) error {
		p, err := e.Partition("large", 2)
		if err != nil {
			return err
		}
		return p.Warm(ctx)
	},
}

// shortCalls are to wait for none of those; n makes names of their own.
var shortCalls = map[string]func(ctx context.Context, e *Engine, n int) error{
	"CreateTopic": func(ctx context.Context, e *Engine, n int) error {
		return failed(e.CreateTopic(ctx, fmt.Sprint("new", n)))
	},
	"AlterTopic": func(ctx context.Context, e *Engine, n int) error {
		return e.AlterTopic(ctx, "beside", RetentionBytes(int64(1<<20+n)))
	},
	"DeleteTopic": func(ctx context.Context, e *Engine, n int) error { return e.DeleteTopic(ctx, fmt.Sprint("idle", n)) },
	"new Producer": func(ctx context.Context, e *Engine, n int) error {
		p, err := e.NewProducer()
		if err == nil {
			_, err = p.SendSync(ctx, "beside", Record{Key: []byte("k")})
		}
		if err == nil {
			err = p.Close()
		}
		return err
	},
	"first use": func(ctx context.Context, e *Engine, n int) error {
		p, err := e.Partition("beside", int32(1+n))
		if err == nil {
			_, err = p.Append(ctx, Record{Key: []byte("k")})
		}
		return err
	},
	"Append": func(ctx context.Context, e *Engine, n int) error { return appendBeside(ctx, e, "beside", 0) },
	"Read": func(ctx context.Context, e *Engine, n int) error {
		t, err := e.lookup("beside")
		if err != nil {
			return err
		}
		for _, err := range t.Read(ctx, UntilEnd()) {
			if err != nil {
				return err
			}
		}
		return nil
	},
	"Topics": func(ctx context.Context, e *Engine, n int) error { return failed(e.Topics(ctx)) },
}

func appendBeside(ctx context.Context, e *Engine, name string, n int32) error {
	p, err := e.Partition(name, n)
	if err == nil {
		_, err = p.Append(ctx, Record{Key: []byte("k")})
	}
	return err
}

// TestNoCallWaitsForALongOne holds each long call at each of its calls of the disk, but for those of the files that all share, which take one sync:
// the short ones return meanwhile. So do appends to a partition that is only being read.
func TestNoCallWaitsForALongOne(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(longCalls)) {
		t.Run(name, func(t *testing.T) {
			holds := 0
			for k, over := 1, false; !over; k += 1 + k/thin.Raced(16, 4) {
				synctest.Test(t, func(t *testing.T) {
					held, shared := besideHeld(t, name, k)
					if over = !held; held && !shared {
						holds++
					}
				})
			}
			assert.Greater(t, holds, 5)
		})
	}
}

// besideHeld holds a long call at its k-th call of the disk, if it makes so many.
func besideHeld(t *testing.T, name string, k int) (held, shared bool) {
	disk := vfs.NewFault(vfs.NewMem())
	e, err := Open("data", On(disk))
	require.NoError(t, err)
	shape := []TopicOption{Partitions(3), CleanupWith(CleanupCompact | CleanupDelete), SegmentBytes(300), RetentionBytes(2000)}
	large := openTopic(t, e, "large", shape...)
	for n := range int32(3) {
		putKeys(t, partitionOf(t, large, n), 10, 3)
	}
	usedTopic(t, e, "beside", 1)
	require.NoError(t, e.AlterTopic(t.Context(), "beside", Partitions(20)))
	for i := range 3 {
		openTopic(t, e, fmt.Sprint("idle", i))
	}
	require.NoError(t, e.Close())
	e, err = Open("data", On(disk))
	require.NoError(t, err)
	for n := range int32(2) {
		require.NoError(t, appendBeside(t.Context(), e, "large", n))
	}
	require.NoError(t, appendBeside(t.Context(), e, "beside", 0))

	open := make(chan struct{})
	at, what := "", vfs.OpAny
	disk.Add(vfs.Rule{Op: vfs.OpAny, K: k, Hook: func(op vfs.Op, path string) {
		at, what, held = path, op, true
		if shared = sharedFile(path); !shared {
			<-open
		}
	}})
	var wg sync.WaitGroup
	wg.Go(func() { assert.NoError(t, longCalls[name](t.Context(), e)) })
	synctest.Wait()
	calls := maps.Clone(shortCalls)
	if name != "DeleteTopic" {
		reading := slices.Contains([]vfs.Op{vfs.OpRead, vfs.OpOpenRead, vfs.OpList, vfs.OpStat, vfs.OpSize}, what)
		for i := range int32(2) {
			if reading || !strings.Contains(filepath.ToSlash(at)+"/", partitionOf(t, openTopic(t, e, "large"), i).String()+"/") {
				calls[fmt.Sprint("Append large-", i)] = func(ctx context.Context, e *Engine, _ int) error { return appendBeside(ctx, e, "large", i) }
			}
		}
	}
	if held && !shared {
		var mu sync.Mutex
		waiting := maps.Clone(calls)
		for short, call := range calls {
			wg.Go(func() {
				assert.NoError(t, call(t.Context(), e, k%3))
				mu.Lock()
				defer mu.Unlock()
				delete(waiting, short)
			})
		}
		synctest.Wait()
		mu.Lock()
		assert.Empty(t, slices.Sorted(maps.Keys(waiting)), "%s held at %v %s", name, what, at)
		mu.Unlock()
	}
	close(open)
	wg.Wait()
	require.NoError(t, e.Close())
	return held, shared
}

// sharedFile tells the files in which all calls write a line, or which are written as a whole, and those of topics that a short call deletes.
func sharedFile(path string) bool {
	return strings.Contains(path, "idle") || strings.Contains(path, ".journal")
}
