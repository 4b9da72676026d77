package topic

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/vfs"
)

// ScrubEvery has the engine read all data once per interval, at most bytesPerSecond at a time, and compare it with its checksums: what rots
// is found while there are copies. A pass that is interrupted goes on where it stopped, also in the next engine. Faults are told by
// [Events].Damage and counted in [Metrics]. Off by default; 0 or less turns it off. A rate of 0 or less means as fast as the disk.
func ScrubEvery(interval time.Duration, bytesPerSecond int64) Option {
	return func(o *options) { o.scrubEvery, o.scrubRate = interval, bytesPerSecond }
}

// ScrubFacts tells of a finished pass over all data.
type ScrubFacts struct {
	Partitions int
	Bytes      int64 // of data that were read, in this engine
	Faults     int
	Took       time.Duration
}

// scrubFile says where a pass over all data goes on, in an engine's directory: topic, partition and base offset of the segment, one line. It
// is a hint: without it, or when it cannot be read, a pass begins at the beginning.
const scrubFile = "quire.scrub"

// scrubNoteEvery is how often a pass that goes on notes where it is, at most.
const scrubNoteEvery = time.Minute

// scrubber reads all data now and then. It has no goroutine but while it reads.
type scrubber struct {
	eng   *Engine
	every time.Duration
	rate  int64 // bytes per second; 0: no bound
	task  task
	bytes atomic.Int64
	found atomic.Int64

	turn sync.Mutex // held by whoever changes place; never while anybody waits
	busy bool       // a pass is under way
}

// scrubPlace is where a pass goes on.
type scrubPlace struct {
	tp   TopicPartition
	base int64
}

func (s *scrubber) init(e *Engine, o *options) {
	s.eng, s.every, s.rate = e, o.scrubEvery, max(o.scrubRate, 0)
	s.task.kind = &taskKind{long: true, do: func(ctx context.Context, _ *log.Log, _ time.Time) time.Duration {
		if _, err := s.pass(ctx, nil); err != nil && ctx.Err() == nil && !e.isClosed() {
			e.logger.Warn("scrub did not read everything", "dir", e.dir, "err", err)
		}
		return s.every
	}}
}

// begin plans the first pass: at once if one was interrupted, else after the interval.
func (s *scrubber) begin() {
	if s.every <= 0 {
		return
	}
	wait := s.every
	if s.recall() != (scrubPlace{}) {
		wait = 0
	}
	s.eng.scheduler.arm(&s.task, wait)
}

// ErrBusy: what was asked for is being done already.
var ErrBusy = log.ErrBusy

// Scrub reads all data from where the last pass stopped to the end, within the rate of [ScrubEvery], and compares it with its checksums. It
// changes nothing but the note of how far it came. Partitions that the disk does not let read are passed over, and the error names them; the
// report is of the others. When ctx ends, or the engine, it returns the cause and what was found until then; the next pass goes on
// from there. ErrBusy when a pass is under way: it is not waited for, since at the engine's rate it may take days, and what it reads need
// not be read again.
func (e *Engine) Scrub(ctx context.Context, opts ScrubOptions) (*VerifyReport, error) {
	if err := e.usable(ctx); err != nil {
		return nil, err
	}
	return awaited(ctx, e, func() (*VerifyReport, error) { return e.scrub.pass(ctx, opts.Progress) })
}

// ScrubOptions say how to scrub by hand.
type ScrubOptions struct {
	// Progress, if set, is called now and then by the goroutine that reads.
	Progress func(Progress)
}

// claim makes sure that there is one pass at a time.
func (s *scrubber) claim() bool {
	s.turn.Lock()
	defer s.turn.Unlock()
	if s.busy {
		return false
	}
	s.busy = true
	return true
}

func (s *scrubber) release() {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.busy = false
}

// pass reads from the remembered place to the end.
func (s *scrubber) pass(ctx context.Context, show func(Progress)) (*VerifyReport, error) {
	if !s.claim() {
		return nil, ErrBusy
	}
	defer s.release()
	run := &scrub{s: s, ctx: ctx, began: time.Now(), noted: time.Now(), at: s.recall(), out: &VerifyReport{}, progress: meter{tell: show}}
	err := run.all()
	if err != nil {
		return run.out, errors.Join(err, s.note(run.at))
	}
	if err := s.note(scrubPlace{}); err != nil {
		return run.out, err
	}
	tell(s.eng, s.eng.events.Scrubbed, ScrubFacts{Partitions: run.out.Partitions, Bytes: run.out.Bytes, Faults: len(run.out.Faults), Took: time.Since(run.began)})
	return run.out, run.failure()
}

// recall reads where the last pass stopped; the zero place is the beginning.
func (s *scrubber) recall() scrubPlace {
	text, err := vfs.ReadFile(s.eng.fs, filepath.Join(s.eng.dir, scrubFile), smallFile)
	if err != nil {
		return scrubPlace{}
	}
	f := strings.Fields(string(text))
	if len(f) != 3 {
		return scrubPlace{}
	}
	partition, err := strconv.ParseInt(f[1], 10, 32)
	base, err2 := strconv.ParseInt(f[2], 10, 64)
	if err != nil || err2 != nil || CheckName(f[0]) != nil || partition < 0 || base < 0 {
		return scrubPlace{}
	}
	return scrubPlace{TopicPartition{Topic: f[0], Partition: int32(partition)}, base}
}

// note writes down where the pass is; the beginning needs no file.
func (s *scrubber) note(at scrubPlace) error {
	if s.eng.readOnly {
		return nil
	}
	path := filepath.Join(s.eng.dir, scrubFile)
	if at == (scrubPlace{}) {
		err := s.eng.fs.Remove(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return vfs.WriteFile(s.eng.fs, path, fmt.Appendf(nil, "%s %d %d\n", at.tp.Topic, at.tp.Partition, at.base))
}

// scrub is a pass under way.
type scrub struct {
	s     *scrubber
	ctx   context.Context
	began time.Time
	noted time.Time
	read  int64 // bytes since began
	at    scrubPlace
	out   *VerifyReport

	failed   []error // of partitions that could not be read, the first ones
	failures int
	progress meter
}

// all reads the partitions in the order of their names and numbers. One that the disk does not let read is an error at the end: it keeps
// none from the others.
func (r *scrub) all() error {
	list := slices.DeleteFunc(r.s.eng.allPartitions(), (*Partition).isUnused)
	slices.SortFunc(list, func(a, b *Partition) int {
		if c := strings.Compare(a.topic.name, b.topic.name); c != 0 {
			return c
		}
		return int(a.id - b.id)
	})
	resume := r.at
	for _, p := range list {
		r.progress.expect(r.s.eng.fs, p.Dir())
	}
	for _, p := range list {
		tp := TopicPartition{Topic: p.topic.name, Partition: p.id}
		from := int64(0)
		switch {
		case tp.Topic < resume.tp.Topic || tp.Topic == resume.tp.Topic && tp.Partition < resume.tp.Partition:
			continue // an earlier pass has read it
		case tp == resume.tp:
			from = resume.base
		}
		r.at = scrubPlace{tp, from}
		r.progress.begin(tp)
		err := r.partition(p, from)
		if end := r.ended(); end != nil {
			return end
		}
		if err != nil {
			r.fail(fmt.Errorf("%v: %w", p, err))
		}
	}
	return nil
}

// toldFailures is how many partitions an error names.
const toldFailures = 8

func (r *scrub) fail(err error) {
	if r.failures++; r.failures <= toldFailures {
		r.failed = append(r.failed, err)
	}
}

// failure is what kept partitions from being read.
func (r *scrub) failure() error {
	if more := r.failures - len(r.failed); more > 0 {
		return errors.Join(append(r.failed, fmt.Errorf("topic: %d more partitions could not be read", more))...)
	}
	return errors.Join(r.failed...)
}

// ended tells why the pass is to end.
func (r *scrub) ended() error {
	if r.s.eng.isClosed() {
		return ErrClosed
	}
	return bounded.Cause(r.ctx)
}

// partition reads one partition. Its files are looked at as they lie: it is not opened for that.
func (r *scrub) partition(p *Partition, from int64) error {
	e, t := r.s.eng, p.topic
	state := t.state.Load()
	found, err := log.Verify(e.fs, p.Dir(), state.config, log.VerifyOptions{
		TopicID: t.id, Gaps: state.settings.compacts(), From: from, Shallow: true,
		Step: r.step, Begin: r.begin,
	})
	if (errors.Is(err, fs.ErrNotExist) || err == nil && len(found.Faults) > 0) && (p.ended() != nil || t.deleted.Load()) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return err
	}
	r.out.Partitions++
	r.out.Segments += len(found.Segments)
	r.out.Batches, r.out.Records, r.out.Bytes = r.out.Batches+found.Batches, r.out.Records+found.Records, r.out.Bytes+found.Bytes
	tp := TopicPartition{Topic: t.name, Partition: p.id}
	r.out.Notes = appendFaults(r.out.Notes, tp, found.Notes)
	before := len(r.out.Faults)
	r.out.Faults = appendFaults(r.out.Faults, tp, found.Faults)
	for i := before; i < len(r.out.Faults); i++ {
		r.s.found.Add(1)
		f := &r.out.Faults[i]
		e.logger.Error("damage found", "topic", t.name, "partition", p.id, "err", f)
		tell(e, e.events.Damage, DamageFacts{Topic: t.name, Partition: p.id, Err: f})
	}
	return nil
}

// begin is called before each segment.
func (r *scrub) begin(base int64) error {
	r.at.base = base
	if time.Since(r.noted) < scrubNoteEvery {
		return nil
	}
	r.noted = time.Now()
	return r.s.note(r.at)
}

// scrubSlack is how far a pass may be ahead of its rate before it waits: no timer for every batch.
const scrubSlack = 20 * time.Millisecond

// step waits until the rate allows the bytes just read.
func (r *scrub) step(n int64) error {
	r.read += n
	r.progress.add(n)
	r.s.bytes.Add(n)
	if err := r.ended(); err != nil {
		return err
	}
	if r.s.rate == 0 {
		return nil
	}
	due := time.Duration(float64(r.read) / float64(r.s.rate) * float64(time.Second))
	wait := due - time.Since(r.began)
	if wait < scrubSlack {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-r.ctx.Done():
		return bounded.Cause(r.ctx)
	case <-r.s.eng.closing:
		return ErrClosed
	}
}
