package topic

import (
	"context"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
)

// Fetch says what a raw fetch returns and how long it waits for it.
type Fetch struct {
	MinBytes int           // wait for so many; 0 and 1: for anything
	MaxBytes int           // at most so many, but the first batch always whole; 0: 1 MiB
	MaxWait  time.Duration // wait at most so long for MinBytes; 0: not at all
	// Epoch is the leader epoch that the caller believes in; an older one than the partition's is refused with
	// ErrStaleEpoch, a newer one with ErrUnknownEpoch. 0 and below: not compared.
	Epoch     int32
	Isolation IsolationLevel
}

// AbortedTransaction is one entry of the list by which a reader at ReadCommitted leaves aborted records out:
// records of the producer from FirstOffset to its next abort marker do not count.
type AbortedTransaction struct{ ProducerID, FirstOffset int64 }

// RawSlice is a run of whole batches as they lie in a segment file, not copied and not checked. Its file
// stays until Release. It is not safe for concurrent use.
type RawSlice struct {
	// HighWatermark, LastStable and LogStart are the partition's marks when the slice was taken.
	HighWatermark, LastStable, LogStart int64
	// Aborted is, at ReadCommitted, what of the slice's transactions was aborted.
	Aborted []AbortedTransaction

	p    *Partition
	part *log.Slice
}

// FetchRaw gives the batches from the one that holds offset, up to what the isolation level shows: it may
// begin with records below offset, which the reader drops. It waits until there are MinBytes, MaxWait has
// passed or ctx ends; then it returns what there is, possibly nothing (Len 0). A fetch ends early where a
// segment file ends. Release the slice.
//
// Errors: *OffsetRangeError, ErrStaleEpoch, ErrUnknownEpoch, ErrCorrupt, ErrClosed, ErrNotFound, the
// context's cause.
func (p *Partition) FetchRaw(ctx context.Context, offset int64, f Fetch) (*RawSlice, error) {
	l, err := p.openWith(ctx)
	if err != nil {
		return nil, err
	}
	s, err := pinned(ctx, p, func() (*RawSlice, error) { return p.fetchRaw(ctx, l, offset, f) })
	if err != nil {
		return nil, p.waitFault(ctx, err)
	}
	return s, nil
}

func (p *Partition) fetchRaw(ctx context.Context, l *log.Log, offset int64, f Fetch) (*RawSlice, error) {
	if err := checkEpoch(l, f.Epoch); err != nil {
		return nil, err
	}
	s, err := p.await(ctx, l, offset, &f)
	if err != nil {
		return nil, err
	}
	return p.rawSlice(l, s, offset, f.Isolation)
}

func checkEpoch(l *log.Log, epoch int32) error {
	if epoch <= 0 {
		return nil
	}
	switch now := l.LeaderEpoch(); {
	case epoch < now:
		return fmt.Errorf("%w: %d, the leader's is %d", ErrStaleEpoch, epoch, now)
	case epoch > now:
		return fmt.Errorf("%w: %d, the leader's is %d", ErrUnknownEpoch, epoch, now)
	}
	return nil
}

// await takes slices until one is large enough, or the wait is over. It sleeps on the log's mark in between.
func (p *Partition) await(ctx context.Context, l *log.Log, offset int64, f *Fetch) (*log.Slice, error) {
	bound := f.Isolation.bound()
	wait := ctx
	for first := true; ; first = false {
		if ctx.Err() != nil {
			return nil, bounded.Cause(ctx)
		}
		limit := l.Limit(bound)
		s, err := l.Slice(offset, log.ReadOptions{Bound: bound, MaxBytes: f.MaxBytes})
		if err != nil {
			return nil, err
		}
		if f.MaxWait <= 0 || wait.Err() != nil || enough(s, f, limit) {
			return s, nil
		}
		s.Release()
		if first {
			var cancel context.CancelFunc
			wait, cancel = context.WithTimeout(ctx, f.MaxWait)
			defer cancel()
		}
		if err := l.Wait(wait, max(limit, offset), bound); err != nil && wait.Err() == nil {
			return nil, err
		}
	}
}

// enough tells whether a slice needs no waiting: it is large enough, or it cannot grow because the batches
// that follow lie in the next segment file.
func enough(s *log.Slice, f *Fetch, limit int64) bool {
	n := s.Len()
	if n >= int64(max(f.MinBytes, 1)) || f.MaxBytes > 0 && n >= int64(f.MaxBytes) {
		return true
	}
	if n == 0 {
		return false
	}
	run, err := s.AppendTo(nil)
	if err != nil {
		return true // whoever reads the slice is told
	}
	next := int64(-1)
	for b, err := range record.Batches(run) {
		if err != nil {
			return true
		}
		next = b.NextOffset()
	}
	return next < limit
}

func (p *Partition) rawSlice(l *log.Log, s *log.Slice, offset int64, level IsolationLevel) (*RawSlice, error) {
	r := &RawSlice{HighWatermark: l.High(), LastStable: l.Stable(), LogStart: l.Start(), p: p, part: s}
	if level == ReadCommitted && s.Len() > 0 {
		aborted, err := l.AbortedIn(offset, r.LastStable)
		if err != nil {
			s.Release()
			return nil, p.fault(err)
		}
		for _, a := range aborted {
			r.Aborted = append(r.Aborted, AbortedTransaction{ProducerID: a.ProducerID, FirstOffset: a.First})
		}
	}
	p.topic.stats.fetched(s.Len())
	return r, nil
}

// Len is the number of bytes.
func (r *RawSlice) Len() int { return int(r.part.Len()) }

// WriteTo writes all bytes to w. When w is a TCP or Unix connection and the disk is the operating system's,
// the kernel moves them from file to socket.
func (r *RawSlice) WriteTo(w io.Writer) (int64, error) {
	n, err := r.part.WriteTo(w)
	if err != nil {
		err = r.p.fault(err)
	}
	return n, err
}

// AppendTo reads the bytes and appends them to dst.
func (r *RawSlice) AppendTo(dst []byte) ([]byte, error) {
	dst, err := r.part.AppendTo(dst)
	return dst, r.p.fault(err)
}

// Batches reads the slice and yields its batches in order, each checked. The batches are the caller's. A bad
// batch is the last pair, with a nil batch.
func (r *RawSlice) Batches() iter.Seq2[record.Batch, error] {
	return func(yield func(record.Batch, error) bool) {
		run, err := r.AppendTo(nil)
		if err != nil {
			yield(nil, err)
			return
		}
		for b, err := range record.Batches(run) {
			if err == nil {
				err = b.Check()
			}
			if err != nil {
				yield(nil, r.p.fault(err))
				return
			}
			if !yield(b, nil) {
				return
			}
		}
	}
}

// Release lets the file go. It may be called more than once; the slice's bytes cannot be had afterwards.
func (r *RawSlice) Release() { r.part.Release() }

var _ io.WriterTo = (*RawSlice)(nil)
