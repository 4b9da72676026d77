package topic

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
)

// Topic opens a topic by name and creates it when there is none. A topic that exists with other settings, or
// another number of partitions, than those given here is refused with a *SettingsConflictError, which matches
// ErrExists and tells both values; what is not given here is not compared. A created topic is on disk when
// Topic returns. Topic waits while another topic is created, altered or deleted.
//
// Errors: ErrExists, ErrInvalid (names and settings, all faults at once), ErrReadOnly, ErrClosed, the
// context's cause, what the disk says, ErrUncertain if the disk failed in a way that leaves it open whether
// the topic exists.
func (e *Engine) Topic(ctx context.Context, name string, opts ...TopicOption) (*Topic, error) {
	if err := e.usable(ctx); err != nil {
		return nil, err
	}
	t, err := e.lookup(name)
	if errors.Is(err, ErrNotFound) && e.readOnly {
		return nil, fmt.Errorf("%w, and cannot be created: %w", err, ErrReadOnly)
	}
	for errors.Is(err, ErrNotFound) {
		var fault error
		if t, fault = e.CreateTopic(ctx, name, opts...); !errors.Is(fault, ErrExists) {
			return t, fault
		}
		// Others were faster: then it is there, unless they have deleted it as fast, or another has the name.
		if t, err = e.lookup(name); errors.Is(err, ErrNotFound) && e.collides(name) {
			return nil, fault
		}
	}
	if err != nil {
		return nil, err
	}
	if err := t.conflict(gather(opts)); err != nil {
		return nil, err
	}
	return t, nil
}

// conflict tells how an existing topic differs from what is wanted.
func (t *Topic) conflict(want *topicOptions) error {
	if _, err := ParseSettings(want.overrides); err != nil {
		return err
	}
	st := t.state.Load()
	var diff []SettingDifference
	if n := len(st.partitions); want.partitions != nil && *want.partitions != n {
		diff = append(diff, SettingDifference{"partitions", fmt.Sprint(n), fmt.Sprint(*want.partitions)})
	}
	for _, key := range slices.Sorted(maps.Keys(want.overrides)) {
		k, _ := findKey(key)
		stored, wanted := k.show(st.settings), canonical(key, want.overrides[key])
		if stored != wanted {
			diff = append(diff, SettingDifference{key, stored, wanted})
		}
	}
	if diff == nil {
		return nil
	}
	return &SettingsConflictError{Topic: t.name, Differences: diff}
}

// CreateTopic creates a topic; ErrExists when there is one of that name, or one whose name differs only by
// '.' in the place of '_'. Otherwise it is [Engine.Topic].
func (e *Engine) CreateTopic(ctx context.Context, name string, opts ...TopicOption) (*Topic, error) {
	want := gather(e.defaults, opts)
	if err := errors.Join(CheckName(name), want.check()); err != nil {
		return nil, err
	}
	if err := e.takeTurn(ctx); err != nil {
		return nil, err
	}
	t, err := e.createInTurn(name, want)
	e.endTurn()
	if err != nil {
		return nil, err
	}
	e.logger.InfoContext(ctx, "topic created", "topic", name, "partitions", t.Partitions())
	tell(e, e.events.TopicCreated, TopicFacts{Topic: name, ID: t.id, Partitions: t.Partitions()})
	e.topicsChanged()
	return t, nil
}

// check is what is wrong with the wanted settings and number of partitions by themselves.
func (o *topicOptions) check() error {
	_, err := ParseSettings(o.overrides)
	if n := o.partitions; n != nil && (*n < 1 || *n > maxPartitions) {
		err = errors.Join(err, fmt.Errorf("%w: %d partitions: at least 1 and at most %d", ErrInvalid, *n, maxPartitions))
	}
	return errors.Join(append(slices.Clone(o.faults), err)...)
}

// createInTurn creates a topic: first the manifest says that it is to exist, then its directories are made,
// then the manifest says that it does. A crash before the first leaves nothing; after it, the next Open
// completes the topic, which nobody has used yet.
func (e *Engine) createInTurn(name string, want *topicOptions) (*Topic, error) {
	if err := e.nameFree(name); err != nil {
		return nil, err
	}
	id, err := newID()
	if err != nil {
		return nil, err
	}
	entry := ManifestTopic{Name: name, ID: id, Partitions: 1, State: TopicCreating, Settings: want.stored()}
	if want.partitions != nil {
		entry.Partitions = *want.partitions
	}
	t, err := e.newTopic(entry)
	if err != nil {
		return nil, err
	}
	if err := e.storeEntry(entry); err != nil {
		return nil, err
	}
	if err = e.makeDirs(entry, 0); err == nil {
		entry.State = TopicReady
		err = e.storeEntry(entry)
	}
	if err != nil {
		return nil, e.undoCreate(entry, err)
	}
	markFresh(t.state.Load().partitions)
	e.publish(t)
	return t, nil
}

// collides tells whether a topic of another name stands in the way of this one.
func (e *Engine) collides(name string) bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	other, taken := e.folded[foldName(name)]
	return taken && other != name
}

// nameFree finishes a deletion that still holds the name, and tells who else has it.
func (e *Engine) nameFree(name string) error {
	e.mu.RLock()
	other, taken := e.folded[foldName(name)]
	e.mu.RUnlock()
	if taken && other == name {
		return fmt.Errorf("%w: topic %q", ErrExists, name)
	}
	if taken {
		return fmt.Errorf("%w: topic %q differs from %q only by '.' and '_'", ErrExists, name, other)
	}
	if i, found := e.manifest.find(name); found && e.manifest.Topics[i].State == TopicDeleting {
		return e.finishDelete(e.manifest.Topics[i])
	}
	return nil
}

// undoCreate takes a half-created topic back after a failure: first in the manifest, then its directories,
// which are empty. If the manifest cannot be stored either, the next Open finds the topic or completes it, and
// the error says so; its directories must stay then.
func (e *Engine) undoCreate(entry ManifestTopic, cause error) error {
	m := e.manifest.clone()
	m.drop(entry.Name)
	if err := e.store(m); err != nil {
		return fmt.Errorf("topic: create %q: %w: %w", entry.Name, ErrUncertain, cause)
	}
	for n := range entry.Partitions {
		_ = e.fs.Remove(e.partitionDir(entry.Name, int32(n))) // only an empty directory can go
	}
	return fmt.Errorf("topic: create %q: %w", entry.Name, cause)
}

// storeEntry makes one topic's new entry durable.
func (e *Engine) storeEntry(entry ManifestTopic) error {
	m := e.manifest.clone()
	m.put(entry)
	return e.store(m)
}

func (e *Engine) partitionDir(topic string, n int32) string {
	return filepath.Join(e.dir, dirName(topic, n))
}

// makeDirs makes the directories of a topic's partitions from the given one on, durably.
func (e *Engine) makeDirs(entry ManifestTopic, from int) error {
	for n := from; n < entry.Partitions; n++ {
		if err := e.fs.MkdirAll(e.partitionDir(entry.Name, int32(n))); err != nil {
			return err
		}
	}
	return e.fs.SyncDir(e.dir)
}

// stored is the wanted settings in the form the manifest keeps.
func (o *topicOptions) stored() map[string]string {
	if len(o.overrides) == 0 {
		return nil
	}
	m := make(map[string]string, len(o.overrides))
	for key, value := range o.overrides {
		m[key] = canonical(key, value)
	}
	return m
}

// AlterTopic changes settings of a topic and raises its number of partitions; what is not given stays as it
// is, and [Reset] puts a setting back to its default. The change is on disk when AlterTopic returns and acts
// on appends that begin after it. Fewer partitions are refused: keys would lose their place. All faults are
// reported at once, and nothing is changed then. Errors as of [Engine.Topic], and ErrNotFound.
func (e *Engine) AlterTopic(ctx context.Context, name string, opts ...TopicOption) error {
	want := gather(opts)
	if err := e.takeTurn(ctx); err != nil {
		return err
	}
	t, err := e.alterInTurn(name, want)
	e.endTurn()
	if err != nil {
		return err
	}
	e.logger.InfoContext(ctx, "topic altered", "topic", name, "partitions", t.Partitions())
	tell(e, e.events.TopicAltered, TopicFacts{Topic: name, ID: t.id, Partitions: t.Partitions()})
	e.topicsChanged()
	return nil
}

func (e *Engine) alterInTurn(name string, want *topicOptions) (*Topic, error) {
	t, err := e.lookup(name)
	if err != nil {
		return nil, err
	}
	old := t.state.Load()
	entry := ManifestTopic{Name: name, ID: t.id, Partitions: len(old.partitions), State: TopicReady}
	entry.Settings, err = want.merged(old)
	if err != nil {
		return nil, err
	}
	if want.partitions != nil {
		entry.Partitions = *want.partitions
	}
	// The directories come before the manifest counts them. If a crash leaves them uncounted they are empty,
	// and stand ready for the next attempt.
	if entry.Partitions > len(old.partitions) {
		if err := e.makeDirs(entry, len(old.partitions)); err != nil {
			return nil, err
		}
	}
	if err := e.storeEntry(entry); err != nil {
		return nil, err
	}
	return t, t.apply(entry)
}

// merged is a topic's settings after the wanted changes, or all that is wrong with them.
func (o *topicOptions) merged(old *topicState) (map[string]string, error) {
	var faults []error
	merged := map[string]string{}
	maps.Copy(merged, old.overrides)
	for _, key := range o.reset {
		if _, known := findKey(key); !known {
			faults = append(faults, fmt.Errorf("%w: setting %q is not known", ErrInvalid, clip(key)))
		}
		delete(merged, key)
	}
	maps.Copy(merged, o.overrides)
	both := topicOptions{partitions: o.partitions, overrides: merged, faults: o.faults}
	if err := both.check(); err != nil {
		faults = append(faults, err)
	}
	if n := len(old.partitions); o.partitions != nil && *o.partitions < n {
		faults = append(faults, fmt.Errorf("%w: %d partitions: the topic has %d, and never fewer again", ErrInvalid, *o.partitions, n))
	}
	return both.stored(), errors.Join(faults...)
}

// apply puts a stored entry in force.
func (t *Topic) apply(entry ManifestTopic) error {
	old := t.state.Load()
	settings, err := t.eng.resolve(entry.Settings)
	if err != nil {
		return err
	}
	st := t.newState(settings, entry, old.partitions)
	markFresh(st.partitions[len(old.partitions):])
	t.state.Store(st)
	t.applyBudget(settings)
	var faults []error
	for _, p := range st.partitions {
		p.forgetExpiry()
		if l := p.log.Load(); l != nil {
			faults = append(faults, p.fault(l.Configure(st.config)))
		}
	}
	if settings.expires() {
		t.eng.keeper.armRetention()
	}
	if settings.compacts() {
		t.eng.keeper.arm(&t.eng.keeper.cleaning, t.eng.cleaner.every)
	}
	return errors.Join(faults...)
}

// markFresh notes that partitions are new: nothing was saved of them, and there is nothing to recover.
func markFresh(list []*Partition) {
	for _, p := range list {
		p.fresh, p.saved = true, checkpoint{start: -1, recovery: -1, high: -1}
	}
}
