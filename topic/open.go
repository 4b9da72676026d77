package topic

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/timingwheel"
)

// memoryDir is the name of the directory of an engine in memory that was given none.
const memoryDir = "quire"

// Open opens the directory of an engine, making it if it does not exist, and takes its lock. Topics are
// known at once; a partition's files are opened when it is first used. What a crash left half done, a
// creation or deletion of a topic, is finished. A data directory that Apache Kafka wrote is taken over.
//
// Errors: ErrLocked (*LockedError names the holder), ErrNewerFormat, ErrCorrupt when the manifest is beyond
// repair (see [RebuildManifest]), ErrInvalid for bad options, and what the disk says. After an error nothing
// is held open.
func Open(dir string, opts ...Option) (*Engine, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	o.fill()
	if o.fault != nil {
		return nil, o.fault
	}
	if dir == "" {
		if !o.memory {
			return nil, fmt.Errorf("%w: an engine on disk needs a directory", ErrInvalid)
		}
		dir = memoryDir
	}
	if _, err := ParseSettings(gather(o.defaults).overrides); err != nil {
		return nil, err
	}
	e := newEngine(filepath.Clean(dir), &o)
	if err := e.start(&o); err != nil {
		return nil, errors.Join(err, e.unlock())
	}
	if !e.readOnly {
		if !e.startedOK {
			e.delays.settleEarlier()
			e.recurring.settleEarlier()
		}
		if e.reserve.size <= 0 {
			e.dropReserve()
		}
		e.holdReserve()
		e.countBudgets()
		e.armRetention()
		e.armCleaner()
	}
	e.scrub.begin()
	e.delays.resume()
	e.recurring.resume()
	e.logger.Info("engine opened", "dir", e.dir, "topics", len(e.topics), "clean", e.startedOK, "read_only", e.readOnly)
	return e, nil
}

func newEngine(dir string, o *options) *Engine {
	base := o.fs
	if o.readOnly {
		base = vfs.ReadOnly(base)
	}
	plain, limited := DefaultSettings(), vfs.Limit(base, o.maxOpenFiles)
	e := &Engine{
		fs: limited, limited: limited, disk: o.fs, dir: dir, readOnly: o.readOnly, acceptLoss: o.acceptLoss,
		wall: o.wall, logger: o.logger, events: o.events, retainers: o.retainers, defaults: o.defaults, plain: &plain,
		unlock:  func() error { return nil },
		closing: make(chan struct{}), done: make(chan struct{}), turn: make(chan struct{}, 1),
		topics: map[string]*Topic{}, folded: map[string]string{}, members: map[*member]struct{}{},
	}
	if o.indexMemory > 0 {
		e.indexes = log.NewIndexBudget(o.indexMemory)
	}
	if o.budget > 0 {
		e.budget = newDiskBudget(e, nil, o.budget, o.budgetFull)
	}
	e.reserve.size = o.reserve
	e.goroutines.left = make(chan struct{}, 1)
	e.cleaner.init(o)
	e.keeper.init(e, o)
	e.scrub.init(e, o)
	e.runner = timingwheel.NewRunner(timingwheel.RunnerConfig{Go: e.goFunc, Panicked: e.timerPanicked})
	e.delays.init(e, o.delayedNear)
	e.recurring.init(e)
	return e
}

// start brings the directory into use; the order of its steps is that of a crash-safe opening: lock, refuse
// what is too new, remove the clean mark, finish what was half done, serve.
func (e *Engine) start(o *options) error {
	if e.readOnly {
		return e.startReading()
	}
	if err := ensureDir(e.fs, e.dir); err != nil {
		return err
	}
	unlock, err := takeLock(e.fs, e.dir)
	if err != nil {
		return err
	}
	e.unlock = unlock
	id, found, damage, err := readIdentity(e.fs, e.dir)
	if err != nil {
		return err
	}
	if err := leaveBackup(e.fs, e.dir); err != nil {
		return err
	}
	m, fresh, err := e.chooseManifest(o.rebuild)
	if err != nil {
		return err
	}
	if e.startedOK, err = takeCleanMark(e.fs, e.dir); err != nil {
		return err
	}
	// After a kill the names found here, the manifest's above all, may be in the page cache only: a power cut
	// must not bring older ones back once this engine has served them.
	if err := e.fs.SyncDir(e.dir); err != nil {
		return err
	}
	if e.identity, err = completeIdentity(e.fs, e.dir, id, found); err != nil {
		return err
	}
	if damage != nil {
		e.logger.Warn("meta.properties is damaged and was made anew: the directory has other ids now", "dir", e.dir,
			"cluster", e.identity.cluster, "directory", e.identity.directory, "err", damage)
	}
	if err := setAsideDamaged(e.fs, e.dir); err != nil {
		return err
	}
	adopted, err := e.adopt(m)
	if err != nil {
		return err
	}
	e.startedOK = e.startedOK || fresh && !adopted
	e.manifest = m
	if fresh || adopted {
		if err := e.store(m.clone()); err != nil {
			return err
		}
	}
	if err := e.finishHalfDone(); err != nil {
		return err
	}
	return e.fillTopics()
}

// startReading opens beside a live writer: nothing is written, and what is half done does not exist.
func (e *Engine) startReading() error {
	if _, err := e.fs.Stat(e.dir); err != nil {
		return err
	}
	id, _, _, err := readIdentity(e.fs, e.dir)
	if err != nil {
		return err
	}
	if _, err := readBackupMark(e.fs, e.dir); err != nil {
		return err
	}
	e.identity, e.blank = id, vfs.NewMem()
	m, _, err := e.chooseManifest(true)
	if err != nil {
		return err
	}
	if _, err := e.adopt(m); err != nil {
		return err
	}
	e.manifest = m
	return e.fillTopics()
}

// chooseManifest is the newest valid generation, or an empty one for a directory without any. fresh says
// that it is not on disk.
func (e *Engine) chooseManifest(rebuild bool) (m *Manifest, fresh bool, err error) {
	m, found, degraded, err := loadManifest(e.fs, e.dir)
	switch {
	case err != nil && errors.Is(err, ErrCorrupt) && rebuild:
		e.logger.Warn("manifest is damaged, topics are found by their directories", "dir", e.dir, "err", err)
		return &Manifest{Format: manifestFormat}, true, nil
	case err != nil:
		return nil, false, err
	case !found:
		return &Manifest{Format: manifestFormat}, true, nil
	}
	if degraded != nil {
		e.logger.Warn("a generation of the manifest is damaged, the other is used", "dir", e.dir, "err", degraded)
	}
	return m, false, nil
}

// store makes m the manifest, on disk and in memory. The caller has the turn, or is Open. A failure of which
// nobody can say what it left on disk is ErrUncertain and stands in the way of all later changes.
func (e *Engine) store(m *Manifest) error {
	if e.manifestFault != nil {
		return e.manifestFault
	}
	m.Format, m.Generation = manifestFormat, e.manifest.Generation+1
	if err := e.stage(m); err != nil {
		return fmt.Errorf("topic: manifest not written: %w", err)
	}
	err := placeManifest(e.fs, e.dir)
	if err == nil {
		e.manifest = m
		return nil
	}
	if e.stillOld() {
		return fmt.Errorf("topic: manifest not written: %w", err)
	}
	e.manifestFault = fmt.Errorf("topic: manifest: %w: %w", ErrUncertain, err)
	return e.manifestFault
}

// stage writes the manifest aside. When that is to delete a topic and the disk is full, the previous generation
// gives up its room, provided that the newest one can be read: else no topic could be deleted to make room.
func (e *Engine) stage(m *Manifest) error {
	err := stageManifest(e.fs, e.dir, m)
	if err == nil || !vfs.IsNoSpace(err) || !m.deletes() || !e.stillOld() {
		return err
	}
	if e.releaseReserve() {
		if err = stageManifest(e.fs, e.dir, m); err == nil {
			return nil
		}
	}
	if e.fs.Remove(filepath.Join(e.dir, manifestPrev)) != nil {
		return err
	}
	return stageManifest(e.fs, e.dir, m)
}

// stillOld tells, after a failed store, that the file is as it was: the new one was never put in its place.
func (e *Engine) stillOld() bool {
	m, err := readManifest(e.fs, filepath.Join(e.dir, manifestFile))
	return err == nil && m.Generation == e.manifest.Generation
}

// fillTopics makes the topics of the manifest known, with what the checkpoint files say of their partitions.
func (e *Engine) fillTopics() error {
	saved := e.readCheckpoints()
	for _, entry := range e.manifest.Topics {
		if entry.State != TopicReady {
			continue // only beside a live writer, or a deletion that could not be finished
		}
		t, err := e.newTopic(entry)
		if err != nil {
			return err
		}
		for _, p := range t.state.Load().partitions {
			p.saved = saved.of(p)
		}
		e.publish(t)
	}
	return nil
}

func (e *Engine) publish(t *Topic) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.topics[t.name] = t
	e.folded[foldName(t.name)] = t.name
}

func (e *Engine) unpublish(t *Topic) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.topics, t.name)
	delete(e.folded, foldName(t.name))
}

// finishHalfDone completes creations and deletions that a crash interrupted. A deletion that the disk
// refuses to finish does not stop the engine: it is tried again at the next Open.
func (e *Engine) finishHalfDone() error {
	m := e.manifest.clone()
	changed := false
	for _, entry := range e.manifest.Topics {
		switch entry.State {
		case TopicCreating:
			if err := e.makeDirs(entry, 0); err != nil {
				return err
			}
			entry.State = TopicReady
			m.put(entry)
			changed = true
		case TopicDeleting:
			if err := e.remove(entry); err != nil {
				e.logger.Warn("deletion of a topic could not be finished", "topic", entry.Name, "err", err)
				continue
			}
			m.drop(entry.Name)
			changed = true
		}
	}
	if !changed {
		return nil
	}
	return e.store(m)
}

// openLog opens the partition's files. The topic's id is written into its directory before the first record.
func (p *Partition) openLog(hooks log.Hooks) (*log.Log, OpenedFacts, error) {
	e, t := p.topic.eng, p.topic
	facts := OpenedFacts{Topic: t.name, Partition: p.id}
	if err := p.prepareDir(); err != nil {
		return nil, facts, err
	}
	if e.readOnly {
		holds, err := e.holdsData(p.Dir())
		if err != nil {
			return nil, facts, err
		}
		if !holds {
			return p.openBlank(facts)
		}
	}
	l, found, err := log.Open(e.fs, p.Dir(), t.state.Load().config, log.OpenState{
		Hooks: hooks, ReadOnly: e.readOnly, AcceptLoss: e.acceptLoss, Kafka: p.kafkaState(), Cleaned: p.cleanedTo(),
	})
	if err != nil {
		return nil, facts, err
	}
	facts.fill(l, found)
	return l, facts, nil
}

// openBlank stands in for a partition that nobody has written to, in an engine that must not make its files.
func (p *Partition) openBlank(facts OpenedFacts) (*log.Log, OpenedFacts, error) {
	l, _, err := log.Open(p.topic.eng.blank, p.Dir(), p.topic.state.Load().config, log.OpenState{})
	if err != nil {
		return nil, facts, err
	}
	l.Fence(ErrReadOnly)
	facts.Created, facts.Clean = true, true
	return l, facts, nil
}

// kafkaState is what Kafka's checkpoint files say of the partition.
func (p *Partition) kafkaState() log.KafkaState {
	p.mu.Lock()
	defer p.mu.Unlock()
	return log.KafkaState{
		Clean:         p.topic.eng.startedOK,
		RecoveryPoint: max(p.saved.recovery, 0),
		Start:         max(p.saved.start, 0),
	}
}

// cleanedTo is what the cleaner's checkpoint says of the partition.
func (p *Partition) cleanedTo() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(p.saved.cleaned, 0)
}

// prepareDir sees that the directory exists and is that of this topic.
func (p *Partition) prepareDir() error {
	e, dir := p.topic.eng, p.Dir()
	if _, err := e.fs.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if !e.acceptLoss || e.readOnly {
			return fmt.Errorf("%w: directory %s is missing: %w", ErrCorrupt, dir, err)
		}
		if err := ensureDir(e.fs, dir); err != nil {
			return err
		}
	}
	path := filepath.Join(dir, log.PartitionMetadataFile)
	id, err := log.ReadPartitionMetadata(e.fs, path)
	switch {
	case err == nil && id == p.topic.id:
		return nil
	case err == nil:
		return fmt.Errorf("%w: %s says topic id %v, the manifest %v", ErrCorrupt, path, id, p.topic.id)
	case errors.Is(err, log.ErrNewerFormat):
		return err
	case e.readOnly:
		return nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, ErrCorrupt): // never written, or torn before the first record
		return log.WritePartitionMetadata(e.fs, path, p.topic.id)
	}
	return err
}

// Recovered is what opening found in a partition, nil when it was never opened or there is nothing to tell.
func (p *Partition) Recovered() *OpenedFacts {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.opened == nil {
		return nil
	}
	facts := *p.opened
	return &facts
}

// Warm opens the partition now instead of at the first use; what recovery there is to do is done at return.
func (p *Partition) Warm(ctx context.Context) error {
	_, err := p.openWith(ctx)
	return err
}
