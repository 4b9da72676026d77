package topic

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/quirelog/quire/log"
)

// Compaction keeps of each key the newest record, in topics whose cleanup.policy includes compact. It is done in
// the background (cleaner.go), by hand, and in either case one partition after the other by log.Log.Compact.

// CompactionStrategy ranks the records of one key: the highest version is kept, and of equal versions the
// highest offset; see [log.Strategy]. It may be called from several goroutines at once and must not
// close the engine. A panic in it ends the pass.
type CompactionStrategy = log.Strategy

// Values of the setting quire.compaction.strategy, beside "header=" with a header's name and the names given to
// [WithCompactionStrategy].
const (
	strategyOffset    = "offset"
	strategyTimestamp = "timestamp"
	strategyHeader    = "header="
)

// CompactBy is the setting quire.compaction.strategy: "offset", "timestamp", "header=" and a header's name, or a
// name given to [WithCompactionStrategy].
func CompactBy(strategy string) TopicOption { return Set(KeyCompactionStrategy, strategy) }

// CompactedFacts tells what a compaction did to a partition.
type CompactedFacts struct {
	Topic     string
	Partition int32
	log.Compacted
}

// compacts tells whether a topic with these settings is compacted.
func (s *Settings) compacts() bool { return s.Cleanup&CleanupCompact != 0 }

// parseStrategy checks the form; whether a name of the user's own is known shows when it is needed.
func parseStrategy(v string) (string, error) {
	if v == "" || v == strategyHeader || strings.ContainsAny(v, " \t\r\n") {
		return "", fmt.Errorf("%q is none of offset, timestamp, header=<name>, or the name of a strategy", clip(v))
	}
	return v, nil
}

// strategy is the topic's, nil for Kafka's rule.
func (e *Engine) strategy(s *Settings) (CompactionStrategy, error) {
	header, byHeader := strings.CutPrefix(s.CompactionStrategy, strategyHeader)
	switch {
	case byHeader:
		return log.ByHeader(header), nil
	case s.CompactionStrategy == strategyOffset:
		return nil, nil
	case s.CompactionStrategy == strategyTimestamp:
		return log.ByTimestamp(), nil
	}
	if own := e.cleaner.strategies[s.CompactionStrategy]; own != nil {
		return own, nil
	}
	return nil, fmt.Errorf("%w: no compaction strategy is called %q", ErrInvalid, clip(s.CompactionStrategy))
}

// Compact makes one compaction of every partition of the named topics now, whatever the dirty ratio; without
// names, of all topics whose cleanup.policy includes compact. An error of one partition does not stop the others;
// errors are joined. Where the engine is just at the same, or at retention, it waits for its turn. Errors: ErrInvalid for a topic that is not compacted, ErrNotFound, ErrReadOnly, ErrClosed,
// those of [log.Log.Compact].
func (e *Engine) Compact(ctx context.Context, topics ...string) error {
	if err := e.mayRetain(ctx); err != nil {
		return err
	}
	list, err := e.compactedTopics(topics)
	faults := []error{err}
	for _, t := range list {
		for _, p := range t.state.Load().partitions {
			if _, err := p.Compact(ctx); err != nil {
				faults = append(faults, fmt.Errorf("%v: %w", p, err))
			}
			if ctx.Err() != nil {
				return errors.Join(faults...)
			}
		}
	}
	return errors.Join(faults...)
}

// compactedTopics finds the topics named, or all that are compacted.
func (e *Engine) compactedTopics(names []string) ([]*Topic, error) {
	var list []*Topic
	var faults []error
	for _, name := range names {
		t, err := e.lookup(name)
		if err == nil && !t.state.Load().settings.compacts() {
			err = fmt.Errorf("%w: topic %q is not compacted", ErrInvalid, clip(name))
		}
		if err != nil {
			faults = append(faults, err)
			continue
		}
		list = append(list, t)
	}
	if len(names) > 0 {
		return list, errors.Join(faults...)
	}
	for _, t := range e.allTopics() {
		if t.state.Load().settings.compacts() {
			list = append(list, t)
		}
	}
	return list, nil
}

// Compact makes one compaction of the partition now, whatever the dirty ratio, and tells what it did. A
// partition that the engine had given up on is taken up again if it succeeds.
func (p *Partition) Compact(ctx context.Context) (CompactedFacts, error) {
	if p.topic == nil {
		return CompactedFacts{}, unmade("Partition")
	}
	facts := CompactedFacts{Topic: p.topic.name, Partition: p.id}
	if err := p.topic.eng.mayRetain(ctx); err != nil {
		return facts, err
	}
	l, err := p.openWith(ctx)
	if err != nil {
		return facts, err
	}
	facts.Compacted, err = work(ctx, p.topic.eng, func() (log.Compacted, error) { return p.compact(ctx, l, time.Now(), true) })
	return facts, err
}

// compact runs one pass and tells of it; wait says to wait for its turn. The new checkpoint is on disk when it returns nil.
func (p *Partition) compact(ctx context.Context, l *log.Log, now time.Time, wait bool) (done log.Compacted, err error) {
	e := p.topic.eng
	settings := p.topic.state.Load().settings
	if !settings.compacts() {
		return done, fmt.Errorf("%w: topic %q is not compacted", ErrInvalid, clip(p.topic.name))
	}
	strategy, err := e.strategy(settings)
	if err == nil {
		err = p.doubts.keep()
	}
	if err != nil {
		return done, err
	}
	done, err = l.Compact(ctx, log.CompactOptions{
		Now: now, Memory: e.cleaner.memory, Throttle: e.cleaner.throttle(), Strategy: strategy, Wait: wait,
	})
	p.countCompaction(done, err)
	if err != nil {
		return done, p.waitFault(ctx, err)
	}
	e.cleaner.markCleanable(p)
	p.noteOffsets(l)
	e.logger.Debug("partition compacted", "topic", p.topic.name, "partition", p.id, "offset", done.Checkpoint,
		"kept", done.Kept, "dropped", done.Dropped, "took", done.Took)
	tell(e, e.events.Compacted, CompactedFacts{Topic: p.topic.name, Partition: p.id, Compacted: done})
	return done, e.writeCleanerCheckpoint()
}

func (p *Partition) countCompaction(done log.Compacted, err error) {
	s := &p.topic.stats
	s.compactions.Add(1)
	if err != nil {
		s.compactionsFailed.Add(1)
	}
	s.recordsCompacted.Add(done.Dropped)
	s.bytesCompacted.Add(done.BytesIn - done.BytesOut)
}
