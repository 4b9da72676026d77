package log

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/segment"
)

// Retention says what a log need not keep. Segments go whole and oldest first: the scan ends at the first one
// that no rule lets go. One that the high watermark has not passed stays, whatever the rules say; if all may go, a
// new empty segment is begun first, so that offsets go on where they were. The rules and their order are
// Apache Kafka's, and those it does not have come behind them. The zero value keeps everything but what lies below the start.
type Retention struct {
	// Age lets a segment go when its newest record is older: by the largest timestamp of its records or, if none
	// has one, by the time the file was last written. A record from the far future keeps its segment and all behind it.
	// 0: no bound; negative: everything has expired.
	Age time.Duration
	// Bytes lets the oldest segment go while the others hold at least this much: the log keeps less than one
	// segment more. 0: no bound; negative: nothing need be kept.
	Bytes int64
	// Records is the same by the number of offsets, which is the number of records where nothing was compacted away.
	Records int64
	// Acknowledged lets a segment go when all its offsets lie below the one returned; ok is false while that is not known. May be nil.
	Acknowledged func() (offset int64, ok bool)
	// Policy is the caller's own rule; nil for none.
	Policy RetentionPolicy
	// Archive is called for each segment that is about to go, oldest first, but for what lies below the start
	// already. An error keeps the segment and all behind it; the next pass asks again. It may take its time: appends
	// and reads go on. May be nil.
	Archive func(ctx context.Context, s *Leaving) error
	// Prompt has files that wait for Config.FileDeleteDelay go at once as far as the log and they together would exceed
	// Bytes and a segment more. Without it the delay is kept.
	Prompt bool
	// Urgent stops a compaction or redaction that is under way, which then fails with ErrBusy, rather than fail itself.
	Urgent bool
	// Wait has the pass wait for its turn while another is under way, as long as its context lasts, rather than fail with
	// ErrBusy. A pass that a hook of another one makes over the same log, with the context it was given, does not wait.
	Wait bool
}

// RetentionPolicy is a rule of the user's own.
type RetentionPolicy interface {
	// Deletable returns how many of the segments, oldest first and the active one last, may go; a number that is out
	// of range counts as the nearest one. The slice is the callee's; its first segment may begin below the log's start.
	Deletable(now time.Time, segments []Facts) int
}

// RetentionRule names the rule by which a segment went.
type RetentionRule int8

// The rules, in the order in which they are asked.
const (
	ByStart           RetentionRule = iota // all of it lies below the log's start
	BySize                                 // Retention.Bytes
	ByAge                                  // Retention.Age
	ByRecords                              // Retention.Records
	ByAcknowledgement                      // Retention.Acknowledged
	ByPolicy                               // Retention.Policy

	// RetentionRules is their number.
	RetentionRules = int(iota)
)

// String is the rule in one word: start, size, age, records, acknowledgement or policy.
func (r RetentionRule) String() string {
	names := [RetentionRules]string{"start", "size", "age", "records", "acknowledgement", "policy"}
	if r < 0 || int(r) >= RetentionRules {
		return fmt.Sprintf("rule(%d)", int8(r))
	}
	return names[r]
}

// Removed tells what a pass of retention did.
type Removed struct {
	Segments int
	Bytes    int64               // of data files
	By       [RetentionRules]int // segments by rule
	Start    int64               // the log's start afterwards
	Rolled   bool                // a new segment was begun so that the last one could go
	// Due is when another pass may remove something though nothing is appended: when the age of the oldest segment that is
	// left will have passed Retention.Age, or at once where that is for Acknowledged or Policy to say; zero if never.
	Due time.Time
}

// Leaving is a segment about to be removed. It is valid, and its bytes stay on disk, until the hook returns.
type Leaving struct {
	Facts
	Rule    RetentionRule
	Path    string // of the data file
	segment *segment.Segment
}

// WriteTo writes the segment's data file to w: whole batches as they are stored, the first of which may lie below the log's start.
func (s *Leaving) WriteTo(w io.Writer) (int64, error) { return s.segment.WriteTo(w, 0, s.Bytes) }

// ErrBusy: another pass over the whole log, of retention or compaction, is under way.
var ErrBusy = errors.New("log: another pass is under way")

// ApplyRetention removes the segments that need not be kept at now. The start is raised first; when it returns nil
// that is on disk, and readers of what went finish. The files are unlinked as with DeleteRecords. It needs no free
// space, unless the active segment is to go.
//
// An error may leave a part done: Removed tells which. Errors: ErrBusy, ErrClosed, ErrReadOnly, [ErrFenced]
// after a failure of the disk, what Archive returned, the context's cause, what the disk says.
func (l *Log) ApplyRetention(ctx context.Context, now time.Time, r *Retention) (Removed, error) {
	done, out, err := bounded.Do(ctx, &l.calls().others, grace, func() (Removed, error) { return l.applyRetention(ctx, now, r) })
	if out != bounded.Ended {
		done.Start = l.start.Load()
	}
	return done, err
}

func (l *Log) applyRetention(ctx context.Context, now time.Time, r *Retention) (Removed, error) {
	done := Removed{Start: l.start.Load()}
	if r.Urgent {
		defer l.halt(ErrBusy)()
	}
	ctx, end, err := l.beginPass(ctx, r.Wait, false)
	if err != nil {
		return done, err
	}
	defer end()
	p := l.planRemoval(now, r)
	for p != nil && len(p.faults) > 0 && l.view.Load() != p.view {
		p = l.planRemoval(now, r) // what it could not look at may have been removed meanwhile
	}
	if p == nil {
		return done, ErrClosed
	}
	p.rollActive(&done)
	p.archive(ctx, r.Archive)
	if p.n > 0 {
		p.remove(&done)
	}
	if r.Prompt && r.Bytes != 0 {
		p.keepWithin(max(r.Bytes, 0) + l.cfg.Load().segmentBytes())
	}
	done.Due = l.due(now, r)
	return done, errors.Join(p.faults...)
}

// removal is one pass of retention.
type removal struct {
	l         *Log
	now       time.Time
	view      *view
	segments  []*segment.Segment
	cuts      int64 // truncations before
	start     int64
	high, end int64
	n         int             // how many of the oldest go
	by        []RetentionRule // why each of them does
	faults    []error         // what ended the scan early, and what went wrong later
}

// planRemoval decides what goes; nil for a closed log.
func (l *Log) planRemoval(now time.Time, r *Retention) *removal {
	p := &removal{l: l, now: now, cuts: l.syncer.cuts(), start: l.start.Load(), high: l.high.Load(), end: l.end.Load()}
	if p.view = l.view.Load(); p.view == nil {
		return nil
	}
	p.segments = p.view.segments
	p.scan(ByStart, func(_ *segment.Segment, next int64) bool { return next <= p.start })
	p.bySize(r.Bytes)
	p.byAge(r.Age)
	p.byRecords(r.Records)
	if r.Acknowledged != nil {
		if offset, ok := r.Acknowledged(); ok {
			p.scan(ByAcknowledgement, func(_ *segment.Segment, next int64) bool { return next <= offset })
		}
	}
	p.byPolicy(r.Policy)
	return p
}

// scan lets the oldest segments go that are left, up to the first for which may is false; next is the offset behind
// the segment. One of which nothing can be read stays, and the scan has failed.
func (p *removal) scan(rule RetentionRule, may func(s *segment.Segment, next int64) bool) {
	for len(p.faults) == 0 && p.n < len(p.segments) {
		s := p.segments[p.n]
		next := p.next(p.n)
		if p.high < next || next <= s.Base() && p.n == len(p.segments)-1 {
			return
		}
		if rule != ByStart {
			if err := s.Load(); err != nil {
				p.fail(err)
				return
			}
		}
		if !may(s, next) {
			return
		}
		p.n++
		p.by = append(p.by, rule)
	}
}

// next is the offset behind segment i: where the following one begins.
func (p *removal) next(i int) int64 {
	if i < len(p.segments)-1 {
		return p.segments[i+1].Base()
	}
	return p.end
}

func (p *removal) fail(err error) { p.faults = append(p.faults, p.l.located(err)) }

func (p *removal) bySize(keep int64) {
	if keep == 0 {
		return
	}
	excess := -max(keep, 0)
	for _, s := range p.segments[p.n:] {
		excess += s.Size()
	}
	p.scan(BySize, func(s *segment.Segment, _ int64) bool {
		excess -= s.Size()
		return excess >= 0
	})
}

func (p *removal) byRecords(keep int64) {
	if keep == 0 {
		return
	}
	limit := p.end - max(keep, 0)
	p.scan(ByRecords, func(_ *segment.Segment, next int64) bool { return next <= limit })
}

func (p *removal) byAge(keep time.Duration) {
	if keep == 0 {
		return
	}
	limit := p.now.UnixMilli() - max(keep, 0).Milliseconds()
	p.scan(ByAge, func(s *segment.Segment, _ int64) bool {
		newest, err := p.l.newest(s)
		if err != nil {
			p.fail(err)
			return false
		}
		return newest < limit
	})
}

// newest is the time of a segment's newest record or, where records have no time, of the last write to its file,
// in ms since the epoch.
func (l *Log) newest(s *segment.Segment) (int64, error) {
	if ts, _ := s.MaxTimestamp(); ts >= 0 {
		return ts, nil
	}
	info, err := l.fs.Stat(s.Path())
	if err != nil {
		return 0, err
	}
	return info.ModTime.UnixMilli(), nil
}

func (p *removal) byPolicy(policy RetentionPolicy) {
	if policy == nil || len(p.faults) > 0 {
		return
	}
	facts := make([]Facts, 0, len(p.segments)-p.n)
	for i := p.n; i < len(p.segments); i++ {
		facts = append(facts, p.facts(i))
	}
	last := p.n + max(0, min(policy.Deletable(p.now, facts), len(facts)))
	p.scan(ByPolicy, func(*segment.Segment, int64) bool { return p.n < last })
}

func (p *removal) facts(i int) Facts {
	s := p.segments[i]
	ts, _ := s.MaxTimestamp()
	return Facts{s.Base(), p.next(i), s.Size(), ts, i == len(p.segments)-1}
}

// rollActive begins a new segment if the active one is to go. One that was appended to meanwhile stays.
func (p *removal) rollActive(done *Removed) {
	if p.n < len(p.segments) {
		return
	}
	rolled, err := p.l.rollAway(p.segments[p.n-1], p.end)
	p.l.tell()
	if done.Rolled = rolled; !rolled {
		p.n--
	}
	if err != nil {
		p.fail(err)
	}
}

// rollAway begins a new segment at end, unless active is no longer the active segment or the log has grown.
func (l *Log) rollAway(active *segment.Segment, end int64) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.changeable(); err != nil {
		return false, err
	}
	if l.view.Load().active() != active || l.end.Load() != end {
		return false, nil
	}
	if err := l.beginWritingLocked(); err != nil {
		return false, diskError(err)
	}
	if _, err := l.rollLocked(l.cfg.Load(), end); err != nil {
		return false, err
	}
	return true, nil
}

// archive asks the hook about each segment, and keeps those that it does not give away.
func (p *removal) archive(ctx context.Context, hook func(context.Context, *Leaving) error) {
	for i := 0; i < p.n; i++ {
		err := bounded.Cause(ctx)
		if err == nil && hook != nil && p.by[i] != ByStart {
			err = p.giveAway(ctx, i, hook)
		}
		if err != nil {
			p.n = i
			p.faults = append(p.faults, err)
		}
	}
}

func (p *removal) giveAway(ctx context.Context, i int, hook func(context.Context, *Leaving) error) error {
	s := p.segments[i]
	if !s.Pin() {
		return nil // deleted by somebody else meanwhile
	}
	defer s.Unpin()
	f := p.facts(i)
	f.Active = false
	if err := hook(ctx, &Leaving{Facts: f, Rule: p.by[i], Path: filepath.Clean(s.Path()), segment: s}); err != nil {
		return fmt.Errorf("segment %d is kept: %w", s.Base(), err)
	}
	return nil
}

// remove raises the start to the first segment that is kept, drops those in front of it, and counts them.
func (p *removal) remove(done *Removed) {
	there := make([]bool, p.n) // else somebody else has removed it meanwhile
	for i, s := range p.segments[:p.n] {
		there[i] = !s.Retired()
	}
	start, err := p.l.removeBelow(p.next(p.n-1), p.cuts)
	p.l.tell()
	p.l.watchers.notify()
	done.Start = start
	if err != nil {
		p.fail(err)
	}
	if !p.l.syncer.kept(p.next(p.n-1), p.cuts) {
		return // by a truncation
	}
	left := p.l.view.Load()
	for i, s := range p.segments[:p.n] {
		if left != nil && left.segments[0].Base() <= s.Base() {
			return // its files could not be renamed
		}
		if !there[i] {
			continue
		}
		done.Segments++
		done.Bytes += s.Size()
		done.By[p.by[i]]++
	}
}

// keepWithin has files of removed segments go before their time while they and the log exceed most bytes.
func (p *removal) keepWithin(most int64) {
	if p.l.Size()+p.l.RemovedBytes() <= most {
		return
	}
	if err := p.l.deleteAll(); err != nil {
		p.fail(err)
	}
}

// removeBelow raises the start to offset, if it lies below, and drops every segment below the start, unless a truncation has cut below offset
// since there were so many cuts: then other records lie there, or none.
func (l *Log) removeBelow(offset, cuts int64) (start int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.changeable(); err != nil || !l.syncer.kept(offset, cuts) {
		return l.start.Load(), err
	}
	if err := l.raiseStartLocked(offset); err != nil {
		return l.start.Load(), err
	}
	return l.start.Load(), l.dropBelowLocked(l.start.Load())
}

// due is when the rules may remove something though nothing is appended, zero if never.
func (l *Log) due(now time.Time, r *Retention) time.Time {
	v := l.view.Load()
	if v != nil && v.segments[0].Base() < l.end.Load() && (r.Acknowledged != nil || r.Policy != nil) {
		return now
	}
	return l.expiry(r.Age)
}

// expiry is when the oldest segment will have passed the age; zero if never, or if that is not known.
func (l *Log) expiry(age time.Duration) time.Time {
	v := l.view.Load()
	if age == 0 || v == nil || l.end.Load() <= v.segments[0].Base() || v.segments[0].Load() != nil {
		return time.Time{}
	}
	newest, err := l.newest(v.segments[0])
	if err != nil {
		return time.Time{}
	}
	return expired(newest, age)
}

// Oldest is when the oldest segment's newest record was written, by the rules of Retention.Age, and whether that
// segment is the active one; ok is false for an empty or closed log.
func (l *Log) Oldest() (at time.Time, active, ok bool) {
	v := l.view.Load()
	if v == nil {
		return time.Time{}, false, false
	}
	s := v.segments[0]
	newest, err := l.newest(s)
	if err != nil || s.Size() == 0 {
		return time.Time{}, false, false
	}
	return time.UnixMilli(newest), s == v.active(), true
}
