package topic

import (
	"context"
	"fmt"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
)

// RawAppend says how a raw batch is appended; the zero value is what a broker wants of a client's batch.
type RawAppend struct {
	// Synced makes the append durable whatever the topic's level.
	Synced bool
	// NoWait returns once the operating system has the batch, before it is durable at the topic's level and,
	// at level sync, before readers see it: acks=0. The sync has begun.
	NoWait bool
	// Coordinator says that a coordinator writes on a producer's behalf: only the producer's epoch is checked,
	// not its sequence numbers, and control batches are allowed.
	Coordinator bool
}

// Appended tells where a raw batch went.
type Appended struct {
	First, Last int64 // offsets [First, Last]
	Epoch       int32 // leader epoch stamped on the batch
	// Timestamp is the log's own time, in ms since the epoch, for topics that stamp it; else -1.
	Timestamp int64
	LogStart  int64
	Duplicate bool // the batch was there already, at these offsets: an idempotent producer's retry
}

// AppendRaw appends one whole batch in Apache Kafka's format (magic 2), as a produce request carries it. It
// is checked as a leader does: sizes, checksum, counts, timestamps, the producer's epoch and sequence. Its
// bytes are stored as they came, unless the topic asks for another compression or stamps its own time; only
// base offset and leader epoch are set, in place: batch belongs to the caller again at return.
//
// Waiting and errors are those of [Topic.Append], and ErrCorrupt, ErrInvalidRecord, ErrOutOfOrderSequence,
// ErrProducerFenced.
func (p *Partition) AppendRaw(ctx context.Context, batch []byte, o RawAppend) (Appended, error) {
	if p.topic == nil {
		return Appended{}, unmade("Partition")
	}
	b, err := record.First(batch)
	if err == nil && len(b) != len(batch) {
		err = fmt.Errorf("%w: %d bytes after the batch", ErrInvalidRecord, len(batch)-len(b))
	}
	if err != nil {
		return Appended{}, p.fault(rawFault(err))
	}
	l, err := p.openWith(ctx)
	if err != nil {
		return Appended{}, err
	}
	a, err := p.appendSealed(ctx, l, b, log.AppendOptions{Synced: o.Synced, NoWait: o.NoWait, Coordinator: o.Coordinator})
	if err != nil {
		return Appended{}, p.waitFault(ctx, err)
	}
	if o.NoWait && !a.Duplicate {
		p.beginCommit(l)
	}
	return Appended{First: a.Base, Last: a.Last, Epoch: a.Epoch, Timestamp: a.Timestamp, LogStart: a.LogStart, Duplicate: a.Duplicate}, nil
}

// beginCommit makes what l holds durable and visible at the log's level, in the background and once at a time: what is
// appended meanwhile is part of the next round.
func (p *Partition) beginCommit(l *log.Log) {
	e := p.topic.eng
	if l.Config().Durability != log.Sync || !p.committing.CompareAndSwap(false, true) {
		return
	}
	if !e.goFunc(func() { p.commitAll(e.scheduler.ctx, l) }) {
		p.committing.Store(false) // the engine closes, and syncs all
	}
}

// commitAll commits until nothing is left. A failure has fenced the log, or is that of a context: the next tick, or Close, looks again.
func (p *Partition) commitAll(ctx context.Context, l *log.Log) {
	for {
		end := l.End()
		err := l.Commit(ctx, end)
		p.committing.Store(false)
		if err != nil || l.End() == end || !p.committing.CompareAndSwap(false, true) {
			return
		}
	}
}

// Commit waits until everything below end, the offset after an append with NoWait, is as durable as the
// topic's level asks and visible.
func (p *Partition) Commit(ctx context.Context, end int64) error {
	l, err := p.openWith(ctx)
	if err != nil {
		return err
	}
	return p.waitFault(ctx, l.Commit(ctx, end))
}
