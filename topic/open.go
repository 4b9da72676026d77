package topic

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/quirelog/quire/internal/choice"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/timingwheel"
	"github.com/quirelog/quire/topic/internal/catalog"
)

// memoryDir is the name of the directory of an engine in memory that was given none.
const memoryDir = "quire"

// Open opens the directory of an engine, making it if it does not exist, and takes its lock. Topics are
// known at once; a partition's files are opened when it is first used. What a crash left half done, a
// creation or deletion of a topic, is finished. A data directory that Apache Kafka wrote is taken over.
//
// Errors: ErrLocked (*LockedError names the holder), ErrNotData (*DirectoryError) for a folder that holds other things or lies inside a data
// directory, ErrNewerFormat, ErrCorrupt when the manifest is beyond
// repair (see [RebuildManifest]), ErrInvalid for bad options, and what the disk says. After an error nothing
// is held open.
func Open(dir string, opts ...Option) (*Engine, error) {
	var o options
	fault := choice.Apply(&o, opts, ErrInvalid)
	o.fill()
	if fault = errors.Join(fault, o.fault); fault != nil {
		return nil, fault
	}
	if dir == "" {
		if !o.memory {
			return nil, fmt.Errorf("%w: an engine on disk needs a directory", ErrInvalid)
		}
		dir = memoryDir
	}
	if err := gather(o.defaults).check(); err != nil {
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
		e.removals.resume()
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
		internal: o.internal, wall: o.wall, logger: o.logger, events: o.events, retainers: o.retainers, defaults: o.defaults, plain: &plain,
		unlock:  func() error { return nil },
		closing: make(chan struct{}), done: make(chan struct{}), turn: make(chan struct{}, 1),
		topics: map[string]*Topic{}, folded: map[string]string{}, members: map[*member]struct{}{},
		changing: map[string]chan struct{}{}, removing: map[string]*removal{},
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
	e.scheduler.init(e, o)
	e.scrub.init(e, o)
	e.removals.eng = e
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
	if err := admit(e.fs, o.whole(e.dir), o.mustExist); err != nil {
		return err
	}
	if err := ensureDir(e.fs, e.dir); err != nil {
		return err
	}
	unlock, err := takeLock(e.fs, e.dir)
	if err != nil {
		return err
	}
	e.unlock = unlock
	if e.foldsCase, err = vfs.FoldsCase(e.fs, e.dir, lockFile); err != nil {
		return err
	}
	id, known, damage, err := readIdentity(e.fs, e.dir)
	if err != nil {
		return err
	}
	if !known {
		if err := syncAbove(e.fs, e.dir); err != nil {
			return err
		}
	}
	if err := leaveBackup(e.fs, e.dir); err != nil {
		return err
	}
	found, err := e.loadCatalog(o.rebuild)
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
	if e.identity, err = completeIdentity(e.fs, e.dir, id, known); err != nil {
		return err
	}
	if damage != nil {
		e.logger.Warn("meta.properties is damaged and was made anew: the directory has other ids now", "dir", e.dir,
			"cluster", e.identity.cluster, "directory", e.identity.directory, "err", damage)
	}
	adopted, err := e.adopt(found)
	if err != nil {
		return err
	}
	e.startedOK = e.startedOK || !found.Exists && !adopted
	if e.catalog, err = catalog.Start(e.fs, e.dir, found, adopted || !found.Exists, e.releaseReserve); err != nil {
		return err
	}
	return e.fillTopics(found.Manifest)
}

// loadCatalog reads what the directory says of its topics.
func (e *Engine) loadCatalog(rebuild bool) (*catalog.Found, error) {
	found, err := catalog.Load(e.fs, e.dir, checkEntry, rebuild)
	if err == nil && found.Degraded != nil {
		e.logger.Warn("files of the manifest are damaged or missing, the others are used", "dir", e.dir, "err", found.Degraded)
	}
	return found, err
}

// whole is the directory with all that lies above it, where the disk is the operating system's.
func (o *options) whole(dir string) string {
	if full, err := filepath.Abs(dir); o.onOS && err == nil {
		return full
	}
	return dir
}

// startReading opens beside a live writer: nothing is written, and what is half done does not exist.
func (e *Engine) startReading() error {
	if err := admit(e.fs, e.dir, true); err != nil {
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
	found, err := e.loadCatalog(true)
	if err != nil {
		return err
	}
	if _, err := e.adopt(found); err != nil {
		return err
	}
	e.found = found.Manifest
	return e.fillTopics(found.Manifest)
}

// fillTopics makes the topics of the manifest known, with what the checkpoint files say of their partitions, and finishes deletions that a crash
// interrupted. A deletion that the disk refuses to finish does not stop the engine: it is tried again at the next Open.
func (e *Engine) fillTopics(m *Manifest) error {
	saved := e.readCheckpoints()
	for _, entry := range m.Topics {
		if entry.State != TopicReady {
			r := newRemoval(entry.Name)
			e.removing[e.fold(entry.Name)] = r
			if e.readOnly {
				continue
			}
			if err := e.freeName(r); err != nil {
				e.logger.Warn("deletion of a topic could not be finished", "topic", entry.Name, "err", err)
				continue
			}
			e.removals.found = append(e.removals.found, r.dirs...)
			continue
		}
		if other, taken := e.folded[e.fold(entry.Name)]; taken { // the directory comes from a disk that does not fold names
			e.logger.Warn("directories of a topic are left alone", "topic", entry.Name, "err", e.taken(entry.Name, other))
			continue
		}
		t, err := e.newTopic(entry)
		if err != nil {
			return err
		}
		for _, p := range t.state.Load().partitions {
			if !p.unused {
				p.saved = saved.of(p)
			} else {
				p.met = e.met[TopicPartition{Topic: p.topic.name, Partition: p.id}]
			}
		}
		e.publish(t)
	}
	e.met = nil
	return nil
}

// openLog opens the partition's files. The topic's id and a copy of its entry are written into its directory before the first record.
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

// prepareDir sees that the directory exists and is that of this topic. A partition that is used for the first time gets it now.
func (p *Partition) prepareDir() error {
	e, dir, unused := p.topic.eng, p.Dir(), p.isUnused()
	_, err := e.fs.Stat(dir)
	missing := errors.Is(err, fs.ErrNotExist)
	switch {
	case missing && unused && e.readOnly:
		return nil
	case missing && !unused && (e.readOnly || !e.acceptLoss):
		return fmt.Errorf("%w: directory %s is missing: %w", ErrCorrupt, dir, err)
	case missing || unused && !e.readOnly:
		if err := e.makeDir(dir); err != nil {
			return err
		}
	}
	if err := p.checkDir(unused); err != nil || e.readOnly {
		return err
	}
	if unused {
		if err := p.noteUse(); err != nil {
			return err
		}
	}
	p.topic.keepCopy()
	return nil
}

// makeDir makes a partition's directory, durably.
func (e *Engine) makeDir(dir string) error {
	if err := e.fs.MkdirAll(dir); err != nil {
		return err
	}
	return e.fs.SyncDir(e.dir)
}

func (p *Partition) isUnused() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.unused
}

// noteUse notes durably that the partition has a directory: when that is missing later, it is a loss. Of a topic that was deleted meanwhile it takes
// the directory away again, in which nothing was written yet.
func (p *Partition) noteUse() error {
	e := p.topic.eng
	if err := e.forgetCheckpoint(p); err != nil {
		return err
	}
	if err := e.catalog.Commit(catalog.Change{Use: &catalog.Use{Topic: p.topic.name, Partition: p.id}}); err != nil {
		return err
	}
	if entry, found := e.catalog.Topic(p.topic.name); !found || entry.ID != p.topic.id || entry.State != TopicReady {
		_ = e.fs.Remove(filepath.Join(p.Dir(), log.PartitionMetadataFile))
		_ = e.fs.Remove(p.Dir())
		return p.topic.gone()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unused = false
	return nil
}

// checkDir sees that the directory is that of this topic; the topic's id is written where there is none. An unused partition takes over one without
// data: a first use that failed has left it, maybe in an earlier topic of the name.
func (p *Partition) checkDir(unused bool) error {
	e, path := p.topic.eng, filepath.Join(p.Dir(), log.PartitionMetadataFile)
	id, err := log.ReadPartitionMetadata(e.fs, path)
	switch {
	case err == nil && id == p.topic.id:
		return nil
	case err == nil && unused && !e.readOnly && e.holdsNothing(p.Dir()):
		return log.WritePartitionMetadata(e.fs, path, p.topic.id)
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

// Opened tells whether the partition is open, or was never used, so that there is nothing to open: then its marks are told without a look at the
// disk.
func (p *Partition) Opened() bool { return p.log.Load() != nil || p.neverUsed() }

// Warm opens the partition now instead of at the first use; what recovery there is to do is done at return.
func (p *Partition) Warm(ctx context.Context) error {
	_, err := p.openWith(ctx)
	return err
}
