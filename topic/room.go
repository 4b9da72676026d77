package topic

import (
	"context"
	"errors"
	"time"

	"github.com/quirelog/quire/log"
)

// What a budget counts, and what it removes to make room.

// diskBytes is what the partition takes of the disk, for a budget.
func (p *Partition) diskBytes() int64 {
	if l := p.log.Load(); l != nil {
		return p.aside.Load() + l.Size() + l.RemovedBytes() + p.topic.state.Load().allowance
	}
	return p.aside.Load() + p.measured().Bytes
}

// chargeAside charges the budgets with what a compaction is about to write, whatever they say: it is what makes room. When
// that has taken its place, or is gone, they count anew.
func (p *Partition) chargeAside(n int64) {
	p.aside.Add(n)
	if n < 0 {
		p.topic.spaceFreed()
		return
	}
	p.charge(n)
}

// charge adds to what the budgets of the partition have used.
func (p *Partition) charge(n int64) {
	if b := p.topic.budget.Load(); b != nil {
		b.used.Add(n)
	}
	if b := p.topic.eng.budget; b != nil {
		b.used.Add(n)
	}
}

// measured looks at the partition's files once. What cannot be looked at counts nothing, and is looked at again.
func (p *Partition) measured() log.Footprint {
	p.mu.Lock()
	known, unused := p.size, p.unused
	p.mu.Unlock()
	switch {
	case unused:
		return log.Footprint{}
	case known != nil:
		return *known
	}
	m, err := log.Measure(p.topic.eng.fs, p.Dir())
	if err == nil {
		p.mu.Lock()
		p.size = &m
		p.mu.Unlock()
	}
	return m
}

// deleteFilesEarly unlinks files that wait for nothing but their delay.
func (b *diskBudget) deleteFilesEarly() (some bool) {
	for _, p := range b.scope() {
		if l := p.log.Load(); l != nil && l.RemovedBytes() > 0 {
			_ = p.deleteFilesNow(l)
			some = true
		}
	}
	b.counted.Store(-1)
	return some
}

// deleteFilesNow unlinks what l has removed, whatever the delay.
func (p *Partition) deleteFilesNow(l *log.Log) error {
	_, err := l.DeleteFiles(time.Unix(1<<40, 0))
	return err
}

// dropOldest removes the oldest segment of the scope: one that is written to only when there is no other. Those in tried
// are left out, and one that could not be dropped from is added. It tells whether something went.
func (b *diskBudget) dropOldest(ctx context.Context, tried map[*Partition]bool) (bool, error) {
	var faults []error
	for {
		p := b.oldest(tried)
		if p == nil {
			return false, errors.Join(faults...)
		}
		n, err := p.dropSegment(ctx)
		if n > 0 {
			b.counted.Store(-1)
			return true, nil
		}
		tried[p] = true
		if err != nil {
			faults = append(faults, err)
		}
	}
}

// oldest is the partition with the oldest segment that may go.
func (b *diskBudget) oldest(tried map[*Partition]bool) *Partition {
	var best *Partition
	var bestAge time.Time
	bestActive := true
	for _, p := range b.scope() {
		if tried[p] || p.topic.Internal() || p.doubts.Load() > 0 || p.topic.state.Load().settings.Cleanup&CleanupDelete == 0 {
			continue
		}
		at, active, ok := p.oldestSegment()
		if !ok {
			continue
		}
		if best == nil || bestActive && !active || bestActive == active && at.Before(bestAge) {
			best, bestAge, bestActive = p, at, active
		}
	}
	return best
}

// oldestSegment is when the partition's oldest segment was written, and whether it is the only one; ok is false for an
// empty partition.
func (p *Partition) oldestSegment() (at time.Time, active, ok bool) {
	if l := p.log.Load(); l != nil {
		return l.Oldest()
	}
	m := p.measured()
	return m.Oldest, m.Segments == 1, m.Bytes > 0 && m.Segments > 0
}

// justOne is the rule by which a budget drops a segment.
type justOne struct{}

func (justOne) Deletable(time.Time, []log.Facts) int { return 1 }

// dropSegment removes the oldest segment, if the archive gives it away, and unlinks its files at once.
func (p *Partition) dropSegment(ctx context.Context) (segments int, err error) {
	l, err := p.openWith(ctx)
	if err != nil {
		return 0, err
	}
	done, err := l.ApplyRetention(ctx, time.Now(), &log.Retention{Policy: justOne{}, Archive: p.retention().Archive, Urgent: true})
	if done.Segments > 0 {
		p.tellRemoved(done)
		err = errors.Join(err, p.deleteFilesNow(l))
	}
	return done.Segments, err
}

// countBudgets charges the budgets with what is on disk when the engine is opened.
func (e *Engine) countBudgets() {
	for _, t := range e.allTopics() {
		if b := t.budget.Load(); b != nil {
			b.count(0)
		}
	}
	if e.budget != nil {
		e.budget.count(0)
	}
}

// chargeOpened charges the budgets with what a partition may write ahead, now that it is open.
func (p *Partition) chargeOpened() { p.charge(p.topic.state.Load().allowance) }

// remeasure says that an unused partition was opened and closed again, which may have changed what it takes of the disk.
func (p *Partition) remeasure() {
	p.mu.Lock()
	p.size = nil
	p.mu.Unlock()
	p.topic.spaceFreed()
}
