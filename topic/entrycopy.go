package topic

import (
	"errors"
	"io/fs"
	"slices"

	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic/internal/catalog"
)

// A topic's entry in the manifest also lies in the directory of its first used partition. When the manifest is lost, or older than the copy,
// the topic's settings come from there.

// keepCopy sees that the copy says what the manifest says. A copy that cannot be written is written when the topic is used again.
func (t *Topic) keepCopy() {
	e := t.eng
	t.copying.Lock()
	defer t.copying.Unlock()
	entry, found := e.catalog.Topic(t.name)
	home := entry.Unused.FirstMissing()
	if !found || entry.ID != t.id || entry.State != TopicReady || entry.Unused.Covers(entry.Partitions) || t.copied != nil && *t.copied == entry.Changed {
		return
	}
	dir := e.partitionDir(t.name, home)
	have, err := catalog.ReadCopy(e.fs, dir, checkEntry)
	if err != nil || have.ID != entry.ID || have.Changed != entry.Changed {
		if err = catalog.WriteCopy(e.fs, dir, entry); err == nil {
			err = e.fs.SyncDir(dir)
		}
	}
	if err != nil {
		e.logger.Warn("copy of a topic's settings not written", "topic", t.name, "err", err)
		return
	}
	t.copied = &entry.Changed
}

// entryCopies is what the directories of a topic's partitions tell of its entry.
type entryCopies struct {
	newest ManifestTopic
	found  bool
	// sure tells that no copy that is newer was lost: the copy moves to lower partitions only, so that the newest lies in the lowest that holds data.
	sure bool
}

// copiesOf reads the copies of a topic's entry in the directories of these partitions; unless all, only that of the first partition that has one, which
// is the newest if nothing else is lost. A disk that does not answer is an error; a damaged copy counts as none.
func (e *Engine) copiesOf(name string, id ID, partitions []int32, all bool) (c entryCopies, err error) {
	slices.Sort(partitions)
	lowest := true
	for _, n := range partitions {
		dir := e.partitionDir(name, n)
		entry, err := e.copyIn(dir, name, id)
		if err != nil {
			return c, err
		}
		if entry == nil {
			if lowest && all {
				holds, err := e.holdsData(dir)
				if err != nil {
					return c, err
				}
				lowest = !holds
			}
			continue
		}
		c.sure = c.sure || lowest
		lowest = false
		if !c.found || entry.Changed > c.newest.Changed {
			c.newest, c.found = *entry, true
		}
		if !all {
			break
		}
	}
	c.sure = c.sure || lowest // there is no data
	return c, nil
}

// copyIn is the copy in a directory; nil if it is missing, damaged, or another topic's.
func (e *Engine) copyIn(dir, name string, id ID) (*ManifestTopic, error) {
	c, err := catalog.ReadCopy(e.fs, dir, checkEntry)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.Is(err, ErrCorrupt), errors.Is(err, vfs.ErrTooLarge):
		e.logger.Warn("copy of a topic's settings is damaged", "topic", name, "dir", dir, "err", err)
		return nil, nil
	case err != nil:
		return nil, err
	case c.Name != name || !id.IsZero() && c.ID != id:
		return nil, nil
	}
	return &c, nil
}
