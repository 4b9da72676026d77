package topic

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"sync"

	"github.com/quirelog/quire/log"
)

// checkpoints is the content of Kafka's four checkpoint files of a data directory.
type checkpoints struct{ start, recovery, high, cleaned log.OffsetCheckpoint }

// of is what they say of a partition; -1 where they say nothing.
func (c checkpoints) of(p *Partition) checkpoint {
	tp := log.TopicPartition{Topic: p.topic.name, Partition: p.id}
	get := func(m log.OffsetCheckpoint) int64 {
		if offset, ok := m[tp]; ok {
			return offset
		}
		return -1
	}
	return checkpoint{start: get(c.start), recovery: get(c.recovery), high: get(c.high), cleaned: get(c.cleaned)}
}

// readCheckpoints reads what is there; a damaged file counts as empty, as with Kafka, and is told.
func (e *Engine) readCheckpoints() checkpoints {
	read := func(name string) log.OffsetCheckpoint {
		c, err := log.ReadOffsetCheckpoint(e.fs, filepath.Join(e.dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			e.logger.Warn("checkpoint file is not usable", "dir", e.dir, "file", name, "err", err)
		}
		return c
	}
	c := checkpoints{
		start:    read(log.LogStartFile),
		recovery: read(log.RecoveryPointFile),
		high:     read(log.HighWatermarkFile),
		cleaned:  read(log.CleanerFile),
	}
	e.checkpointed.set(c)
	return c
}

// Checkpoint writes Kafka's checkpoint files (recovery points, high watermarks and start offsets of all
// partitions, and how far compacted ones are compacted) from what is on disk now, as the engine does from time to time while it is written to and at
// Close. They shorten the recovery of a Kafka broker that takes the directory over; this library's own
// recovery knows more from its own files. The files are durable at return.
func (e *Engine) Checkpoint(ctx context.Context) error {
	if err := e.usable(ctx); err != nil {
		return err
	}
	if e.readOnly {
		return ErrReadOnly
	}
	_, err := awaited(ctx, e, func() (struct{}, error) { return struct{}{}, e.writeCheckpoints() })
	return err
}

// writeCheckpoints writes the files, with the reserve's room if the disk has no other, and sees that there is a reserve.
func (e *Engine) writeCheckpoints() error {
	err := e.withReserve(e.writeCheckpointFiles)
	if err == nil && !e.isClosed() {
		e.holdReserve()
	}
	return err
}

// writeCheckpointFiles writes the files. Partitions that were not opened keep what the files said of them.
func (e *Engine) writeCheckpointFiles() error {
	e.checkpointing.Lock()
	defer e.checkpointing.Unlock()
	return e.writeCheckpointsLocked()
}

// writeCheckpointsLocked collects and writes under one lock, so that no older state is written over a newer one.
func (e *Engine) writeCheckpointsLocked() error {
	c := e.collectCheckpoints()
	err := errors.Join(
		log.WriteOffsetCheckpoint(e.fs, filepath.Join(e.dir, log.LogStartFile), c.start),
		log.WriteOffsetCheckpoint(e.fs, filepath.Join(e.dir, log.RecoveryPointFile), c.recovery),
		log.WriteOffsetCheckpoint(e.fs, filepath.Join(e.dir, log.HighWatermarkFile), c.high),
		e.writeCleanerLocked(c.cleaned),
	)
	if err == nil {
		e.checkpointed.set(c)
	}
	return err
}

// collectCheckpoints gives what the files are to say.
func (e *Engine) collectCheckpoints() checkpoints {
	e.checkpointed.mu.Lock()
	defer e.checkpointed.mu.Unlock()
	c := checkpoints{start: log.OffsetCheckpoint{}, recovery: log.OffsetCheckpoint{}, high: log.OffsetCheckpoint{}, cleaned: log.OffsetCheckpoint{}}
	for _, p := range e.allPartitions() {
		tp := log.TopicPartition{Topic: p.topic.name, Partition: p.id}
		o := p.offsets()
		if o.start > 0 {
			c.start[tp] = o.start
		}
		if o.recovery >= 0 {
			c.recovery[tp] = o.recovery
		}
		if o.high >= 0 {
			c.high[tp] = min(o.high, max(o.recovery, 0))
		}
		if o.cleaned > 0 && p.topic.state.Load().settings.compacts() {
			c.cleaned[tp] = o.cleaned
		}
	}
	e.checkpointed.noteLocked(c)
	return c
}

// writeCleanerCheckpoint writes the file of compactions alone: after each of them, and before a truncation
// that cuts into what was compacted returns. Unlike the other files it is no hint: one that claims too
// much would let a deletion be forgotten before the value that it deletes.
func (e *Engine) writeCleanerCheckpoint() error {
	e.checkpointing.Lock()
	defer e.checkpointing.Unlock()
	return e.writeCleanerLocked(e.collectCheckpoints().cleaned)
}

// writeCleanerLocked writes the file of compactions.
func (e *Engine) writeCleanerLocked(cleaned log.OffsetCheckpoint) error {
	path := filepath.Join(e.dir, log.CleanerFile)
	if len(cleaned) == 0 {
		if _, err := e.fs.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	return log.WriteOffsetCheckpoint(e.fs, path, cleaned)
}

// forgetCheckpoint removes what the files say of a partition that is used for the first time: it is about an earlier topic of the name. Only then
// does it wait for a write under way.
func (e *Engine) forgetCheckpoint(p *Partition) error {
	tp := log.TopicPartition{Topic: p.topic.name, Partition: p.id}
	if !e.checkpointed.has(tp) {
		return nil
	}
	e.checkpointing.Lock()
	defer e.checkpointing.Unlock()
	if e.checkpointed.has(tp) {
		return e.writeCheckpointsLocked()
	}
	return nil // left out by the write that was waited for
}

// checkpointed is of which partitions the files speak, or will when a write under way has ended. mu is held from the look at the topics to the
// note of what is written of them: a first use that does not find its partition comes before that, and the write knows its topic only, or after
// one that met no other of the name.
type checkpointed struct {
	mu   sync.Mutex
	list map[log.TopicPartition]struct{}
}

func (k *checkpointed) has(tp log.TopicPartition) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, is := k.list[tp]
	return is
}

// set notes that the files say c and nothing else.
func (k *checkpointed) set(c checkpoints) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.list = map[log.TopicPartition]struct{}{}
	k.noteLocked(c)
}

func (k *checkpointed) noteLocked(c checkpoints) {
	for _, file := range []log.OffsetCheckpoint{c.start, c.recovery, c.high, c.cleaned} {
		for tp := range file {
			k.list[tp] = struct{}{}
		}
	}
}
