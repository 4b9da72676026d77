package topic

import (
	"time"

	"github.com/quirelog/quire/compress"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
)

// batch is a batch on its way through a lane, with what is to be told when it ends. Batches are used again:
// builder and calls keep their memory.
type batch struct {
	builder record.Builder
	calls   []func(Position, error) // one a record, in order; entries may be nil

	limit int       // size at which it is full
	mark  int64     // place in the lane; 0 for all but the last part of a batch that was split
	born  time.Time // when its first record came
	cost  int64     // bytes of the producer's memory it holds

	sealed   record.Batch // set when the sender first takes it
	maxTime  int64        // the largest record time, to undo what an append wrote
	tries    int          // appends that failed
	last     error        // why the last of them did
	numbered bool         // carries producer id and sequence, and keeps them unless renumbered
	unsure   bool         // an append may have stored it although it failed

	log      *log.Log // where it was appended
	appended log.Appended
	err      error
	told     int  // callbacks that have been called
	orphan   bool // another batch took the callbacks over (guarded by the lane's mu); never used again
}

// add encodes one record; the batch is unchanged by an error.
func (b *batch) add(r *record.Record, cb func(Position, error)) error {
	if err := b.builder.Add(r); err != nil {
		return err
	}
	b.calls = append(b.calls, cb)
	return nil
}

// seal ends the batch at its first attempt. For another attempt it puts back what a log may have changed in
// the header, so that the log sees the same batch again.
func (b *batch) seal() error {
	if b.sealed == nil {
		sealed, err := b.builder.Seal()
		if err != nil {
			return err
		}
		b.sealed, b.maxTime = sealed, sealed.MaxTimestamp()
		return nil
	}
	b.sealed.SetBaseOffset(0)
	b.sealed.SetLeaderEpoch(record.NoLeaderEpoch)
	b.sealed.SetTimestamps(record.CreateTime, b.maxTime)
	return nil
}

// takeBatch gives an empty batch that is full at limit bytes. Its buffer has the given size; with none it grows by itself.
func (p *Producer) takeBatch(limit, size int, r *route) *batch {
	p.mu.Lock()
	var b *batch
	if n := len(p.spare); n > 0 {
		b, p.spare = p.spare[n-1], p.spare[:n-1]
	}
	p.mu.Unlock()
	if b == nil {
		b = new(batch)
	}
	if size > 0 {
		b.builder.UseBuffer(p.buffers.take(size))
	}
	b.limit = limit
	b.builder.Reset(p.builderConfig(limit, r))
	return b
}

func (p *Producer) builderConfig(limit int, r *route) record.BuilderConfig {
	codec, level := p.cfg.codec, p.cfg.level
	if !p.cfg.codecGiven {
		codec, level = r.topic.compression()
	}
	return record.BuilderConfig{Codec: codec, Level: level, LimitBytes: limit}
}

// mostSpare is how many batches are kept, without the buffers of their records. Of those that have memory of their own
// for compressed records or for many callbacks, as many are kept as there are full buffers.
const (
	mostSpare  = 1 << 12
	smallCalls = 1 << 7
)

// giveBatch keeps a batch for later, unless it has grown beyond the usual.
func (p *Producer) giveBatch(b *batch) {
	big, most := b.builder.Buffered() > 2*p.cfg.batchSize, mostSpare
	if b.builder.Codec() != compress.None || cap(b.calls) > smallCalls {
		most = min(most, p.buffers.most/p.buffers.largest+1)
	}
	p.buffers.give(b.builder.TakeBuffer())
	if big {
		return
	}
	clear(b.calls)
	calls := b.calls[:0]
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.spare) >= most {
		return
	}
	// Only the memory is kept: everything else begins anew.
	b.calls = calls
	b.mark, b.cost, b.born = 0, 0, time.Time{}
	b.sealed, b.maxTime, b.tries, b.last, b.numbered, b.unsure = nil, 0, 0, nil, false, false
	b.log, b.appended, b.err, b.told = nil, log.Appended{}, nil, 0
	p.spare = append(p.spare, b)
}
