package group

import (
	"context"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/topic"
)

// routing is one batch on its way: what its records become, and the memory for finding that out, used again and again.
type routing struct {
	r    *Router
	b    *Batch
	walk routeWalk

	keys    [][]byte
	past    []Routed      // how each record has come
	targets []string      // that the records go to, one record's after the other's
	funcs   []*boundRoute // that they are given to
	ends    []routeEnd    // of each record
	stamps  stamps
	index   map[string]int // places in outgoing
	out     []*outgoing
	counts  routeCounts
}

// routeEnd is where a record's part of targets and funcs ends.
type routeEnd struct{ targets, funcs int }

type routeCounts struct{ records, unroutable, tooFar int64 }

// outgoing is what goes to one topic, in order. Topic, Partition and Offset of a record are those of the one that it is a copy of.
type outgoing struct {
	to   string
	recs []topic.Record
}

// route is the handler of the router's membership: it returns when all copies are on disk.
func (r *Router) route(ctx context.Context, b *Batch) error {
	if ctx.Err() != nil {
		return bounded.Cause(ctx)
	}
	w, ok := r.work.Get().(*routing)
	if !ok {
		w = &routing{r: r, index: map[string]int{}}
	}
	w.b = b
	defer r.work.Put(w)
	defer w.reset()
	if err := w.readKeys(b.Records); err != nil {
		return err
	}
	w.look(b.Records)
	if err := w.plan(b.Records); err != nil {
		return err
	}
	if err := r.copy(ctx, w.out); err != nil {
		return err
	}
	r.stats.records.Add(w.counts.records)
	r.stats.unroutable.Add(w.counts.unroutable)
	r.stats.tooFar.Add(w.counts.tooFar)
	return nil
}

func (w *routing) reset() {
	clear(w.keys)
	clear(w.past)
	clear(w.funcs)
	clear(w.index)
	w.stamps.reset()
	w.keys, w.past, w.targets, w.funcs, w.ends, w.out = w.keys[:0], w.past[:0], w.targets[:0], w.funcs[:0], w.ends[:0], nil
	w.counts, w.b = routeCounts{}, nil
}

// readKeys finds the routing keys.
func (w *routing) readKeys(recs []topic.Record) (err error) {
	at := 0
	guard(func() error {
		for i := range recs {
			at = i
			key := recs[i].Key
			if w.r.cfg.key != nil {
				key = w.r.cfg.key(&recs[i])
			}
			w.keys = append(w.keys, key)
		}
		return nil
	}, func(e error) { err = w.fault(&recs[at], e) })
	return err
}

// fault is what a user's function said of a record. The batch has it too, for the case that the function ends the goroutine.
func (w *routing) fault(rec *topic.Record, err error) error {
	if err == nil {
		return nil
	}
	w.b.fault = &RouteError{Source: positionOf(rec), Err: err}
	return w.b.fault
}

func positionOf(rec *topic.Record) topic.Position {
	return topic.Position{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Epoch: -1}
}

// look finds what the bindings say of all records. No code but ours runs under the table's lock.
func (w *routing) look(recs []topic.Record) {
	t := w.r.table
	t.mu.RLock()
	defer t.mu.RUnlock()
	for i := range recs {
		past, _ := ParseRouted(recs[i])
		w.past = append(w.past, past)
		if past.Hops < w.r.cfg.hops {
			t.find(&w.walk, w.keys[i], recs[i].Headers)
			for _, p := range w.walk.targets {
				w.targets = append(w.targets, p.name)
			}
			w.funcs = append(w.funcs, w.walk.funcs...)
		}
		w.ends = append(w.ends, routeEnd{len(w.targets), len(w.funcs)})
	}
}

// plan makes the copies.
func (w *routing) plan(recs []topic.Record) error {
	var from routeEnd
	for i := range recs {
		targets, funcs := w.targets[from.targets:w.ends[i].targets], w.funcs[from.funcs:w.ends[i].funcs]
		from = w.ends[i]
		if err := w.planOne(&recs[i], w.past[i], targets, funcs); err != nil {
			return err
		}
	}
	return nil
}

func (w *routing) planOne(rec *topic.Record, past Routed, targets []string, funcs []*boundRoute) error {
	w.counts.records++
	copies := len(targets)
	if copies > 0 {
		c := *rec
		c.Headers = w.stamps.headersOf(rec.Headers, positionOf(rec), past, "")
		for _, to := range targets {
			w.add(to, c)
		}
	}
	for _, b := range funcs {
		n, err := w.planFunc(rec, past, b)
		if err != nil {
			return err
		}
		copies += n
	}
	switch {
	case copies > 0:
		return nil
	case past.Hops >= w.r.cfg.hops:
		w.counts.tooFar++
		w.astray(rec, past, RouteTooFar)
	default:
		w.counts.unroutable++
		w.astray(rec, past, RouteUnmatched)
	}
	return nil
}

// astray sends a record that goes nowhere to the alternate topic, if there is one.
func (w *routing) astray(rec *topic.Record, past Routed, reason string) {
	if to := w.r.cfg.alternate; to != "" {
		c := *rec
		c.Headers = w.stamps.headersOf(rec.Headers, positionOf(rec), past, reason)
		w.add(to, c)
	}
}

// planFunc adds what a function makes of a record.
func (w *routing) planFunc(rec *topic.Record, past Routed, b *boundRoute) (int, error) {
	list, err := w.callRoute(b.Func, rec)
	if err != nil {
		return 0, err
	}
	for _, c := range list {
		to := c.Topic
		err := checkDestination(to)
		if err == nil {
			err = w.r.cfg.refuseLoop(to)
		}
		if err != nil {
			return 0, &RouteError{Source: positionOf(rec), To: to, Err: err}
		}
		c.Topic, c.Partition, c.Offset = rec.Topic, rec.Partition, rec.Offset
		c.Headers = w.stamps.headersOf(c.Headers, positionOf(rec), past, "")
		w.add(to, c)
	}
	return len(list), nil
}

func (w *routing) callRoute(f RouteFunc, rec *topic.Record) (list []topic.Record, err error) {
	guard(func() (err error) {
		list, err = f(*rec)
		return err
	}, func(e error) { err = w.fault(rec, e) })
	return list, err
}

func (w *routing) add(to string, c topic.Record) {
	i, ok := w.index[to]
	if !ok {
		i = len(w.out)
		w.index[to] = i
		w.out = append(w.out, &outgoing{to: to})
	}
	w.out[i].recs = append(w.out[i].recs, c)
}
