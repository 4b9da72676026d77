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

// newestCopy is the newest copy of a topic's entry in the directories of these partitions; unless all, that of the first partition that has one, which
// is the newest if nothing else is lost. A disk that does not answer is an error; a damaged copy counts as none.
func (e *Engine) newestCopy(name string, id ID, partitions []int32, all bool) (newest ManifestTopic, found bool, err error) {
	slices.Sort(partitions)
	for _, n := range partitions {
		c, err := catalog.ReadCopy(e.fs, e.partitionDir(name, n), checkEntry)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case errors.Is(err, ErrCorrupt), errors.Is(err, vfs.ErrTooLarge):
			e.logger.Warn("copy of a topic's settings is damaged", "topic", name, "partition", n, "err", err)
			continue
		case err != nil:
			return newest, false, err
		case c.Name != name || !id.IsZero() && c.ID != id || found && c.Changed <= newest.Changed:
			continue
		}
		newest, found = c, true
		if !all {
			break
		}
	}
	return newest, found, nil
}
