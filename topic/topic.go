package topic

import (
	"fmt"
	"maps"
	"sync/atomic"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/topic/internal/catalog"
)

// Topic is a named set of partitions with common settings. It stays valid until the topic is deleted or the
// engine closed; then its calls return ErrNotFound or ErrClosed. All methods may be called at once from any
// goroutine.
type Topic struct {
	eng   *Engine
	name  string
	id    ID
	stats topicStats
	// state is replaced as a whole by AlterTopic.
	state atomic.Pointer[topicState]
	// budget is nil until the topic has one.
	budget atomic.Pointer[diskBudget]
	// deleted is set once the deletion is certain to survive anything.
	deleted atomic.Bool
	copying bounded.Mutex // one writer of the entry's copy at a time
	copied  *uint64       // the last change that the copy is known to have; guarded by copying
	// spread numbers the appends without a key, so that they go round the partitions.
	spread atomic.Uint32
}

// topicState is what an alteration changes. It is immutable, but for the partitions' own state.
type topicState struct {
	settings   *Settings
	overrides  map[string]string // as stored in the manifest
	config     *log.Config
	allowance  int64 // what an open partition may write ahead, for budgets
	partitions []*Partition
}

// present is the topic's state; that of a Topic that no engine gave is empty.
func (t *Topic) present() *topicState {
	if s := t.state.Load(); s != nil {
		return s
	}
	return &topicState{settings: &Settings{}}
}

// Name is the topic's name.
func (t *Topic) Name() string { return t.name }

// ID is the topic's identity: another topic of the same name, after a deletion, has another.
func (t *Topic) ID() ID { return t.id }

// Internal tells a topic that an engine keeps for itself; its name begins with two underscores.
func (t *Topic) Internal() bool { return isInternal(t.name) }

// Engine is the engine the topic belongs to.
func (t *Topic) Engine() *Engine { return t.eng }

// Partitions is the number of partitions; they are numbered from 0. It only ever grows.
func (t *Topic) Partitions() int { return len(t.present().partitions) }

// Settings is what rules the topic, defaults filled in.
func (t *Topic) Settings() Settings { return *t.present().settings }

// Overrides is what was chosen for the topic instead of the defaults, by the settings' names in text form.
// The map is the caller's, and never nil.
func (t *Topic) Overrides() map[string]string {
	if chosen := t.present().overrides; chosen != nil {
		return maps.Clone(chosen)
	}
	return map[string]string{}
}

// Partition gives a partition by number; ErrNotFound when there is none.
func (t *Topic) Partition(partition int32) (*Partition, error) { return t.partition(partition) }

func (t *Topic) partition(n int32) (*Partition, error) {
	if t.eng == nil {
		return nil, unmade("Topic")
	}
	parts := t.state.Load().partitions
	if n < 0 || int(n) >= len(parts) {
		return nil, fmt.Errorf("%w: topic %q has %d partitions, no number %d", ErrNotFound, t.name, len(parts), n)
	}
	return parts[n], nil
}

// newTopic makes the topic of a manifest entry.
func (e *Engine) newTopic(entry ManifestTopic) (*Topic, error) {
	settings, err := e.resolve(entry.Settings)
	if err != nil {
		return nil, fmt.Errorf("topic: settings of %q: %w", entry.Name, err)
	}
	t := &Topic{eng: e, name: entry.Name, id: entry.ID}
	t.state.Store(t.newState(settings, entry, nil))
	t.applyBudget(settings)
	return t, nil
}

// newState is the topic as an entry of the manifest says, with the partitions that are there already.
func (t *Topic) newState(settings *Settings, entry ManifestTopic, have []*Partition) *topicState {
	st := &topicState{
		settings:   settings,
		overrides:  entry.Settings,
		config:     settings.logConfig(t.id, t.eng.indexes),
		partitions: t.newPartitions(have, entry.Partitions, entry.Unused),
	}
	st.allowance = t.limitAhead(st.config, settings, len(st.partitions))
	return st
}

// newPartitions gives have, lengthened to n partitions. They are made in one piece: an idle partition is small.
func (t *Topic) newPartitions(have []*Partition, n int, unused catalog.PartitionSet) []*Partition {
	list := append(make([]*Partition, 0, n), have...)
	fresh := make([]Partition, n-len(have))
	for i := range fresh {
		p := &fresh[i]
		p.topic, p.id = t, int32(len(list))
		if unused.Has(p.id) {
			p.unused, p.saved = true, checkpoint{start: -1, recovery: -1, high: -1}
		}
		list = append(list, p)
	}
	return list
}

// resolve turns stored settings into Settings; topics without any share one.
func (e *Engine) resolve(overrides map[string]string) (*Settings, error) {
	if len(overrides) == 0 {
		return e.plain, nil
	}
	s, err := ParseSettings(overrides)
	if err != nil {
		return nil, err
	}
	return &s, nil
}
