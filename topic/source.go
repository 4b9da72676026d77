package topic

import (
	"context"
	"slices"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/topic/internal/fetch"
)

// decodeLimit is the most that goes into one batch.
const decodeLimit = record.MaxDecodeLimit

// maxDecoded is the most that one compressed batch of the topic may expand to when it is read, and so the most that
// goes into one when it is written.
func (t *Topic) maxDecoded() int { return t.state.Load().config.MaxDecoded() }

// source is a partition as readers have it.
type source Partition

func (p *Partition) source() fetch.Source[Record] { return (*source)(p) }

func (s *source) part() *Partition { return (*Partition)(s) }

func (s *source) Name() (topic string, partition int32) { return s.topic.name, s.id }

func (s *source) Dir() string { return s.part().Dir() }

func (s *source) Calls() *bounded.Calls { return &s.topic.eng.calls }

func (s *source) Log() *log.Log { return s.log.Load() }

func (s *source) Open(ctx context.Context) (*log.Log, error) { return s.part().openWith(ctx) }

func (s *source) NeverUsed() bool { return s.part().neverUsed() }

func (s *source) AddWatcher(w log.Watcher) error { return s.part().addWatcher(w) }

func (s *source) RemoveWatcher(w log.Watcher) { s.part().removeWatcher(w) }

func (s *source) OffsetFor(ctx context.Context, l *log.Log, millis int64, b log.Bound) (log.TimeOffset, bool, error) {
	return s.part().offsetFor(ctx, l, millis, b)
}

func (s *source) Fault(ctx context.Context, err error) error { return s.part().waitFault(ctx, err) }

func (s *source) Fetched(bytes, records int) {
	if records > 0 {
		s.topic.stats.recordsOut.Add(int64(records))
	}
	if bytes > 0 {
		s.topic.stats.fetched(int64(bytes))
	}
}

func (s *source) Reset(from, to int64, policy fetch.Policy) {
	s.topic.eng.logger.Warn("position out of range, reset", "topic", s.topic.name, "partition", s.id,
		"offset", from, "to", to, "policy", policy.String())
}

func (s *source) Decode(d *fetch.Decoder, b record.Batch, dst []Record) ([]Record, error) {
	if err := d.Reset(b, s.topic.maxDecoded()); err != nil {
		return dst, err
	}
	r, name := &d.Scratch, s.topic.name
	for d.Next(r) {
		if r.Offset < d.From {
			continue
		}
		if r.Offset >= d.Until {
			break
		}
		if len(dst) == cap(dst) {
			dst = slices.Grow(dst, len(dst)/2+16)
		}
		dst = dst[:len(dst)+1]
		out := &dst[len(dst)-1] // filled in place: a copy of the whole struct would cost as much as the decoding
		out.Topic, out.Partition, out.Offset, out.Time = name, s.id, r.Offset, timeOf(r.Timestamp)
		out.Key, out.Value, out.Headers = d.Copy(r.Key), d.Copy(r.Value), nil
		if len(r.Headers) > 0 {
			out.Headers = d.CopyHeaders(r.Headers)
		}
		d.From = r.Offset + 1
	}
	return dst, d.Err()
}
