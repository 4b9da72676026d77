package topic

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic/internal/catalog"
)

// DiscardError says that a backup would throw away topics that an earlier one in the directory holds. Nothing was changed, unless the topic was
// deleted while it was copied: then the backup is interrupted. It matches [ErrInvalid]; [BackupOptions].Remove with their names lets them go.
type DiscardError struct {
	Dir    string
	Topics []string
}

func (e *DiscardError) Error() string {
	return fmt.Sprintf("topic: the backup in %s holds topics that would be thrown away: %s", e.Dir, clip(strings.Join(e.Topics, ", ")))
}

// Is reports whether target is [ErrInvalid].
func (e *DiscardError) Is(target error) bool { return target == ErrInvalid }

// interrupted tells that the mark in the directory is that of such an interrupted run.
func (c *copier) interrupted(mark string) bool {
	text, err := vfs.ReadFile(c.fs, filepath.Join(c.dir, backupFile), smallFile)
	other := map[string]string{backupRunning: backupRestoring, backupRestoring: backupRunning}[mark]
	return err == nil && strings.TrimSpace(string(text)) != strings.TrimSpace(other)
}

// keepsEarlier makes sure that nothing of an earlier backup is thrown away that was not named. names is what the directory holds.
func (c *copier) keepsEarlier(names []string) error {
	id, found, _, err := readIdentity(c.fs, c.dir)
	if err != nil {
		return err
	}
	if ours := c.e.identity.cluster; found && id.cluster != "" && ours != "" && id.cluster != ours {
		return fmt.Errorf("%w: %s holds a backup of cluster %s, and this is %s", ErrInvalid, c.dir, clip(id.cluster), ours)
	}
	old, err := catalog.Load(c.fs, c.dir, checkEntry, true)
	if err != nil {
		return err
	}
	planned := make(map[TopicPartition]bool, len(c.list))
	for i := range c.list {
		planned[c.list[i].tp] = c.wants(&c.list[i])
	}
	gone := map[string]bool{}
	c.earlier = map[string]bool{}
	for _, entry := range old.Manifest.Topics {
		i, known := c.manifest.Find(entry.Name)
		c.earlier[entry.Name] = entry.State == TopicReady
		if entry.State == TopicReady && (!known || c.manifest.Topics[i].ID != entry.ID) {
			gone[entry.Name] = true
		}
	}
	for _, base := range names {
		tp, ok := parseDirName(base)
		if !ok || planned[tp] && c.earlier[tp.Topic] {
			continue
		}
		holds, err := holdsData(c.fs, filepath.Join(c.dir, base))
		if err != nil {
			return err
		}
		c.earlier[tp.Topic] = c.earlier[tp.Topic] || holds
		gone[tp.Topic] = gone[tp.Topic] || holds && !planned[tp]
	}
	maps.DeleteFunc(gone, func(name string, is bool) bool { return !is || slices.Contains(c.remove, name) })
	if len(gone) > 0 {
		return &DiscardError{Dir: c.dir, Topics: slices.Sorted(maps.Keys(gone))}
	}
	return nil
}
