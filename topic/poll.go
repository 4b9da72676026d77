package topic

import (
	"context"
	"time"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/topic/internal/fetch"
)

// Poll returns records of the assigned partitions, which take turns. It waits until there are [MinBytes] of
// them, at most [MaxWait], then returns what there is, perhaps nothing. It sleeps while it waits. Records of
// a partition come in order. They belong to the caller; those of one call share memory, so keeping one keeps
// them all.
//
// Errors: the context's cause, when it ends before there is anything; [ErrWakeup]; [ErrClosed];
// [ErrConcurrentUse]; [ErrNotFound] when an assigned topic was deleted; *[OffsetRangeError] if
// [OnOutOfRange] is Fail; one that matches [ErrCorrupt], with a *[CorruptionError] that tells the damaged
// offsets: to go on behind them Seek to its NextOffset; and what the disk says. An error of a partition names
// it, leaves its position where it was, and comes again at a later Poll if nothing changes; other partitions
// have their turn before.
func (c *Consumer) Poll(ctx context.Context) ([]Record, error) {
	if err := c.enter(); err != nil {
		return nil, err
	}
	defer c.exit()
	p := poll{c: c, patient: c.cfg.maxWait == Forever}
	return p.intercepted(p.run(ctx))
}

// PollFrom returns records that the named partitions have now, without waiting: those of the first one first, of one
// turn each, at most [MaxPollRecords] together. It reads paused ones too. It is for callers that choose who is next.
// Errors are those of Poll but for ErrWakeup, and ErrInvalid for a partition that is not assigned.
func (c *Consumer) PollFrom(parts ...TopicPartition) ([]Record, error) {
	return c.PollFromWithin(context.Background(), parts...)
}

// PollFromWithin is PollFrom with a context, whose cause is one more error: it ends the wait for a disk that hangs.
func (c *Consumer) PollFromWithin(ctx context.Context, parts ...TopicPartition) ([]Record, error) {
	if err := c.enter(); err != nil {
		return nil, err
	}
	defer c.exit()
	p := poll{c: c}
	for _, tp := range parts {
		cur, err := c.cursor(tp)
		if err == nil {
			err = p.turnOf(ctx, cur)
		}
		if err != nil {
			return p.intercepted(p.result(err))
		}
		if p.full() {
			break
		}
	}
	return p.intercepted(p.recs, nil)
}

// Ready lists the partitions that may have something to read now, in the order of their turns, those whose last look was an error last; others
// have nothing. Paused ones are not among them. It costs what there is, not what is assigned, does not read, and is for callers that choose who
// is next with [Consumer.PollFrom]. The list is the caller's. Errors: ErrClosed, ErrConcurrentUse.
func (c *Consumer) Ready() ([]TopicPartition, error) {
	if err := c.enter(); err != nil {
		return nil, err
	}
	defer c.exit()
	var list []TopicPartition
	for m := c.f.Ready.Front(); m != nil; {
		cur := m.Of
		m = c.f.Ready.Next(m)
		if cur.Paused || cur.Failed {
			c.f.Ready.Drop(&cur.Mark)
			continue
		}
		list = append(list, placeOf(cur))
	}
	for _, cur := range c.f.Failed {
		if !cur.Paused {
			list = append(list, placeOf(cur))
		}
	}
	return list, nil
}

// Signal receives when there may be something to read after a Poll, or Ready, that found nothing, for callers that wait for other things too;
// now and then also when there is not. A Poll that waits takes what is sent. The channel is the same as long as the consumer lives, is not closed
// when it ends, and may be asked for from any goroutine.
func (c *Consumer) Signal() <-chan struct{} {
	if c.eng == nil {
		return nil
	}
	return c.f.Ready.Signal()
}

// pollPatiently is Poll without a limit to the wait for the first record.
func (c *Consumer) pollPatiently(ctx context.Context) ([]Record, error) {
	if err := c.enter(); err != nil {
		return nil, err
	}
	defer c.exit()
	p := poll{c: c, patient: true}
	return p.intercepted(p.run(ctx))
}

// poll is one Poll on its way.
type poll struct {
	c     *Consumer
	recs  []Record
	bytes int // of the batches that recs come from
	// patient: MaxWait only counts once there is something.
	patient bool
}

func (p *poll) intercepted(recs []Record, err error) ([]Record, error) {
	if len(recs) > 0 && len(p.c.cfg.interceptors) > 0 {
		recs = onConsume(p.c.eng, p.c.cfg.interceptors, recs)
	}
	return recs, err
}

func (p *poll) run(ctx context.Context) ([]Record, error) {
	c, f := p.c, &p.c.f
	select {
	case <-c.wake:
		return nil, ErrWakeup
	default:
	}
	if ctx.Err() != nil {
		return nil, bounded.Cause(ctx)
	}
	if !f.Erred {
		f.Retry()
	}
	var expiry <-chan time.Time
	for {
		err := p.gather(ctx)
		f.Erred = err != nil && len(p.recs) == 0
		if err != nil || p.enough() {
			return p.result(err)
		}
		if expiry == nil && !(p.patient && len(p.recs) == 0) {
			if c.cfg.maxWait == 0 {
				return p.recs, nil
			}
			expiry = f.Expiry(c.cfg.maxWait)
			defer f.StopTimer()
		}
		switch f.Wait(ctx, expiry, c.wake, c.closed) {
		case fetch.Expired:
			return p.recs, nil
		case fetch.Done:
			return p.result(bounded.Cause(ctx))
		case fetch.Closed:
			return p.result(ErrClosed)
		case fetch.Wakeup:
			if len(p.recs) > 0 {
				c.Wakeup() // for the next call: this one has something to return
			}
			return p.result(ErrWakeup)
		}
	}
}

// result lets records go before an error: their positions have moved. The error comes again.
func (p *poll) result(err error) ([]Record, error) {
	if len(p.recs) > 0 {
		return p.recs, nil
	}
	return nil, err
}

func (p *poll) enough() bool {
	return len(p.recs) > 0 && (p.bytes >= p.c.cfg.minBytes || p.full())
}

func (p *poll) full() bool {
	return len(p.recs) >= p.c.cfg.maxPollRecords || p.bytes >= p.c.cfg.maxBytes
}

// gather takes what is there, partition by partition, each a run at a time, until there is enough for one
// call or nothing left.
func (p *poll) gather(ctx context.Context) error {
	f := &p.c.f
	for !p.full() {
		cur := f.Front()
		if cur == nil {
			if f.Retry() {
				continue
			}
			return nil
		}
		if cur.Paused {
			f.Ready.Drop(&cur.Mark)
			continue
		}
		some, err := p.from(ctx, cur)
		switch {
		case err != nil:
			return err
		case !some:
			f.Settle(cur)
		case len(cur.Pending) == 0 && !f.Holds(cur):
			f.Advance(cur)
		}
	}
	return nil
}

// turnOf takes what a partition has, at most a run of it. It has had its turn by that.
func (p *poll) turnOf(ctx context.Context, cur *fetch.Cursor[Record]) error {
	f := &p.c.f
	for had := len(p.recs); !p.full(); {
		some, err := p.from(ctx, cur)
		switch {
		case err != nil:
			return err
		case !some && cur.Paused:
			f.Ready.Drop(&cur.Mark)
			return nil
		case !some:
			f.Settle(cur)
			return nil
		}
		f.Ready.Add(&cur.Mark)
		f.Advance(cur)
		if len(p.recs) > had && len(cur.Pending) == 0 && !f.Holds(cur) {
			return nil
		}
	}
	return nil
}

// from takes records of one partition: what is left of its turn, or a new run. some says that there was
// anything, be it only something to pass over. After an error the others have their turn before it comes again.
func (p *poll) from(ctx context.Context, cur *fetch.Cursor[Record]) (some bool, err error) {
	p.c.f.ClearFailure(cur)
	if some, err = p.look(ctx, cur); err != nil {
		p.c.f.Fail(cur)
	}
	return some, err
}

func (p *poll) look(ctx context.Context, cur *fetch.Cursor[Record]) (some bool, err error) {
	if len(cur.Pending) > 0 {
		p.takePending(cur)
		return true, nil
	}
	ok, err := p.c.f.Load(ctx, cur)
	if err != nil || !ok {
		return false, err
	}
	return true, p.decode(cur)
}

func (p *poll) decode(cur *fetch.Cursor[Record]) error {
	f, most := &p.c.f, p.c.cfg.maxPollRecords
	before := f.Left()
	recs, err := f.Decode(cur, p.recs, most)
	p.bytes += before - f.Left()
	if len(recs) > most {
		cur.Pending = recs[most:]
		cur.Pos = cur.Pending[0].Offset
		recs = recs[:most:most]
	}
	p.recs = recs
	return err
}

func (p *poll) takePending(cur *fetch.Cursor[Record]) {
	n := min(len(cur.Pending), p.c.cfg.maxPollRecords-len(p.recs))
	if len(p.recs) == 0 {
		p.recs = cur.Pending[:n:n] // as they are: what is appended to them lies elsewhere
	} else {
		p.recs = append(p.recs, cur.Pending[:n]...)
	}
	for i := range cur.Pending[:n] {
		p.bytes += len(cur.Pending[i].Key) + len(cur.Pending[i].Value)
	}
	cur.Pending = cur.Pending[n:]
	if len(cur.Pending) > 0 {
		cur.Pos = cur.Pending[0].Offset
		return
	}
	cur.Pending = nil
	cur.Pos = max(p.recs[len(p.recs)-1].Offset+1, min(cur.Next, cur.Until))
}
