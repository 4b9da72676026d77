package topic

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/quirelog/quire/log"
)

// adopt adds to the manifest the partitions whose directories hold data that the manifest knows nothing of:
// a data directory that Apache Kafka wrote, and what a lost generation of the manifest knew. Nothing is
// deleted or changed in the directories. It reports whether the manifest changed. A directory of which the disk does not
// tell what it holds is an error.
func (e *Engine) adopt(m *Manifest) (changed bool, err error) {
	names, err := e.fs.List(e.dir)
	if err != nil {
		return false, err
	}
	found := map[string][]int32{}
	for _, base := range names {
		tp, ok := parseDirName(base)
		if !ok || m.counts(tp) {
			continue
		}
		// Who went on without it would give its name to another topic.
		switch holds, err := e.holdsData(filepath.Join(e.dir, base)); {
		case err != nil:
			return false, fmt.Errorf("topic: %s may hold data of a topic that the manifest does not know: %w", base, err)
		case !holds:
			continue
		}
		found[tp.Topic] = append(found[tp.Topic], tp.Partition)
	}
	order := make([]string, 0, len(found))
	for name := range found {
		order = append(order, name)
	}
	slices.Sort(order)
	for _, name := range order {
		if err := e.adoptTopic(m, name, found[name]); err != nil {
			e.logger.Warn("directories of a topic are left alone", "topic", name, "err", err)
			continue
		}
		changed = true
	}
	return changed, nil
}

// counts tells whether the manifest knows a partition.
func (m *Manifest) counts(tp TopicPartition) bool {
	i, found := m.find(tp.Topic)
	return found && int(tp.Partition) < m.Topics[i].Partitions
}

// adoptTopic adds partitions to a topic of the manifest, or a topic to the manifest.
func (e *Engine) adoptTopic(m *Manifest, name string, partitions []int32) error {
	count := int(slices.Max(partitions)) + 1
	if count > maxPartitions {
		return fmt.Errorf("%w: partition %d", ErrInvalid, count-1)
	}
	id, err := e.idOf(name, partitions)
	if err != nil {
		return err
	}
	if i, found := m.find(name); found {
		entry := m.Topics[i]
		if entry.State == TopicDeleting || !id.IsZero() && id != entry.ID {
			return fmt.Errorf("%w: topic id %v is not the manifest's %v", ErrCorrupt, id, entry.ID)
		}
		entry.Partitions = count
		m.put(entry)
		return nil
	}
	for _, entry := range m.Topics {
		if foldName(entry.Name) == foldName(name) {
			return fmt.Errorf("%w: the name differs from %q only by '.' and '_'", ErrExists, entry.Name)
		}
	}
	if id.IsZero() {
		if id, err = newID(); err != nil {
			return err
		}
	}
	m.put(ManifestTopic{Name: name, ID: id, Partitions: count, State: TopicReady})
	m.NextProducerID = 0 // whose producers wrote there is not known: ids begin somewhere else
	e.logger.Info("topic found by its directories", "topic", name, "partitions", count)
	return nil
}

// idOf is the topic id that the partitions' directories agree on; zero when none has one.
func (e *Engine) idOf(name string, partitions []int32) (ID, error) {
	var id ID
	for _, n := range partitions {
		path := filepath.Join(e.partitionDir(name, n), log.PartitionMetadataFile)
		got, err := log.ReadPartitionMetadata(e.fs, path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return ID{}, err
		case !id.IsZero() && got != id:
			return ID{}, fmt.Errorf("%w: partitions with the topic ids %v and %v", ErrCorrupt, id, got)
		}
		id = got
	}
	return id, nil
}

// holdsData tells whether a directory holds a segment's data file. What is no directory, or is gone, does not.
func (e *Engine) holdsData(dir string) (bool, error) {
	names, err := e.fs.List(dir)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return slices.ContainsFunc(names, isDataFile), nil
	}
	if info, e := e.fs.Stat(dir); errors.Is(e, fs.ErrNotExist) || e == nil && !info.IsDir {
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
