package topic

import "github.com/quirelog/quire/topic/internal/catalog"

// ManifestFile is the name of the manifest in an engine's directory; the generation before lies beside it, with
// ".prev" behind the name, and the changes since in a journal.
const ManifestFile = catalog.File

type (
	// Manifest is the truth about topics, their ids, numbers of partitions and settings, as tools see it; an engine reads and writes its own.
	Manifest = catalog.Manifest
	// ManifestTopic is one topic of a [Manifest].
	ManifestTopic = catalog.Topic
	// ManifestState tells how far a topic's creation or deletion has come.
	ManifestState = catalog.State
)

const (
	// TopicCreating: only manifests of earlier versions have it; it reads as TopicReady, with all partitions unused.
	TopicCreating = catalog.Creating
	// TopicReady: the topic exists.
	TopicReady = catalog.Ready
	// TopicDeleting: the topic is gone; its directories may still be there.
	TopicDeleting = catalog.Deleting
)

// maxPartitions bounds a topic, so that damaged numbers cannot fill memory.
const maxPartitions = catalog.MaxPartitions

// DecodeManifest reads the bytes of a [ManifestFile]. It takes any bytes and returns only what an engine can have
// written: damage matches [ErrCorrupt], a newer format [ErrNewerFormat].
func DecodeManifest(data []byte) (*Manifest, error) { return catalog.Decode(data, checkEntry) }

// ManifestLine is a line of the manifest's journal, or of the copy of a topic's entry in a partition's directory.
type ManifestLine = catalog.Line

// DecodeManifestJournal reads the bytes of a journal, or of such a copy: the sound lines, and how many bytes behind them are no line. Damage in
// front of a sound line matches [ErrCorrupt].
func DecodeManifestJournal(data []byte) (lines []*ManifestLine, rest int, err error) {
	return catalog.DecodeJournal(data, checkEntry)
}

// checkEntry is what is wrong with the name and the settings of a stored topic.
func checkEntry(e *ManifestTopic) error {
	if err := CheckName(e.Name); err != nil || len(e.Settings) == 0 {
		return err
	}
	_, err := ParseSettings(e.Settings)
	return err
}
