package group

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/quirelog/quire/topic"
)

// ErrLoop: copies would go to a topic that the router reads. Nothing was copied.
var ErrLoop = errors.New("group: route leads back to a topic that it comes from")

// Router copies records of some topics to others: by key, by a pattern of the key's words, by headers, by a function, or all of them, as the
// exchanges of RabbitMQ do. It is a member of a group: several routers of one name, in one engine, share the work, and what has been copied is
// the group's committed offsets. Its bindings are not stored: each router of a group is to be given the same.
//
// What it promises:
//
//	R1  At least once. A record's progress is committed when all its copies are on disk, whatever the levels of their topics. What was copied and
//	    not committed when the program crashes, or when the router is removed from its group, is copied again: with the same [Routed]
//	    Source, by which readers can tell. After Close in good order nothing is.
//	R2  A topic gets one copy of a record, however many bindings lead there. What functions return goes there besides.
//	R3  Copies of one source partition are in their order in every partition that they go to. A copy's partition is that of its key, as
//	    [topic.PartitionForKey] says; copies without a key go to one for each source partition.
//	R4  A copy has the record's key, value, headers and time, to the byte, and headers that tell where it comes from ([Routed]).
//	R5  No copy goes to a topic that the router reads, nor beyond MaxHops routers in a row.
//	R6  Nothing is lost silently: what is not copied is counted, or in the [Alternate] topic. A full disk is waited for.
//
// All methods may be called at once from any goroutine, but there is one Run at a time. It ends with Close or with its engine; between Runs it
// has no goroutine.
type Router struct {
	eng    *topic.Engine
	name   string
	cfg    *routerConfig
	member *Consumer
	table  *routeTable
	work   sync.Pool // of *routing
	stats  routerStats
}

// RouteError says which record could not be routed, and why; Run ends with it. Nothing is lost: the record is the first to be routed by the
// next Run, or by another router of the group. Err matches [ErrLoop] (a function named a topic that the router reads), topic.ErrNotFound (see
// [MustExist]), what appending said, or is that of a function, [*PanicError] after a panic.
type RouteError struct {
	Source topic.Position
	To     string // the topic that the copy was for, if one is concerned
	Err    error
}

func (e *RouteError) Error() string {
	if e.To == "" {
		return fmt.Sprintf("group: routing %s: %v", e.Source, e.Err)
	}
	return fmt.Sprintf("group: routing %s to %s: %v", e.Source, e.To, e.Err)
}

// Unwrap is Err.
func (e *RouteError) Unwrap() error { return e.Err }

// RouterMetrics counts what a router has done since it was opened.
type RouterMetrics struct {
	Records    int64 // whose routing is complete
	Copies     int64 // on disk, those in the alternate topic too
	Unroutable int64 // records without a binding
	TooFar     int64 // records that had come by MaxHops routers
	Refused    int64 // copies that their topics do not take, in the alternate topic instead
	Retries    int64 // what was tried again for want of room
	Created    int64 // topics
	Bindings   int   // now
}

type routerStats struct {
	records, copies, unroutable, tooFar, refused, created atomic.Int64
}

// OpenRouter makes a router with the name of its group. Topics that its bindings name are created if they are missing. It joins the group at
// once, and copies while [Router.Run] runs.
//
// Errors: one that matches topic.ErrInvalid or [ErrLoop], for all faulty options at once; topic.ErrNotFound with [MustExist]; those of
// [topic.Engine.Topic] and of [Join].
func OpenRouter(ctx context.Context, eng *topic.Engine, name string, opts ...RouterOption) (*Router, error) {
	coord, err := On(eng)
	if err != nil {
		return nil, err
	}
	cfg, err := newRouterConfig(name, coord.cfg, opts)
	if err != nil {
		return nil, err
	}
	r := &Router{eng: eng, name: name, cfg: cfg, table: newRouteTable()}
	if cfg.alternate != "" {
		if _, err := r.destination(ctx, cfg.alternate); err != nil {
			return nil, err
		}
	}
	if err := r.Bind(ctx, cfg.bindings...); err != nil {
		return nil, err
	}
	r.member, err = Join(ctx, eng, name, cfg.join...)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Name is the router's name, which is its group's.
func (r *Router) Name() string { return r.name }

// Bind adds bindings, all or none; one that is there already stays as it is, a function replaces that of its name. They count for records
// that are routed from now on: what is in hand may still go by the old ones. It costs what the added ones cost, however many there are.
//
// Errors: topic.ErrInvalid, [ErrLoop], topic.ErrNotFound with [MustExist], those of creating a topic.
func (r *Router) Bind(ctx context.Context, list ...Binding) error {
	if r.eng == nil {
		return unmade("Router")
	}
	var faults []error
	for _, b := range list {
		faults = append(faults, r.cfg.checkBinding(b))
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	known := map[string]bool{"": true} // a function's
	for _, b := range list {
		if known[b.To] {
			continue
		}
		if _, err := r.destination(ctx, b.To); err != nil {
			return fmt.Errorf("group: binding %s: %w", b, err)
		}
		known[b.To] = true
	}
	r.table.add(list)
	return nil
}

// Unbind takes a binding away, for records that are routed from now on, and tells whether it was there.
func (r *Router) Unbind(b Binding) bool { return r.eng != nil && r.table.remove(b) }

// Bindings lists the bindings in the order they came.
func (r *Router) Bindings() []Binding {
	if r.eng == nil {
		return nil
	}
	return r.table.list()
}

// Metrics tells how the router does. It is cheap.
func (r *Router) Metrics() RouterMetrics {
	if r.eng == nil {
		return RouterMetrics{}
	}
	s := &r.stats
	return RouterMetrics{
		Records: s.records.Load(), Copies: s.copies.Load(), Unroutable: s.unroutable.Load(), TooFar: s.tooFar.Load(), Refused: s.refused.Load(),
		Retries: r.member.room.retries(), Created: s.created.Load(), Bindings: r.table.size(),
	}
}

// Run copies, until it ends as [Consumer.Run] does, with the same errors, or with a *[RouteError] when a record cannot be routed. Up to
// workers source partitions are routed at once. Where there is no room on the disk, for copies or for the group's records, it rests and
// tries again ([RetryCopies]). Another Run may follow.
func (r *Router) Run(ctx context.Context, workers int) error {
	if r.eng == nil {
		return unmade("Router")
	}
	return r.member.Run(ctx, workers, r.route)
}

// Member is the router's membership in its group, to look at: its assignment, its member id. Its loop is the router's.
func (r *Router) Member() *Consumer { return r.member }

// Close ends the router: what is in hand is copied first, unless there is no room for it, the progress committed, and the group left to
// others. A Run that is under way does this as soon as it can, and ends; Close does not wait for it, [Router.Shutdown] does.
func (r *Router) Close() error {
	if r.eng == nil {
		return unmade("Router")
	}
	return r.member.Close()
}

// Shutdown is Close that waits for a Run to do its part, until ctx ends.
func (r *Router) Shutdown(ctx context.Context) error {
	if r.eng == nil {
		return unmade("Router")
	}
	return r.member.Shutdown(ctx)
}

// Drain is a soft Shutdown: no more records are taken, and what is in hand is copied however long the disk takes, until ctx ends; then it
// is Close. See [Consumer.Drain].
func (r *Router) Drain(ctx context.Context) error {
	if r.eng == nil {
		return unmade("Router")
	}
	return r.member.Drain(ctx)
}

// destination gives a topic that copies go to, and creates it when it is missing and may be.
func (r *Router) destination(ctx context.Context, name string) (*topic.Topic, error) {
	p, err := r.eng.Partition(name, 0)
	switch {
	case err == nil:
		return p.Topic(), nil
	case r.cfg.mustExist || !errors.Is(err, topic.ErrNotFound):
		return nil, err
	}
	t, err := r.eng.Topic(ctx, name, r.cfg.create...)
	if err == nil {
		r.stats.created.Add(1)
	}
	return t, err
}
