package topic

import (
	"context"
	"log/slog"
	"time"

	"github.com/quirelog/quire/log"
)

// Events are functions that the engine calls when something happened; each may be nil. They are called
// outside locks, by the goroutine in which it happened, possibly by several at once. They must be quick; they
// may call the engine, Close included. A panic in one is contained and logged.
type Events struct {
	TopicCreated func(TopicFacts)
	TopicAltered func(TopicFacts)
	TopicDeleted func(TopicFacts)

	// PartitionOpened: a partition was used for the first time.
	PartitionOpened func(OpenedFacts)
	// PartitionRecovered: opening found an unclean stop, or damage.
	PartitionRecovered func(OpenedFacts)
	// PartitionFailed: a partition could not be opened; the next use tries again.
	PartitionFailed func(PartitionFault)
	// Damage: stored bytes are damaged; told once for each damaged stretch that opening finds.
	Damage func(DamageFacts)
	// Fenced: a partition refuses appends for good, since its disk no longer does what it says.
	Fenced func(PartitionFault)
	// SegmentRolled: a partition began a new segment file.
	SegmentRolled func(SegmentFacts)
	// SegmentsRemoved: retention removed the oldest segments of a partition.
	SegmentsRemoved func(RemovedFacts)
	// RetentionFailed: retention could not remove what it should, or the archive refused; it is tried again.
	RetentionFailed func(PartitionFault)
	// Compacted: a compaction of a partition is done.
	Compacted func(CompactedFacts)
	// CompactionFailed: a compaction in the background failed; the partition is left alone, see Partition.Uncleanable.
	CompactionFailed func(PartitionFault)
	// Scrubbed: a pass over all data came to its end; what it found was told by Damage.
	Scrubbed func(ScrubFacts)
	// Loop: a handler of a group, queue or router panicked, such a loop waits for room on the disk, or a queue's dead letter was refused.
	Loop func(LoopFacts)
	// Closed: the engine was closed, with what went wrong.
	Closed func(err error)
}

// TopicFacts tells of a topic.
type TopicFacts struct {
	Topic      string
	ID         ID
	Partitions int
}

// OpenedFacts tells what the opening of a partition found and did.
type OpenedFacts struct {
	Topic     string
	Partition int32
	Took      time.Duration
	Start     int64 // offsets [Start, End) are there
	End       int64
	Clean     bool       // stopped in good order: no data had to be read
	Created   bool       // there was nothing yet
	Scanned   int64      // bytes read and checked
	CutBytes  int64      // length of the torn tail that was cut off
	SavedAs   string     // the file it was saved to, when it still held a whole batch
	Damage    []error    // damaged stretches, each told to whoever reads it
	Lost      *LossError // records that were durable and are gone, with AcceptDataLoss
	Repaired  []error    // derived files that were damaged and made anew
}

// fill takes over what the log found.
func (f *OpenedFacts) fill(l *log.Log, r log.Recovered) {
	f.Start, f.End = l.Start(), l.End()
	f.Clean, f.Created, f.Scanned = r.Clean, r.Created, r.Scanned
	f.CutBytes, f.SavedAs, f.Lost, f.Repaired = r.CutBytes, r.SavedAs, r.Lost, r.Notes
	for _, d := range r.Damage {
		f.Damage = append(f.Damage, &CorruptionError{Path: l.Dir(), Pos: d.Pos,
			FirstOffset: d.FirstOffset, NextOffset: d.NextOffset, Cause: d.Err})
	}
}

// notable tells whether anybody should hear of the opening beyond that it happened.
func (f *OpenedFacts) notable() bool {
	return !f.Clean && !f.Created || len(f.Damage)+len(f.Repaired) > 0 || f.Lost != nil
}

// tellOpened logs and tells a partition's opening.
func (e *Engine) tellOpened(t *Topic, f OpenedFacts) {
	t.stats.opened.Add(1)
	if f.notable() {
		t.stats.recoveries.Add(1)
		e.logger.Warn("partition recovered", "topic", f.Topic, "partition", f.Partition, "offset", f.End,
			"scanned", f.Scanned, "cut", f.CutBytes, "saved_as", f.SavedAs, "repaired", len(f.Repaired))
	}
	if f.Lost != nil {
		e.logger.Error("durable records are gone", "topic", f.Topic, "partition", f.Partition, "err", f.Lost)
	}
	for _, err := range f.Damage {
		e.logger.Error("damage found", "topic", f.Topic, "partition", f.Partition, "err", err)
		tell(e, e.events.Damage, DamageFacts{Topic: f.Topic, Partition: f.Partition, Err: err})
	}
	if f.notable() {
		tell(e, e.events.PartitionRecovered, f)
	}
	tell(e, e.events.PartitionOpened, f)
}

// tellOpenFailed logs and tells that a partition could not be opened.
func (e *Engine) tellOpenFailed(p *Partition, err error) {
	e.logger.Error("partition not opened", "topic", p.topic.name, "partition", p.id, "err", err)
	tell(e, e.events.PartitionFailed, PartitionFault{Topic: p.topic.name, Partition: p.id, Err: err})
}

// hooks is what a log tells the engine. What concerns users goes on in a goroutine of its own: the log calls
// from the midst of its work, and a user's function may do anything.
func (p *Partition) hooks() log.Hooks {
	e := p.topic.eng
	var h log.Hooks
	e.scheduler.hooks(p.topic, &h)
	h.Aside = p.chargeAside
	h.Fenced = func(reason error) {
		e.tellLater(func() {
			e.logger.Error("partition fenced", "topic", p.topic.name, "partition", p.id, "err", reason)
			tell(e, e.events.Fenced, PartitionFault{Topic: p.topic.name, Partition: p.id, Err: reason})
		})
	}
	h.Uncleaned = func(*log.Log) {
		if err := e.writeCleanerCheckpoint(); err != nil {
			e.logger.Error("cleaner checkpoint not written", "dir", e.dir, "err", err)
			e.scheduler.armCheckpoint()
		}
	}
	h.Rolled = func(base int64) {
		if p.topic.state.Load().settings.compacts() {
			e.scheduler.arm(&e.scheduler.cleaning, e.cleaner.every)
		}
		p.topic.stats.segmentsRolled.Add(1)
		if e.events.SegmentRolled != nil {
			e.tellLater(func() {
				tell(e, e.events.SegmentRolled, SegmentFacts{Topic: p.topic.name, Partition: p.id, Base: base})
			})
		}
	}
	return h
}

// tellLater runs f in a goroutine of the engine; while the engine closes nobody is told any more.
func (e *Engine) tellLater(f func()) { e.goFunc(f) }

// PartitionFault tells what is wrong with a partition.
type PartitionFault struct {
	Topic     string
	Partition int32
	Err       error
}

// DamageFacts tells which stretch of a partition is damaged.
type DamageFacts struct {
	Topic     string
	Partition int32
	Err       error // usually a *CorruptionError with file, position and offsets
}

// SegmentFacts tells of a new segment file.
type SegmentFacts struct {
	Topic     string
	Partition int32
	Base      int64 // its first offset
}

// TeeEvents calls both, a first.
func TeeEvents(a, b Events) Events {
	return Events{
		TopicCreated:       tee(a.TopicCreated, b.TopicCreated),
		TopicAltered:       tee(a.TopicAltered, b.TopicAltered),
		TopicDeleted:       tee(a.TopicDeleted, b.TopicDeleted),
		PartitionOpened:    tee(a.PartitionOpened, b.PartitionOpened),
		PartitionRecovered: tee(a.PartitionRecovered, b.PartitionRecovered),
		PartitionFailed:    tee(a.PartitionFailed, b.PartitionFailed),
		Damage:             tee(a.Damage, b.Damage),
		Fenced:             tee(a.Fenced, b.Fenced),
		SegmentRolled:      tee(a.SegmentRolled, b.SegmentRolled),
		SegmentsRemoved:    tee(a.SegmentsRemoved, b.SegmentsRemoved),
		RetentionFailed:    tee(a.RetentionFailed, b.RetentionFailed),
		Compacted:          tee(a.Compacted, b.Compacted),
		CompactionFailed:   tee(a.CompactionFailed, b.CompactionFailed),
		Scrubbed:           tee(a.Scrubbed, b.Scrubbed),
		Loop:               tee(a.Loop, b.Loop),
		Closed:             tee(a.Closed, b.Closed),
	}
}

func tee[T any](a, b func(T)) func(T) {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return func(v T) {
		a(v)
		b(v)
	}
}

// LogEvents writes every event to l: life-cycle at Debug (the engine itself tells it at Info), segments at
// Debug, what was repaired at Warn, damage and fences at Error.
func LogEvents(l *slog.Logger) Events {
	topic := func(what string) func(TopicFacts) {
		return func(f TopicFacts) {
			l.Debug(what, "topic", f.Topic, "id", f.ID.String(), "partitions", f.Partitions)
		}
	}
	fault := func(level slog.Level, what string) func(PartitionFault) {
		return func(f PartitionFault) {
			l.Log(context.Background(), level, what, "topic", f.Topic, "partition", f.Partition, "err", f.Err)
		}
	}
	opened := func(level slog.Level, what string) func(OpenedFacts) {
		return func(f OpenedFacts) {
			l.Log(context.Background(), level, what, "topic", f.Topic, "partition", f.Partition,
				"clean", f.Clean, "start", f.Start, "offset", f.End, "took", f.Took)
		}
	}
	return Events{
		TopicCreated:       topic("topic created"),
		TopicAltered:       topic("topic altered"),
		TopicDeleted:       topic("topic deleted"),
		PartitionOpened:    opened(slog.LevelDebug, "partition opened"),
		PartitionRecovered: opened(slog.LevelWarn, "partition recovered"),
		PartitionFailed:    fault(slog.LevelError, "partition not opened"),
		Fenced:             fault(slog.LevelError, "partition fenced"),
		Damage: func(f DamageFacts) {
			l.Error("damage found", "topic", f.Topic, "partition", f.Partition, "err", f.Err)
		},
		SegmentRolled: func(f SegmentFacts) {
			l.Debug("segment rolled", "topic", f.Topic, "partition", f.Partition, "offset", f.Base)
		},
		SegmentsRemoved: func(f RemovedFacts) {
			l.Debug("segments removed", "topic", f.Topic, "partition", f.Partition, "segments", f.Segments, "offset", f.Start)
		},
		Compacted: func(f CompactedFacts) {
			l.Debug("partition compacted", "topic", f.Topic, "partition", f.Partition, "offset", f.Checkpoint,
				"kept", f.Kept, "dropped", f.Dropped, "took", f.Took)
		},
		CompactionFailed: fault(slog.LevelError, "compaction failed"),
		RetentionFailed:  fault(slog.LevelWarn, "retention did not finish"),
		Scrubbed: func(f ScrubFacts) {
			l.Debug("scrubbed", "partitions", f.Partitions, "bytes", f.Bytes, "faults", f.Faults, "took", f.Took)
		},
		Loop:   func(f LoopFacts) { logLoop(l, f) },
		Closed: func(err error) { l.Debug("engine closed", "err", err) },
	}
}

// tell calls an event function, if there is one, and contains its panic.
func tell[T any](e *Engine, f func(T), facts T) {
	if f == nil {
		return
	}
	defer func() {
		if r := recover(); r != nil {
			e.logger.Error("an event function panicked", "dir", e.dir, "err", r)
		}
	}()
	f(facts)
}
