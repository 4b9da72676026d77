package topic

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic/internal/catalog"
)

// DeleteTopic deletes a topic and its records for good. When it returns nil the files are gone from the disk
// and stay gone. Calls on the topic, running ones too, return ErrNotFound; what a reader still holds pinned
// stays readable until its release. If the disk fails half-way the topic is gone, and the next Open, or the
// next creation of that name, removes what is left. A topic created later under the name has another ID.
//
// Errors: ErrNotFound, ErrReadOnly, ErrClosed, the context's cause, what the disk says, ErrUncertain.
func (e *Engine) DeleteTopic(ctx context.Context, name string) error {
	_, err := changing(ctx, e, []string{name}, func() (*Topic, error) { return e.delete(name) }, func(t *Topic, err error) {
		if t == nil {
			return
		}
		t.spaceFreed()
		e.logger.InfoContext(ctx, "topic deleted", "topic", name, "err", err)
		tell(e, e.events.TopicDeleted, TopicFacts{Topic: name, ID: t.id, Partitions: t.Partitions()})
		e.topicsChanged(name)
	})
	return err
}

// delete deletes a topic: first the catalog says, durably, that it is gone, then it can be used no more, then its directories get names that
// mean no partition, then they go, then the catalog forgets it. The next Open resumes after a crash at any point. The caller has begun the
// change of the name.
func (e *Engine) delete(name string) (*Topic, error) {
	t, err := e.lookup(name)
	if err != nil {
		return nil, err
	}
	entry, _ := e.catalog.Topic(name)
	change := catalog.Change{Delete: name}
	if entry.Unused.Covers(entry.Partitions) { // there is nothing to be removed
		change = catalog.Change{Drop: name}
	}
	if err := e.catalog.Commit(change); err != nil {
		return nil, fmt.Errorf("topic: delete %q: %w", name, err)
	}
	t.deleted.Store(true)
	e.unpublish(t)
	gone := fmt.Errorf("%w: topic %q was deleted", ErrNotFound, name)
	for _, p := range t.state.Load().partitions {
		_, _ = p.shut(gone) // what its log says at the end is of no more interest
	}
	e.stats.retire(&t.stats)
	return t, e.finishDelete(entry)
}

// finishDelete removes what is left of a topic whose deletion is durable.
func (e *Engine) finishDelete(entry ManifestTopic) error {
	err := e.remove(entry)
	if _, noted := e.catalog.Topic(entry.Name); noted && err == nil {
		err = e.catalog.Commit(catalog.Change{Drop: entry.Name})
	}
	if err != nil {
		return fmt.Errorf("topic: delete %q: %w", entry.Name, err)
	}
	e.removed(entry.Name)
	return nil
}

// remove takes everything of a deleted topic from the disk but what the catalog says of it: it renames the directories, makes the new names
// durable, and removes them.
func (e *Engine) remove(entry ManifestTopic) error {
	var aside []string
	for n := range entry.Partitions {
		from := e.partitionDir(entry.Name, int32(n))
		to := filepath.Join(e.dir, deletedDirName(entry.Name, int32(n), entry.ID))
		moved, err := e.setAside(entry.ID, from, to)
		if err != nil {
			return err
		}
		if moved {
			aside = append(aside, to)
		}
	}
	e.removeUncounted(entry)
	if len(aside) == 0 {
		return nil
	}
	if err := e.fs.SyncDir(e.dir); err != nil {
		return err
	}
	for _, dir := range aside {
		if err := vfs.RemoveAll(e.fs, dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return e.fs.SyncDir(e.dir)
}

// removeUncounted removes directories that an interrupted AlterTopic of an earlier version made before the manifest counted them. They are
// empty: one that is not cannot be removed this way.
func (e *Engine) removeUncounted(entry ManifestTopic) {
	for n := entry.Partitions; n < maxPartitions; n++ {
		if e.fs.Remove(e.partitionDir(entry.Name, int32(n))) != nil {
			return
		}
	}
}

// setAside gives a partition's directory its name of a deleted one; true when that exists afterwards. A
// directory that belongs to another topic is left alone: whatever a manifest says, it costs no data.
func (e *Engine) setAside(id ID, from, to string) (bool, error) {
	if _, err := e.fs.Stat(to); err == nil {
		return true, nil
	}
	if _, err := e.fs.Stat(from); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	stored, err := log.ReadPartitionMetadata(e.fs, filepath.Join(from, log.PartitionMetadataFile))
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrCorrupt):
		return false, err // not known whose it is: the tombstone stays, and the next Open tries again
	case err == nil && stored != id:
		e.logger.Warn("directory of a deleted topic belongs to another one and is kept", "dir", from, "id", stored.String())
		return false, nil
	case err != nil:
		holds, unknown := e.holdsData(from)
		if unknown != nil {
			return false, unknown
		}
		if holds {
			e.logger.Warn("directory of a deleted topic has no readable id and is kept", "dir", from, "err", err)
			return false, nil
		}
	}
	if err := e.fs.Rename(from, to); err != nil {
		return false, err
	}
	return true, nil
}
