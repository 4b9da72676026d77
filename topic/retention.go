package topic

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
)

// Retention runs over all partitions from time to time while the engine is written to, and otherwise when the next
// segment's time is up. A partition that nobody uses stays closed: names, sizes and times of its files tell when there
// may be something to remove; only then is it opened, for just that.

const (
	// defaultRetentionInterval and firstRetention are Kafka's log.retention.check.interval.ms and its initial delay.
	defaultRetentionInterval = 5 * time.Minute
	firstRetention           = 30 * time.Second
	// hookPatience is how long a pass over all partitions waits for the hooks of one before it turns to the others.
	hookPatience = 10 * time.Second
)

// RetentionHooks are rules that are code, for topics whose cleanup.policy includes delete. They may be called from
// several goroutines at once and must not close the engine. A panic in one keeps the segments. One that makes a pass of
// retention, compaction or redaction over the partition that it was called for would wait for itself: with the context
// that it was given it gets ErrBusy instead.
type RetentionHooks struct {
	// Policy is asked after the rules of the topic's settings; nil for none. It is not asked about partitions
	// that nobody has used since Open.
	Policy RetentionPolicy
	// Acknowledged tells below which offset all the groups that quire.retention.groups names have acknowledged
	// everything; ok is false while that is not known. If it is nil the engine asks who keeps groups in it, see [Acknowledger].
	Acknowledged func(p *Partition, groups []string) (offset int64, ok bool)
	// Archive is called before a segment is removed, oldest first. An error keeps the segment and all behind it,
	// and it is asked again at the next check. It may take its time: a pass over all partitions
	// waits ten seconds for it and turns to the next one, and at most 64 go on that long at once. May be nil. DeleteRecords does not ask.
	Archive func(ctx context.Context, s *LeavingSegment) error
}

// RetentionPolicy is a rule of the user's own.
type RetentionPolicy interface {
	// Deletable returns how many of the partition's segments, oldest first, may go. The slice is the callee's.
	Deletable(p *Partition, now time.Time, segments []SegmentState) int
}

// SegmentState describes one segment of a partition: offsets [Base, Next), Bytes, the largest time of its
// records in ms since the epoch, and whether it is the one being written.
type SegmentState = log.Facts

// LeavingSegment is a segment about to be removed: what it holds, by which rule it goes, and WriteTo for its
// bytes, whole batches in Kafka's format. It is valid until the hook returns.
type LeavingSegment struct {
	Topic     string
	Partition int32
	*log.Leaving
}

// RemovedFacts tells what retention removed from a partition.
type RemovedFacts struct {
	Topic     string
	Partition int32
	log.Removed
}

// expires tells whether retention has anything to do in a topic with these settings.
func (s *Settings) expires() bool {
	return s.Cleanup&CleanupDelete != 0 && (s.Retention >= 0 || s.RetentionBytes >= 0 || s.RetentionRecords >= 0 || s.RetentionGroups != "")
}

// bound maps a setting, where negative means none, to the log's form, where zero does.
func bound[T int64 | time.Duration](v T) T {
	switch {
	case v < 0:
		return 0
	case v == 0:
		return -1
	}
	return v
}

// retention is the rules for the partition's log as they are now.
func (p *Partition) retention() *log.Retention {
	st, hooks := p.topic.state.Load(), &p.topic.eng.retainers
	s := st.settings
	if s.Cleanup&CleanupDelete == 0 {
		return &log.Retention{}
	}
	_, delayed := st.overrides["file.delete.delay.ms"]
	r := &log.Retention{Age: bound(s.Retention), Bytes: bound(s.RetentionBytes), Records: bound(s.RetentionRecords), Prompt: !delayed}
	if s.Retention == Forever {
		r.Age = 0
	}
	if s.RetentionGroups != "" {
		groups, ask := strings.Split(s.RetentionGroups, ","), hooks.Acknowledged
		if ask == nil {
			ask = acknowledged
		}
		r.Acknowledged = func() (offset int64, ok bool) {
			defer p.contain("Acknowledged", func(error) { ok = false })
			return ask(p, groups)
		}
	}
	if hooks.Policy != nil {
		r.Policy = policyOf{p, hooks.Policy}
	}
	if hooks.Archive != nil {
		r.Archive = func(ctx context.Context, s *log.Leaving) (err error) {
			defer p.contain("Archive", func(panicked error) { err = panicked })
			return hooks.Archive(ctx, &LeavingSegment{p.topic.name, p.id, s})
		}
	}
	return r
}

// policyOf lets the user's rule see the partition.
type policyOf struct {
	p    *Partition
	rule RetentionPolicy
}

func (r policyOf) Deletable(now time.Time, segments []log.Facts) (n int) {
	defer r.p.contain("Policy", func(error) { n = 0 })
	return r.rule.Deletable(r.p, now, segments)
}

// contain is deferred around a hook: a panic becomes an error.
func (p *Partition) contain(hook string, failed func(error)) {
	if r := recover(); r != nil {
		p.topic.eng.logger.Error("a retention hook panicked", "topic", p.topic.name, "partition", p.id, "hook", hook, "err", r)
		failed(fmt.Errorf("topic: retention hook %s panicked: %v", hook, r))
	}
}

// ApplyRetention removes now, in all topics, what need not be kept any more, as the engine does by itself from time
// to time. Partitions that nobody has used are opened only if their files look as if something will go, and closed again. An
// error of one partition does not stop the others; errors are joined. Where the engine is just at the same, or at
// compaction, it waits for its turn. ErrReadOnly, ErrClosed, the context's cause.
func (e *Engine) ApplyRetention(ctx context.Context) error {
	if err := e.mayRetain(ctx); err != nil {
		return err
	}
	return worked(ctx, e, func() error {
		_, err := e.retain(ctx, time.Now(), true)
		return err
	})
}

func (e *Engine) mayRetain(ctx context.Context) error {
	if err := e.usable(ctx); err != nil {
		return err
	}
	if e.readOnly {
		return fmt.Errorf("%w: engine %s", ErrReadOnly, e.dir)
	}
	return nil
}

// ApplyRetention removes from the partition what need not be kept any more, and tells what that was. The rules
// are those of the topic's settings and of [WithRetention]; which segments may go, and what is on disk at return, is
// told at [log.Log.ApplyRetention].
func (p *Partition) ApplyRetention(ctx context.Context) (RemovedFacts, error) {
	if p.topic == nil {
		return RemovedFacts{}, unmade("Partition")
	}
	facts := RemovedFacts{Topic: p.topic.name, Partition: p.id}
	if err := p.topic.eng.mayRetain(ctx); err != nil {
		return facts, err
	}
	l, err := p.openWith(ctx)
	if err != nil {
		return facts, err
	}
	facts.Removed, err = work(ctx, p.topic.eng, func() (log.Removed, error) { return p.retainFrom(ctx, l, time.Now(), true) })
	return facts, err
}

// armRetention sees that retention looks soon, if it has anything to look after.
func (e *Engine) armRetention() {
	for _, t := range e.allTopics() {
		if t.state.Load().settings.expires() {
			e.scheduler.armRetention()
			return
		}
	}
}

// checkRetention is a task of the scheduler.
func (e *Engine) checkRetention(ctx context.Context, _ *log.Log, now time.Time) time.Duration {
	due, err := e.retain(ctx, now, false)
	if err != nil {
		return e.scheduler.retainEvery
	}
	if due.IsZero() {
		return 0 // until something is written
	}
	return max(due.Sub(now), e.scheduler.retainEvery)
}

// retain goes over all partitions; wait says to wait for the turn at each, and for hooks however long they take. due is when
// the next segment's time is up, zero if never.
func (e *Engine) retain(ctx context.Context, now time.Time, wait bool) (due time.Time, err error) {
	due, slow, err := e.retainEach(ctx, e.allPartitions(), now, wait, hookPatience)
	if len(slow) == 0 {
		return due, err
	}
	if !wait {
		return earlier(due, now), err
	}
	at, _, later := e.retainEach(ctx, slow, now, wait, 0)
	return earlier(due, at), errors.Join(err, later)
}

// retainEach goes over partitions. slow are those whose hooks took longer than patience, unless that is zero: they go on.
func (e *Engine) retainEach(ctx context.Context, list []*Partition, now time.Time, wait bool, patience time.Duration) (due time.Time, slow []*Partition, err error) {
	var faults []error
	for _, p := range list {
		if err := bounded.Cause(ctx); err != nil {
			return due, slow, errors.Join(append(faults, err)...)
		}
		at, out, err := e.retainWithin(ctx, p, now, wait, patience)
		if out != bounded.Ended {
			slow = append(slow, p)
			continue
		}
		faults = append(faults, err)
		due = earlier(due, at)
	}
	return due, slow, errors.Join(faults...)
}

// retainWithin applies the rules to a partition, apart if a hook may hold that up.
func (e *Engine) retainWithin(ctx context.Context, p *Partition, now time.Time, wait bool, patience time.Duration) (due time.Time, out bounded.Outcome, err error) {
	h := &e.retainers
	if patience == 0 || h.Policy == nil && h.Acknowledged == nil && h.Archive == nil {
		due, err = e.retainTold(ctx, p, now, wait)
		return due, bounded.Ended, err
	}
	within, stop := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer stop()
	return bounded.Do(within, &e.hookCalls, 0, func() (due time.Time, err error) {
		if !e.goroutines.lend(func() { due, err = e.retainTold(ctx, p, now, wait) }) {
			err = ErrClosed
		}
		return due, err
	})
}

// retainTold applies the rules to a partition, and tells of what failed.
func (e *Engine) retainTold(ctx context.Context, p *Partition, now time.Time, wait bool) (due time.Time, err error) {
	due, err = p.retain(ctx, now, wait)
	if errors.Is(err, ErrNotFound) || e.isClosed() {
		return due, nil
	}
	if err != nil {
		e.tellRetentionFailed(ctx, p, err)
	}
	return due, err
}

// tellRetentionFailed tells of what a person should know: not that a compaction was under way, or that the pass was ended.
func (e *Engine) tellRetentionFailed(ctx context.Context, p *Partition, err error) {
	if errors.Is(err, ErrBusy) || ctx.Err() != nil {
		return
	}
	e.logger.Warn("retention did not finish", "topic", p.topic.name, "partition", p.id, "err", err)
	tell(e, e.events.RetentionFailed, PartitionFault{Topic: p.topic.name, Partition: p.id, Err: err})
}

func (p *Partition) retain(ctx context.Context, now time.Time, wait bool) (due time.Time, err error) {
	l := p.log.Load()
	if l == nil {
		return p.retainUnused(ctx, now, wait)
	}
	done, err := p.retainFrom(ctx, l, now, wait)
	return done.Due, err
}

// retainFrom applies the rules to an open log, and tells of it.
func (p *Partition) retainFrom(ctx context.Context, l *log.Log, now time.Time, wait bool) (log.Removed, error) {
	if err := p.doubts.keep(); err != nil {
		return log.Removed{}, p.fault(err)
	}
	rules := p.retention()
	rules.Wait = wait
	done, err := l.ApplyRetention(ctx, now, rules)
	if done.Segments > 0 {
		p.tellRemoved(done)
	}
	if errors.Is(err, ErrNoSpace) && p.topic.eng.releaseReserve() {
		return p.retainFrom(ctx, l, now, wait) // an active segment can only go when there is room to begin another
	}
	return done, p.waitFault(ctx, err)
}

func (p *Partition) tellRemoved(done log.Removed) {
	e, s := p.topic.eng, &p.topic.stats
	s.segmentsRemoved.Add(int64(done.Segments))
	s.bytesRemoved.Add(done.Bytes)
	e.logger.Debug("segments removed", "topic", p.topic.name, "partition", p.id, "segments", done.Segments, "offset", done.Start)
	tell(e, e.events.SegmentsRemoved, RemovedFacts{Topic: p.topic.name, Partition: p.id, Removed: done})
	p.topic.spaceFreed()
	e.scheduler.armCheckpoint()
}

// neverExpires marks a partition of which nothing will go by age.
const neverExpires = -1

// retainUnused looks after a partition that nobody has used since Open.
func (p *Partition) retainUnused(ctx context.Context, now time.Time, wait bool) (due time.Time, err error) {
	if p.isUnused() {
		return time.Time{}, nil
	}
	if at := p.knownExpiry(); at == neverExpires || at > now.UnixMilli() {
		return expiryTime(at), nil
	}
	may, due, err := log.PeekRetention(p.topic.eng.fs, p.Dir(), now, p.retention())
	if err == nil && may {
		due, err = p.retainClosed(ctx, now, wait)
	}
	if err != nil && p.topic.deleted.Load() {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, p.fault(err)
	}
	p.setExpiry(due)
	return due, nil
}

func expiryTime(ms int64) time.Time {
	if ms <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

func (p *Partition) knownExpiry() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.expiry
}

// setExpiry remembers when to look again; the zero time means never, until the settings change or it is used.
func (p *Partition) setExpiry(due time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expiry = neverExpires
	if !due.IsZero() {
		p.expiry = record.Millis(due)
	}
}

// forgetExpiry lets the next check look at the partition again: the rules have changed.
func (p *Partition) forgetExpiry() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expiry, p.cleanAt = 0, 0
}

// retainClosed opens the log of an unused partition for nothing but retention. Whoever wants to use it meanwhile waits, as
// during any opening.
func (p *Partition) retainClosed(ctx context.Context, now time.Time, wait bool) (due time.Time, err error) {
	if err := p.doubts.keep(); err != nil {
		return time.Time{}, err
	}
	l, opening, err := p.claim()
	switch {
	case err != nil:
		return now, err
	case l == nil && opening == nil: // ours
	case !wait:
		return now, nil // somebody uses it, or only looks after it as we do: the next check sees
	case l != nil:
		return p.retain(ctx, now, wait)
	default:
		select {
		case <-opening:
			return p.retain(ctx, now, wait)
		case <-ctx.Done():
			return now, bounded.Cause(ctx)
		}
	}
	defer p.unclaim()
	l, facts, err := p.openLog(log.Hooks{}) // without anybody to call DeleteFiles, files go at once
	if err != nil {
		return time.Time{}, err
	}
	if facts.notable() {
		p.noteOpened(&facts)
		p.topic.eng.tellOpened(p.topic, facts)
	}
	done, err := p.retainFrom(ctx, l, now, wait)
	err = errors.Join(err, l.Close())
	p.remeasure()
	p.noteOffsets(l)
	return done.Due, err
}

// unclaim ends an opening that leaves the partition unopened.
func (p *Partition) unclaim() {
	p.mu.Lock()
	waiters := p.opening
	p.opening = nil
	p.mu.Unlock()
	close(waiters)
}

func (p *Partition) noteOpened(facts *OpenedFacts) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.opened = facts
}
