package topic

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic/internal/catalog"
)

// adopt adds to the manifest the partitions whose directories hold data that the manifest knows nothing of:
// a data directory that Apache Kafka wrote, and what a lost manifest knew. Nothing is
// deleted or changed in the directories. It reports whether the manifest changed. A directory of which the disk does not
// tell what it holds is an error.
func (e *Engine) adopt(found *catalog.Found) (changed bool, err error) {
	names, err := e.fs.List(e.dir)
	if err != nil {
		return false, err
	}
	m := found.Manifest
	known, unknown := map[string][]int32{}, map[string][]int32{}
	e.met = map[TopicPartition]bool{}
	for _, base := range names {
		tp, ok := parseDirName(base)
		if !ok {
			e.removals.find(base)
			continue
		}
		if m.Counts(tp.Topic, tp.Partition) {
			e.met[tp] = true
			known[tp.Topic] = append(known[tp.Topic], tp.Partition)
			continue
		}
		// Without it the topic's name could be given to another topic.
		switch holds, err := e.holdsData(filepath.Join(e.dir, base)); {
		case err != nil:
			return false, fmt.Errorf("topic: %s may hold data of a topic that the manifest does not know: %w", base, err)
		case holds:
			unknown[tp.Topic] = append(unknown[tp.Topic], tp.Partition)
		}
	}
	changed = found.Doubtful
	if found.Doubtful || found.Unended {
		for name, partitions := range known {
			newer, err := e.reconcile(found, name, partitions, found.Doubtful)
			if err != nil {
				return false, err
			}
			changed = changed || newer
		}
	}
	return e.adoptAll(found, known, unknown) || changed, nil
}

// adoptAll adopts the partitions of topics by name. Topics of which directories do not agree are left alone.
func (e *Engine) adoptAll(found *catalog.Found, known, unknown map[string][]int32) (changed bool) {
	if len(unknown) == 0 {
		return false
	}
	m := found.Manifest
	folded := make(map[string]string, len(m.Topics))
	for _, entry := range m.Topics {
		folded[e.fold(entry.Name)] = entry.Name
	}
	var fresh []ManifestTopic
	for _, name := range slices.Sorted(maps.Keys(unknown)) {
		var err error
		var entry ManifestTopic
		switch other, taken := folded[e.fold(name)]; {
		case taken && other == name:
			err = e.growTopic(found, name, known[name], unknown[name])
		case taken:
			err = e.taken(name, other)
		default:
			if entry, err = e.adoptTopic(name, unknown[name]); err == nil {
				fresh, folded[e.fold(name)] = append(fresh, entry), name
			}
		}
		if err != nil {
			e.logger.Warn("directories of a topic are left alone", "topic", name, "err", err)
			continue
		}
		changed = true
	}
	if len(fresh) > 0 {
		m.Topics = append(m.Topics, fresh...)
		slices.SortFunc(m.Topics, func(a, b ManifestTopic) int { return strings.Compare(a.Name, b.Name) })
		m.NextProducerID = 0 // the ids of the producers that wrote there are not known: ids begin somewhere else
	}
	return changed
}

// reconcile takes over what the copies of a topic's entry know better than a manifest that lost changes, or may have: a journal that was cut looks as
// one that a crash left. When a copy that may know better is lost too, the topic keeps everything. Directories that are there are used.
func (e *Engine) reconcile(found *catalog.Found, name string, partitions []int32, doubtful bool) (newer bool, err error) {
	m := found.Manifest
	i, _ := m.Find(name)
	entry := m.Topics[i]
	if entry.State != TopicReady {
		return false, nil
	}
	c, err := e.copiesOf(name, entry.ID, partitions, doubtful)
	switch {
	case err != nil && doubtful:
		return false, err
	case err != nil: // nothing says that a change is lost, and the partition will tell by itself
		e.logger.Warn("copy of a topic's settings is not looked at", "topic", name, "err", err)
	}
	newer = c.found && c.newest.Changed > entry.Changed
	if newer {
		entry.Unused = entry.Unused.With(entry.Partitions, c.newest.Partitions)
		entry.Partitions = max(entry.Partitions, c.newest.Partitions)
		entry.Settings, entry.Changed = c.newest.Settings, c.newest.Changed
		e.logger.Info("settings of a topic taken from its directory", "topic", name)
	}
	if doubtful && !c.sure && !found.Uncopied {
		entry.Settings = adoptedSettings(name)
		e.logger.Warn("settings of a topic are lost: it keeps everything", "topic", name)
	}
	if newer || doubtful {
		for _, n := range partitions {
			entry.Unused = entry.Unused.Without(n)
		}
		m.Put(entry)
	}
	return newer, nil
}

// growTopic adds partitions to a topic of the manifest, of which it knows those that are known.
func (e *Engine) growTopic(found *catalog.Found, name string, known, unknown []int32) error {
	id, err := e.idOf(name, unknown)
	if err != nil {
		return err
	}
	i, _ := found.Manifest.Find(name)
	entry := &found.Manifest.Topics[i]
	count := int(slices.Max(unknown)) + 1
	if entry.State == TopicDeleting || !id.IsZero() && id != entry.ID || count > maxPartitions {
		return fmt.Errorf("%w: topic id %v and %d partitions, the manifest has %v", ErrCorrupt, id, count, entry.ID)
	}
	entry.Unused = entry.Unused.With(entry.Partitions, count)
	entry.Partitions = count
	_, err = e.reconcile(found, name, slices.Concat(known, unknown), true)
	return err
}

// adoptTopic gives the entry of a topic that the manifest does not know: with the settings that a copy in its directories tells, else with none,
// so that it keeps everything, or with those of the internal topic that it is.
func (e *Engine) adoptTopic(name string, partitions []int32) (ManifestTopic, error) {
	count := int(slices.Max(partitions)) + 1
	if count > maxPartitions {
		return ManifestTopic{}, fmt.Errorf("%w: partition %d", ErrInvalid, count-1)
	}
	id, err := e.idOf(name, partitions)
	if err != nil {
		return ManifestTopic{}, err
	}
	c, err := e.copiesOf(name, id, partitions, true)
	if err != nil {
		return ManifestTopic{}, err
	}
	entry := c.newest
	switch {
	case !c.found:
		if id.IsZero() {
			if id, err = newID(); err != nil {
				return entry, err
			}
		}
		// Nothing says that a partition without a directory was ever used here.
		entry = ManifestTopic{Name: name, ID: id, Settings: adoptedSettings(name), Unused: catalog.Range(0, count)}
	case !c.sure:
		entry.Settings = adoptedSettings(name)
	}
	entry.State, entry.Partitions = TopicReady, max(entry.Partitions, count)
	for _, n := range partitions {
		entry.Unused = entry.Unused.Without(n)
	}
	e.logger.Info("topic found by its directories", "topic", name, "partitions", entry.Partitions, "settings_known", c.found && c.sure)
	return entry, nil
}

// idOf is the topic id that the partitions' directories agree on; zero when none has one.
func (e *Engine) idOf(name string, partitions []int32) (ID, error) {
	var id ID
	for _, n := range partitions {
		got, err := idIn(e.fs, e.partitionDir(name, n), name)
		switch {
		case err != nil:
			return ID{}, err
		case got.IsZero():
			continue
		case !id.IsZero() && got != id:
			return ID{}, fmt.Errorf("%w: partitions with the topic ids %v and %v", ErrCorrupt, id, got)
		}
		id = got
	}
	return id, nil
}

// idIn is the topic id in a partition's directory: that of its metadata, if these are lost of the copy of the topic's entry, or else of the slot; zero
// when none tells.
func idIn(fsys vfs.FS, dir, name string) (ID, error) {
	id, err := log.ReadPartitionMetadata(fsys, filepath.Join(dir, log.PartitionMetadataFile))
	if err == nil || errors.Is(err, ErrNewerFormat) || !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrCorrupt) {
		return id, err
	}
	if c, err := catalog.ReadCopy(fsys, dir, checkEntry); err == nil && c.Name == name {
		return c.ID, nil
	}
	data, err := vfs.ReadFile(fsys, filepath.Join(dir, log.SlotFile), smallFile)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, vfs.ErrTooLarge) {
		return ID{}, nil
	}
	if slots, newest := log.DecodeSlots(data); err == nil && newest >= 0 {
		id = slots[newest].TopicID
	}
	return id, err
}

// holdsData tells whether a directory holds a segment's data file. What is no directory, or is gone, does not.
func (e *Engine) holdsData(dir string) (bool, error) { return holdsData(e.fs, dir) }

func holdsData(fsys vfs.FS, dir string) (bool, error) {
	names, err := fsys.List(dir)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return slices.ContainsFunc(names, isDataFile), nil
	}
	if info, e := fsys.Stat(dir); errors.Is(e, fs.ErrNotExist) || e == nil && !info.IsDir {
		return false, nil
	}
	return false, err
}

// holdsNothing tells that a directory is known to hold no segment's data file; a disk that does not answer says nothing.
func (e *Engine) holdsNothing(dir string) bool {
	names, err := e.fs.List(dir)
	return err == nil && !slices.ContainsFunc(names, isDataFile) || errors.Is(err, fs.ErrNotExist)
}

func isDataFile(base string) bool {
	stem, ok := strings.CutSuffix(base, ".log")
	return ok && len(stem) == 20 && strings.Trim(stem, "0123456789") == ""
}
