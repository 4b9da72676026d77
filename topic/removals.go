package topic

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/vfs"
)

// removers is how many directories of deleted topics are removed at once.
const removers = 4

// removals removes the directories of deleted topics, in goroutines that exist only while there are some. They have names that nothing else
// uses: what Close leaves, or the disk refuses, the next Open finds by them.
type removals struct {
	eng   *Engine
	bytes atomic.Int64 // of data files, as far as budgets count them
	found []string     // by Open, left by an earlier one

	mu      sync.Mutex
	queue   []*removal // those with directories that no goroutine has taken; they take turns
	running int
}

// removal is the removal of what is left of a topic.
type removal struct {
	name  string
	topic *Topic // nil: it was deleted before Open
	bytes int64
	dirs  []string // not yet taken
	left  int      // not yet ended

	refused []string // by the disk
	fault   error    // set before done is closed
	done    chan struct{}
}

func newRemoval(name string) *removal { return &removal{name: name, done: make(chan struct{})} }

// hold makes a removal of a topic that is about to be unpublished: budgets count it until it is removed.
func (r *removals) hold(t *Topic) *removal {
	one := newRemoval(t.name)
	one.topic = t
	if r.eng.budget != nil {
		for _, p := range t.state.Load().partitions {
			one.bytes += p.diskBytes()
		}
	}
	r.bytes.Add(one.bytes)
	return one
}

// begin has the directories of one removed.
func (r *removals) begin(one *removal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if one.left = len(one.dirs); one.left == 0 {
		r.freed(one)
		close(one.done)
		return
	}
	r.queue = append(r.queue, one)
	for n := min(len(one.dirs), removers-r.running); n > 0 && r.eng.goFunc(r.run); n-- {
		r.running++
	}
}

// run removes directories until there are none, or the engine is closed.
func (r *removals) run() {
	for {
		one, dir := r.take()
		if one == nil {
			return
		}
		r.finish(one, dir, vfs.RemoveAll(untilClosed{r.eng.fs, r.eng}, dir))
	}
}

// take gives a directory of the removal whose turn it is; nil is the end of the goroutine that asks.
func (r *removals) take() (one *removal, dir string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) == 0 || r.eng.isClosed() {
		r.running--
		return nil, ""
	}
	one, r.queue = r.queue[0], r.queue[1:]
	dir, one.dirs = one.dirs[0], one.dirs[1:]
	if len(one.dirs) > 0 {
		r.queue = append(r.queue, one)
	}
	return one, dir
}

// finish notes what became of a directory; the last one makes the removal of all durable.
func (r *removals) finish(one *removal, dir string, err error) {
	r.mu.Lock()
	if err != nil {
		one.refused = append(one.refused, dir)
		if one.fault == nil || errors.Is(one.fault, ErrClosed) { // what the disk said counts for more than that the engine was closed
			one.fault = err
		}
	}
	one.left--
	last := one.left == 0
	r.mu.Unlock()
	if !last {
		return
	}
	r.freed(one)
	if one.fault == nil {
		one.fault = r.eng.fs.SyncDir(r.eng.dir)
	}
	if one.fault != nil && !errors.Is(one.fault, ErrClosed) {
		r.eng.logger.Warn("files of a deleted topic are left to the next opening", "dir", r.eng.dir, "err", one.fault)
	}
	close(one.done)
}

// freed tells the budgets that nothing is left of one but what the disk refused.
func (r *removals) freed(one *removal) {
	r.bytes.Add(r.measure(one.refused) - one.bytes)
	r.eng.spaceFreed()
}

// measure is what directories hold, for budgets.
func (r *removals) measure(dirs []string) (bytes int64) {
	if r.eng.budget == nil {
		return 0
	}
	for _, dir := range dirs {
		if held, err := log.Measure(r.eng.fs, dir); err == nil {
			bytes += held.Bytes
		}
	}
	return bytes
}

// await waits for the end of one.
func (r *removals) await(ctx context.Context, one *removal) error {
	var err error
	select {
	case <-one.done:
	case <-ctx.Done():
		err = bounded.Cause(ctx)
	case <-r.eng.closing:
		err = ErrClosed
	}
	select {
	case <-one.done: // also where it ends together with others
		if err = one.fault; err == nil || !errors.Is(err, ErrClosed) {
			return err
		}
	default:
	}
	return fmt.Errorf("%w: the topic is deleted, its files may not be removed yet: %w", ErrUncertain, err)
}

// find notes a name of the engine's directory that is a deleted partition's.
func (r *removals) find(base string) {
	if _, deleted := parseDeletedDirName(base); deleted {
		r.found = append(r.found, filepath.Join(r.eng.dir, base))
	}
}

// resume begins what earlier deletions left. Open calls it when nothing can fail any more.
func (r *removals) resume() {
	one := newRemoval("")
	slices.Sort(r.found) // a deletion that was not finished finds some that Open found too
	one.dirs, r.found = slices.Compact(r.found), nil
	one.bytes = r.measure(one.dirs)
	r.bytes.Add(one.bytes)
	r.begin(one)
}

// untilClosed removes nothing once the engine is closed.
type untilClosed struct {
	vfs.FS
	eng *Engine
}

func (u untilClosed) Remove(name string) error {
	if u.eng.isClosed() {
		return ErrClosed
	}
	return u.FS.Remove(name)
}
