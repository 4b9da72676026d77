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

// DeleteTopic deletes a topic and its records for good. The topic is gone, and its name free, as soon as that is
// durable and its directories have names of deleted ones; DeleteTopic then waits until their files are removed, which
// holds up no other call. When it returns nil the files are gone from the disk and stay gone. Calls on the topic,
// running ones too, return ErrNotFound; what a reader still holds pinned stays readable until its release. A topic
// created later under the name has another ID.
//
// If the disk fails half-way the topic is gone, and the next Open, or before the name is free the next creation of
// it, goes on; so does the next Open with files that Close, or the end of ctx, left to be removed (ErrUncertain).
//
// Errors: ErrNotFound, ErrReadOnly, ErrClosed, the context's cause, what the disk says, ErrUncertain.
func (e *Engine) DeleteTopic(ctx context.Context, name string) error {
	r, err := changing(ctx, e, []string{name}, func() (*removal, error) { return e.delete(name) }, func(r *removal, err error) {
		if r == nil {
			return
		}
		t := r.topic
		e.logger.InfoContext(ctx, "topic deleted", "topic", name, "err", err)
		tell(e, e.events.TopicDeleted, TopicFacts{Topic: name, ID: t.id, Partitions: t.Partitions()})
		e.topicsChanged(name)
	})
	if err != nil {
		return err
	}
	return e.removals.await(ctx, r)
}

// delete deletes a topic: first the catalog says, durably, that it is gone, then it can be used no more, then its directories get names that
// mean no partition, durably, then the catalog forgets it. The next Open resumes after a crash at any point. What is left has no name that is
// used, and is removed behind. The caller has begun the change of the name.
func (e *Engine) delete(name string) (*removal, error) {
	t, err := e.lookup(name)
	if err != nil {
		return nil, err
	}
	if err := e.catalog.Commit(catalog.Change{Delete: name}); err != nil {
		return nil, fmt.Errorf("topic: delete %q: %w", name, err)
	}
	t.deleted.Store(true)
	r := e.removals.hold(t)
	e.unpublish(r)
	t.abandon()
	e.tellMembers(t)
	e.stats.retire(&t.stats)
	return r, e.finishDelete(r)
}

// abandon ends the partitions of a deleted topic.
func (t *Topic) abandon() {
	gone := t.gone()
	inParallel(t.state.Load().partitions, func(p *Partition) { p.abandon(gone) })
	t.spaceFreed() // those who wait for room see that it is gone
}

// gone is what calls on a deleted topic return.
func (t *Topic) gone() error { return fmt.Errorf("%w: topic %q was deleted", ErrNotFound, t.name) }

// finishDelete frees the name of a topic whose deletion is durable and begins the removal of what is left. It may be called again after an error.
func (e *Engine) finishDelete(r *removal) error {
	err := e.freeName(r)
	if err == nil {
		e.removals.begin(r)
	}
	return err
}

// freeName frees the name of a topic whose deletion is durable. Of one that was never used the catalog knows nothing any more.
func (e *Engine) freeName(r *removal) error {
	if entry, noted := e.catalog.Topic(r.name); noted {
		err := e.setAllAside(entry, r)
		if err == nil {
			err = e.dropTombstone(r.name)
		}
		if err != nil {
			return fmt.Errorf("topic: delete %q: %w", r.name, err)
		}
	}
	e.nameFreed(r.name)
	return nil
}

// dropTombstone has the catalog forget a deleted topic whose directories have names of deleted ones. That the disk has no room for it is no
// error: the removal that follows makes room, and a topic of the name, or the next Open, replaces the entry.
func (e *Engine) dropTombstone(name string) error {
	err := e.catalog.Commit(catalog.Change{Drop: name})
	if vfs.IsNoSpace(err) && !errors.Is(err, ErrUncertain) {
		return nil
	}
	return err
}

// setAllAside gives the directories of a deleted topic names of deleted ones, durably.
func (e *Engine) setAllAside(entry ManifestTopic, r *removal) error {
	r.dirs = nil
	for n := range int32(entry.Partitions) {
		if entry.Unused.Has(n) {
			continue
		}
		to := filepath.Join(e.dir, deletedDirName(entry.Name, n, entry.ID))
		moved, err := e.setAside(entry.ID, e.partitionDir(entry.Name, n), to)
		if err != nil {
			return err
		}
		if moved {
			r.dirs = append(r.dirs, to)
		}
	}
	e.removeUncounted(entry)
	if len(r.dirs) == 0 {
		return nil
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

// setAside gives a partition's directory its name of a deleted one; true when that exists afterwards. A directory that
// belongs to another topic is left alone: whatever a manifest says, it costs no data.
func (e *Engine) setAside(id ID, from, to string) (bool, error) {
	if _, err := e.fs.Stat(from); errors.Is(err, fs.ErrNotExist) {
		_, err := e.fs.Stat(to)
		return err == nil, nil
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
