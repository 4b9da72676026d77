package topic

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/quirelog/quire/topic/internal/catalog"
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
	t, created, err := e.findOrCreate(ctx, name, opts...)
	if err == nil && !created {
		err = t.conflict(gather(opts))
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}

// findOrCreate gives the topic of a name whatever its settings, or creates it with these.
func (e *Engine) findOrCreate(ctx context.Context, name string, opts ...TopicOption) (t *Topic, created bool, err error) {
	t, err = e.lookup(name)
	if errors.Is(err, ErrNotFound) && e.readOnly {
		return nil, false, fmt.Errorf("%w, and cannot be created: %w", err, ErrReadOnly)
	}
	for errors.Is(err, ErrNotFound) {
		var fault error
		if t, fault = e.CreateTopic(ctx, name, opts...); !errors.Is(fault, ErrExists) {
			return t, fault == nil, fault
		}
		// Others were faster: then it is there, unless they have deleted it as fast, or another has the name.
		if t, err = e.lookup(name); errors.Is(err, ErrNotFound) && e.collides(name) {
			return nil, false, fault
		}
	}
	return t, false, err
}

// conflict tells how an existing topic differs from what is wanted.
func (t *Topic) conflict(want *topicOptions) error {
	if err := want.check(); err != nil {
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
		if !sameSetting(key, stored, wanted) {
			diff = append(diff, SettingDifference{key, stored, wanted})
		}
	}
	if diff == nil {
		return nil
	}
	return &SettingsConflictError{Topic: t.name, Differences: diff}
}

// CreateTopic creates a topic; ErrExists when there is one of that name, or one whose name is too near (*NameTakenError): it
// differs only by '.' in the place of '_', or only by case on a disk that folds case. Otherwise it is [Engine.Topic].
func (e *Engine) CreateTopic(ctx context.Context, name string, opts ...TopicOption) (*Topic, error) {
	list, err := e.CreateTopics(ctx, NewTopic{Name: name, Options: opts})
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// NewTopic is a topic that is to be created.
type NewTopic struct {
	Name    string
	Options []TopicOption
}

// CreateTopics creates all the topics, or none of them: thousands cost one write and one sync. They are given in the order of the call.
// All faults of names and settings are reported at once; the other errors are those of [Engine.CreateTopic].
func (e *Engine) CreateTopics(ctx context.Context, topics ...NewTopic) ([]*Topic, error) {
	names, wants, err := e.wanted(topics)
	if err != nil || len(topics) == 0 {
		return nil, errors.Join(err, e.usable(ctx))
	}
	return changing(ctx, e, names, func() ([]*Topic, error) { return e.create(names, wants) }, func(list []*Topic, err error) {
		if err != nil {
			return
		}
		for _, t := range list {
			e.logger.InfoContext(ctx, "topic created", "topic", t.name, "partitions", t.Partitions())
			tell(e, e.events.TopicCreated, TopicFacts{Topic: t.name, ID: t.id, Partitions: t.Partitions()})
		}
		e.topicsChanged(names...)
	})
}

// wanted is what the topics to be created are to be, or all that is wrong with that.
func (e *Engine) wanted(topics []NewTopic) (names []string, wants []*topicOptions, err error) {
	var faults []error
	folded := make(map[string]string, len(topics))
	for _, n := range topics {
		want := gather(e.defaults, n.Options)
		fault := errors.Join(CheckName(n.Name), want.check())
		if runtime.GOOS == "windows" && reserved(n.Name) {
			fault = errors.Join(fault, fmt.Errorf("%w: topic name %q is a device's on Windows", ErrInvalid, clip(n.Name)))
		}
		if other, twice := folded[e.fold(n.Name)]; twice {
			fault = errors.Join(fault, fmt.Errorf("%w: topics %q and %q of one call", ErrInvalid, clip(other), clip(n.Name)))
		}
		folded[e.fold(n.Name)] = n.Name
		if fault != nil {
			faults = append(faults, fault)
		}
		names, wants = append(names, n.Name), append(wants, want)
	}
	return names, wants, errors.Join(faults...)
}

// check is what is wrong with the wanted settings and number of partitions by themselves.
func (o *topicOptions) check() error {
	_, err := ParseSettings(o.overrides)
	for _, key := range o.reset {
		if _, known := findKey(key); !known {
			err = errors.Join(err, fmt.Errorf("%w: setting %q is not known", ErrInvalid, clip(key)))
		}
	}
	if n := o.partitions; n != nil && (*n < 1 || *n > maxPartitions) {
		err = errors.Join(err, fmt.Errorf("%w: %d partitions: at least 1 and at most %d", ErrInvalid, *n, maxPartitions))
	}
	return errors.Join(append(slices.Clone(o.faults), err)...)
}

// create creates topics by one change of the catalog. Their directories are made when their partitions are first used. The caller has begun
// the change of the names.
func (e *Engine) create(names []string, wants []*topicOptions) ([]*Topic, error) {
	list, changes := make([]*Topic, len(names)), make([]catalog.Change, len(names))
	for i, name := range names {
		if err := e.nameFree(name); err != nil {
			return nil, err
		}
		id, err := newID()
		if err != nil {
			return nil, err
		}
		entry := ManifestTopic{Name: name, ID: id, Partitions: 1, State: TopicReady, Settings: wants[i].stored()}
		if n := wants[i].partitions; n != nil {
			entry.Partitions = *n
		}
		entry.Unused = catalog.Range(0, entry.Partitions)
		if list[i], err = e.newTopic(entry); err != nil {
			return nil, err
		}
		changes[i].Create = &entry
	}
	if err := e.catalog.Commit(changes...); err != nil {
		if len(names) == 1 {
			return nil, fmt.Errorf("topic: create %q: %w", names[0], err)
		}
		return nil, fmt.Errorf("topic: create %d topics: %w", len(names), err)
	}
	for _, t := range list {
		e.publish(t)
	}
	return list, nil
}

func (e *Engine) partitionDir(topic string, n int32) string {
	return filepath.Join(e.dir, dirName(topic, n))
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
	_, err := changing(ctx, e, []string{name}, func() (*Topic, error) { return e.alter(name, want) }, func(t *Topic, err error) {
		if err != nil {
			return
		}
		e.logger.InfoContext(ctx, "topic altered", "topic", name, "partitions", t.Partitions())
		tell(e, e.events.TopicAltered, TopicFacts{Topic: name, ID: t.id, Partitions: t.Partitions()})
		e.topicsChanged(name)
	})
	return err
}

// alter changes a topic by one change of the catalog. The caller has begun the change of the name.
func (e *Engine) alter(name string, want *topicOptions) (*Topic, error) {
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
	if err := e.catalog.Commit(catalog.Change{Alter: &entry}); err != nil {
		return nil, fmt.Errorf("topic: alter %q: %w", name, err)
	}
	t.keepCopy()
	entry.Unused = catalog.Range(len(old.partitions), entry.Partitions)
	return t, t.apply(entry)
}

// merged is a topic's settings after the wanted changes, or all that is wrong with them.
func (o *topicOptions) merged(old *topicState) (map[string]string, error) {
	var faults []error
	merged := map[string]string{}
	maps.Copy(merged, old.overrides)
	for _, key := range o.reset {
		delete(merged, key)
	}
	maps.Copy(merged, o.overrides)
	both := topicOptions{partitions: o.partitions, overrides: merged, reset: o.reset, faults: o.faults}
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
		t.eng.scheduler.armRetention()
	}
	if settings.compacts() {
		t.eng.scheduler.arm(&t.eng.scheduler.cleaning, t.eng.cleaner.every)
	}
	return errors.Join(faults...)
}
