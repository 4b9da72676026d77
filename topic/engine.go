package topic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/internal/choice"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/timingwheel"
	"github.com/quirelog/quire/topic/internal/catalog"
)

// Engine is an open directory of topics. All methods may be called at once from any goroutine, also from
// within callbacks. [Open] makes one; it must be closed. The zero Engine is closed.
type Engine struct {
	fs         vfs.FS       // refuses changes when read-only
	limited    *vfs.Limited // fs, which counts descriptors
	disk       vfs.FS       // what fs stands on, for what lies outside the directory
	blank      vfs.FS       // read-only engines keep partitions without files here
	dir        string
	readOnly   bool
	foldsCase  bool // the disk takes names for equal that differ in case only
	acceptLoss bool
	internal   int              // partitions of internal topics
	wall       func() time.Time // the time of day
	logger     *slog.Logger
	events     Events
	retainers  RetentionHooks
	budget     *diskBudget // nil: no bound
	reserve    reserve
	stats      stats
	indexes    *log.IndexBudget
	defaults   []TopicOption
	plain      *Settings // what a topic without settings of its own has
	identity   identity
	builders   sync.Pool // of *builder, for appends by call
	finders    sync.Pool // of *log.Finder, for reads of single records

	unlock    func() error
	startedOK bool          // the directory was stopped in good order before this Open
	closing   chan struct{} // closed by Close, with closed
	done      chan struct{} // closed when Close has finished; closeErr is set before
	closeErr  error

	// turn has room for one token: its holder may take producer ids.
	turn    chan struct{}
	catalog *catalog.Store // nil in an engine opened for reading, which has what it found at Open
	found   *Manifest
	met     map[TopicPartition]bool // directories that Open has met

	checkpointing bounded.Mutex // one writer of the checkpoint files at a time
	checkpointed  checkpointed
	calls         bounded.Calls // those whose context can end
	hookCalls     bounded.Calls // those that hooks of retention may hold up

	goroutines goroutines
	scheduler  scheduler
	cleaner    cleaner
	scrub      scrubber
	removals   removals
	runner     *timingwheel.Runner // of all deadlines of the engine; asleep, or not there, while there are none
	delays     delays
	recurring  recurrences

	mu      sync.RWMutex // guards what follows; held for moments only
	ending  bool         // Close has begun, and lets producers deliver
	closed  bool         // nothing begins any more
	closer  uint64       // number of the goroutine that runs Close
	topics  map[string]*Topic
	folded  map[string]string // folded name -> name, so that near-equal names are found
	members map[*member]struct{}
	lodgers map[any]Lodger

	uptime uptime
	ids    idBlock
	// changing has the folded names of topics that are being created, altered or deleted; a channel is closed when that is done.
	changing map[string]chan struct{}
	removing map[string]*removal // by folded name: deleted topics whose directories still have that name
}

// Dir is the directory of the engine.
func (e *Engine) Dir() string { return e.dir }

// InternalPartitions is what [InternalPartitions] says, for packages that keep state in internal topics.
func (e *Engine) InternalPartitions() int { return e.internal }

// ReadOnly tells an engine opened with [ReadOnlyMode].
func (e *Engine) ReadOnly() bool { return e.readOnly }

// ClusterID is the cluster.id in the directory's meta.properties file, as Kafka keeps it.
func (e *Engine) ClusterID() string { return e.identity.cluster }

// DirectoryID is the directory.id in the directory's meta.properties file, as Kafka keeps it.
func (e *Engine) DirectoryID() string { return e.identity.directory }

// Topics lists the topics by name, without the engine's own unless asked for. It fails with ErrClosed only,
// or with the context's error.
func (e *Engine) Topics(ctx context.Context, opts ...ListOption) ([]*Topic, error) {
	var o listOptions
	if err := errors.Join(choice.Apply(&o, opts, ErrInvalid), e.usable(ctx)); err != nil {
		return nil, err
	}
	e.mu.RLock()
	list := make([]*Topic, 0, len(e.topics))
	for _, t := range e.topics {
		if o.internal || !t.Internal() {
			list = append(list, t)
		}
	}
	e.mu.RUnlock()
	slices.SortFunc(list, func(a, b *Topic) int { return strings.Compare(a.name, b.name) })
	return list, nil
}

// Partition gives a partition of an existing topic; ErrNotFound when there is none, ErrClosed after Close.
func (e *Engine) Partition(topic string, partition int32) (*Partition, error) {
	return e.partition(topic, partition)
}

func (e *Engine) partition(topic string, partition int32) (*Partition, error) {
	t, err := e.lookup(topic)
	if err != nil {
		return nil, err
	}
	return t.partition(partition)
}

// lookup finds a topic that exists.
func (e *Engine) lookup(name string) (*Topic, error) {
	e.mu.RLock()
	t, closed := e.topics[name], e.closed || e.closing == nil
	e.mu.RUnlock()
	switch {
	case closed:
		return nil, ErrClosed
	case t == nil:
		return nil, fmt.Errorf("%w: topic %q", ErrNotFound, clip(name))
	}
	return t, nil
}

// usable is what every call asks first: the engine is open and the context has not ended.
func (e *Engine) usable(ctx context.Context) error {
	if e.isClosed() {
		return ErrClosed
	}
	if ctx.Err() != nil {
		return bounded.Cause(ctx)
	}
	return nil
}

func (e *Engine) isClosed() bool {
	if e.closing == nil { // the zero Engine
		return true
	}
	select {
	case <-e.closing:
		return true
	default:
		return false
	}
}

// mayChange is what every call that changes topics asks first.
func (e *Engine) mayChange(ctx context.Context) error {
	if err := e.usable(ctx); err != nil {
		return err
	}
	if e.readOnly {
		return fmt.Errorf("%w: engine %s", ErrReadOnly, e.dir)
	}
	return nil
}

// takeTurn waits until the caller may take producer ids.
func (e *Engine) takeTurn(ctx context.Context) error {
	if err := e.mayChange(ctx); err != nil {
		return err
	}
	select {
	case e.turn <- struct{}{}:
	case <-ctx.Done():
		return bounded.Cause(ctx)
	case <-e.closing:
		return ErrClosed
	}
	if e.isClosed() {
		e.endTurn()
		return ErrClosed
	}
	return nil
}

func (e *Engine) endTurn() { <-e.turn }

// member is a producer or consumer that ends with the engine.
type member struct {
	c interface{ closeFromEngine() }
}

// drainer is a member that has something to finish before the engine closes: it takes nothing new, and finishes
// until ctx ends.
type drainer interface {
	drainFromEngine(ctx context.Context) error
}

// finisher is a member that takes its time to end. After closeFromEngine has begun the end, settle waits for
// outcomes until ctx ends and gives up the rest; gone waits until its last callback has returned, or ctx ends; losses
// is what it could not deliver.
type finisher interface {
	settle(ctx context.Context)
	gone(ctx context.Context) error
	losses() *losses
}

// register makes c end with the engine: Close calls closeFromEngine once, outside locks, unless c was
// unregistered before; it must not wait. ErrClosed once Close has begun.
func (e *Engine) register(c interface{ closeFromEngine() }) (unregister func(), err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ending || e.closing == nil {
		return nil, ErrClosed
	}
	m := &member{c}
	e.members[m] = struct{}{}
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.members, m)
	}, nil
}

// tellMembers tells those who keep something of a topic that it is gone.
func (e *Engine) tellMembers(t *Topic) {
	for _, m := range e.takeMembers() {
		if c, ok := m.c.(interface{ topicDeleted(*Topic) }); ok {
			c.topicDeleted(t)
		}
	}
}

func (e *Engine) takeMembers() []*member {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := make([]*member, 0, len(e.members))
	for m := range e.members {
		list = append(list, m)
	}
	return list
}

// goFunc runs f in a goroutine that Close waits for. It reports false, and does not run f, once Close has
// begun. f must end soon after e.closing is closed.
func (e *Engine) goFunc(f func()) bool { return e.goroutines.start(f) }

// allTopics is a snapshot of the topics, in no order.
func (e *Engine) allTopics() []*Topic {
	e.mu.RLock()
	defer e.mu.RUnlock()
	list := make([]*Topic, 0, len(e.topics))
	for _, t := range e.topics {
		list = append(list, t)
	}
	return list
}

// allPartitions is a snapshot of the partitions of all topics, in no order.
func (e *Engine) allPartitions() []*Partition {
	var list []*Partition
	for _, t := range e.allTopics() {
		list = append(list, t.state.Load().partitions...)
	}
	return list
}

var _ io.Closer = (*Engine)(nil)
