package topic

import (
	"context"
	"errors"
	"fmt"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/topic/internal/fetch"
)

// ErrNoRecord: there is no record at an offset that lies within the partition: it was compacted away, or it
// is a transaction's marker.
var ErrNoRecord = log.ErrNoRecord

// Get reads the one record at offset. It does not wait: an offset at or above the high watermark is an error
// that matches ErrOffsetOutOfRange, as is one below the start. [ErrNoRecord] when the offset holds none. The
// record is the caller's. Isolation is read uncommitted: records of open and aborted transactions are found
// too; a [Consumer] with [ReadCommitted] leaves them out.
//
// Of a large uncompressed batch only a part is read, once the batch has been checked whole; its checksum is
// verified at least the first time it is read after Open.
func (p *Partition) Get(ctx context.Context, offset int64) (Record, error) {
	if p.topic == nil {
		return Record{}, unmade("Partition")
	}
	f := p.topic.eng.takeFinder()
	defer func() { p.topic.eng.putFinder(f) }()
	r, err := p.find(ctx, &f, offset)
	if err != nil {
		return Record{}, err
	}
	return p.owned(r), nil
}

// View is Get for a record that is only looked at: view gets it for the duration of the call and must not
// keep its bytes. Nothing is allocated in a steady state. It returns view's error.
func (p *Partition) View(ctx context.Context, offset int64, view func(r *record.Record) error) error {
	if p.topic == nil {
		return unmade("Partition")
	}
	f := p.topic.eng.takeFinder()
	defer func() { p.topic.eng.putFinder(f) }()
	r, err := p.find(ctx, &f, offset)
	if err != nil {
		return err
	}
	return view(r)
}

func (p *Partition) find(ctx context.Context, f **log.Finder, offset int64) (*record.Record, error) {
	l, err := p.openWith(ctx)
	if err != nil {
		return nil, err
	}
	r, err := p.get(ctx, l, f, offset)
	if errors.Is(err, log.ErrNoRecord) {
		return nil, fmt.Errorf("%s: %w", p, err)
	}
	if err != nil {
		return nil, p.waitFault(ctx, err)
	}
	p.topic.stats.fetched(int64(len(r.Key) + len(r.Value)))
	return r, nil
}

// owned copies a borrowed record: one allocation for its bytes, one for its headers if it has any.
func (p *Partition) owned(r *record.Record) Record {
	size := len(r.Key) + len(r.Value)
	for i := range r.Headers {
		size += len(r.Headers[i].Value)
	}
	copies := fetch.NewSlab(size, len(r.Headers))
	out := Record{Topic: p.topic.name, Partition: p.id, Offset: r.Offset, Time: timeOf(r.Timestamp)}
	out.Key, out.Value = copies.Copy(r.Key), copies.Copy(r.Value)
	if len(r.Headers) > 0 {
		out.Headers = copies.CopyHeaders(r.Headers)
	}
	return out
}

// mostFound bounds how much an idle finder may hold.
const mostFound = 2 << 20

func (e *Engine) takeFinder() *log.Finder {
	if f, ok := e.finders.Get().(*log.Finder); ok {
		return f
	}
	return new(log.Finder)
}

func (e *Engine) putFinder(f *log.Finder) {
	if f != nil && f.Memory() <= mostFound {
		e.finders.Put(f)
	}
}
