package group

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/topic"
)

const (
	// copyGrace is how long an append under way may go on when the router is told to stop: what is in hand is then copied, and not copied again.
	copyGrace = time.Second
	// copiesAtOnce is how many partitions one batch is appended to at once.
	copiesAtOnce = 16
	// batchRoom is what a batch needs besides its records, and a record besides its bytes, at most.
	batchRoom  = 128
	recordRoom = 48
	headerRoom = 12
)

// copying is the copies of one batch on their way to the disk.
type copying struct {
	r     *Router
	ctx   context.Context // ends when it should stop
	grace context.Context // ends a while later, for appends under way

	mu      sync.Mutex
	refused []topic.Record // for the alternate topic
	stamps  stamps         // of those
}

// copy appends copies and waits until they are on disk: all topics at once, and the partitions of each.
func (r *Router) copy(ctx context.Context, out []*outgoing) error {
	grace, stop := withGrace(ctx, copyGrace)
	defer stop()
	c := &copying{r: r, ctx: ctx, grace: grace}
	if err := c.deliver(out); err != nil {
		return err
	}
	if len(c.refused) == 0 {
		return nil
	}
	return c.deliver([]*outgoing{{to: r.cfg.alternate, recs: c.refused}})
}

// deliver appends all of it. A topic that is gone is created again, and what it has not taken goes there; the second time in a row after a rest.
func (c *copying) deliver(out []*outgoing) error {
	for tries := 1; ; tries++ {
		parcels, err := c.sort(out)
		if err == nil {
			err = inParallel(len(parcels), copiesAtOnce, func(i int) error { return parcels[i].send() })
		}
		out = out[:0:0]
		for _, p := range parcels {
			if p.gone {
				out = append(out, &outgoing{p.to.Name(), p.recs})
			}
		}
		if err != nil || len(out) == 0 {
			return err
		}
		if tries > 1 {
			if err := c.r.cfg.rests.rest(c.ctx, c.r.member.over, tries-1); err != nil {
				return err
			}
		}
	}
}

// parcel is the copies for one partition.
type parcel struct {
	c    *copying
	to   *topic.Topic
	part int32
	recs []topic.Record // not appended yet
	most int            // how many to append at once; 0 as many as fit
	gone bool           // the topic was deleted
}

// sort makes a parcel for each partition.
func (c *copying) sort(out []*outgoing) ([]*parcel, error) {
	var all []*parcel
	for _, o := range out {
		t, err := c.destination(o.to)
		if err != nil {
			return nil, c.fault(&o.recs[0], o.to, err)
		}
		byPart := map[int32]*parcel{}
		n := t.Partitions()
		for _, rec := range o.recs {
			part := rec.Partition % int32(n)
			if rec.Key != nil {
				part = topic.PartitionForKey(rec.Key, n)
			}
			p := byPart[part]
			if p == nil {
				p = &parcel{c: c, to: t, part: part}
				byPart[part] = p
				all = append(all, p)
			}
			if c.r.cfg.restamp {
				rec.Time = time.Time{}
			}
			p.recs = append(p.recs, rec)
		}
	}
	return all, nil
}

// destination is [Router.destination] that waits for room.
func (c *copying) destination(name string) (*topic.Topic, error) {
	for tries := 1; ; tries++ {
		t, err := c.r.destination(c.grace, name)
		if err == nil || !lacksRoom(err) {
			return t, err
		}
		if err := c.awaitRoom(err, tries); err != nil {
			return nil, err
		}
	}
}

// send appends the parcel, in order, until all of it is on disk. Without room it rests and tries again; a record that the topic never takes is
// put aside, or ends it.
func (p *parcel) send() error {
	c := p.c
	for tries := 0; len(p.recs) > 0; {
		n := p.piece()
		_, err := p.to.AppendBatch(c.grace, p.recs[:n], topic.AppendTo(p.part), topic.Synced())
		switch {
		case err == nil:
			c.r.stats.copies.Add(int64(n))
			c.r.member.room.found()
			p.recs, p.most, tries = p.recs[n:], 0, 0
			continue
		case errors.Is(err, topic.ErrNotFound): // what of it is unknown went with the topic
			p.gone = true
			return nil
		case errors.Is(err, topic.ErrUncertain) || errors.Is(err, topic.ErrClosed):
			return c.fault(&p.recs[0], p.to.Name(), err)
		case lacksRoom(err):
			tries++
			if err := c.awaitRoom(err, tries); err != nil {
				return err
			}
		case !never(err):
			return c.fault(&p.recs[0], p.to.Name(), err)
		case n > 1: // one of them it is
			p.most = n / 2
		default:
			if err := p.refuse(err); err != nil {
				return err
			}
		}
	}
	return nil
}

// awaitRoom rests after one of several tries for which the disk had no room.
func (c *copying) awaitRoom(err error, tries int) error {
	c.r.member.room.failed(err)
	return c.r.cfg.rests.rest(c.ctx, c.r.member.over, tries)
}

// never tells that a record is not going to be taken, however often it is tried.
func never(err error) bool {
	return errors.Is(err, topic.ErrTooLarge) || errors.Is(err, topic.ErrInvalidTimestamp) || errors.Is(err, topic.ErrInvalidRecord) ||
		errors.Is(err, topic.ErrInvalid)
}

// piece is how many records go into the next batch.
func (p *parcel) piece() int {
	room := p.to.Settings().MaxMessageBytes - batchRoom
	n := 0
	for n < len(p.recs) && (p.most == 0 || n < p.most) {
		r := &p.recs[n]
		room -= int64(len(r.Key) + len(r.Value) + recordRoom)
		for _, h := range r.Headers {
			room -= int64(len(h.Key) + len(h.Value) + headerRoom)
		}
		if room < 0 && n > 0 {
			break
		}
		n++
	}
	return n
}

// refuse puts the first record aside for the alternate topic. Without one, or when that itself refuses it, it is an error.
func (p *parcel) refuse(why error) error {
	c, rec := p.c, p.recs[0]
	to := c.r.cfg.alternate
	if to == "" || to == p.to.Name() {
		return c.fault(&rec, p.to.Name(), why)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	past, _ := ParseRouted(rec) // what it says of itself counts this hop already
	past.Hops--
	rec.Headers = c.stamps.headersOf(rec.Headers, positionOf(&rec), past, RouteRefused+p.to.Name()+": "+why.Error())
	c.refused = append(c.refused, rec)
	c.r.stats.refused.Add(1)
	p.recs, p.most = p.recs[1:], 0
	return nil
}

// fault is what Run ends with, or, when the router was told to stop meanwhile, that it was.
func (c *copying) fault(rec *topic.Record, to string, err error) error {
	if c.ctx.Err() != nil {
		return bounded.Cause(c.ctx)
	}
	return &RouteError{Source: positionOf(rec), To: to, Err: err}
}

// inParallel calls f for 0 to n-1, up to most at once, and gives the error of the lowest number. All are called, and have returned.
func inParallel(n, most int, f func(int) error) error {
	if n == 1 {
		return f(0)
	}
	faults := make([]error, n)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, most) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				faults[i] = f(i)
			}
		})
	}
	wg.Wait()
	for _, err := range faults {
		if err != nil {
			return err
		}
	}
	return nil
}
