package topic

import (
	"context"
	"errors"
	"math"
	"sync"
)

// A Lodger is what a package above this one keeps in an engine: package group keeps its coordinator and its queues. It lives from
// [Engine.Lodge] to the engine's Close.
type Lodger interface {
	// TopicsChanged is called after topics of these names were created, altered or deleted, outside locks, by the goroutine in which it
	// happened, possibly by several at once. It must be quick.
	TopicsChanged(names []string)
	// Drain is called by [Engine.Shutdown], before producers deliver what they hold: what is to be stored in good order is stored now.
	// It waits until ctx ends at most.
	Drain(ctx context.Context) error
	// EngineClosing is called once, when Close has begun and calls to the engine fail already. It must not wait.
	EngineClosing()
	// Settle is called once after that, while partitions that it has opened can still be written to: it finishes what is under way, until
	// ctx ends, a few seconds at most. Its error is part of Close's.
	Settle(ctx context.Context) error
}

// An Acknowledger is what a [Lodger] may be in addition: it keeps groups, and knows what they have finished. Retention asks all there are
// about topics that wait for groups ([RetainUntilAcked]), as [RetentionHooks] says of Acknowledged.
type Acknowledger interface {
	// Acknowledged tells below which offset a group has finished a partition. It is durable. known is false for a group that it does not
	// have; an error says that it cannot tell now. It must not wait for whoever waits for a partition to be opened.
	Acknowledged(p *Partition, group string) (offset int64, known bool, err error)
}

// acknowledged asks the lodgers; ok is false unless each group is known to one of them.
func acknowledged(p *Partition, groups []string) (offset int64, ok bool) {
	offset = math.MaxInt64
	lodgers := p.topic.eng.allLodgers()
	for _, group := range groups {
		some := false
		for _, l := range lodgers {
			a, keeps := l.(Acknowledger)
			if !keeps {
				continue
			}
			at, known, err := a.Acknowledged(p, group)
			if err != nil {
				return 0, false
			}
			if known {
				offset, some = min(offset, at), true
			}
		}
		if !some {
			return 0, false
		}
	}
	return offset, true
}

// Lodge gives what the engine keeps under key, and makes it if there is nothing yet. fresh is called outside locks; when two callers are
// there at once, one of the values made is dropped, so making one must cost nothing. Keys are compared as those of a context are: use a
// type of your own. ErrClosed after Close.
func (e *Engine) Lodge(key any, fresh func() Lodger) (Lodger, error) {
	if e == nil {
		return nil, unmade("Engine")
	}
	if l, err := e.lodger(key); l != nil || err != nil {
		return l, err
	}
	if e.isClosed() {
		return nil, ErrClosed
	}
	made := fresh()
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.closed:
		return nil, ErrClosed
	case e.lodgers[key] != nil:
		return e.lodgers[key], nil
	case e.lodgers == nil:
		e.lodgers = map[any]Lodger{}
	}
	e.lodgers[key] = made
	return made, nil
}

func (e *Engine) lodger(key any) (Lodger, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.closed {
		return nil, ErrClosed
	}
	return e.lodgers[key], nil
}

// Go runs f in a goroutine of the engine, which Close waits for: f must end soon after Close has begun, when calls to the engine fail. It
// reports false, and does not run f, once Close has begun.
func (e *Engine) Go(f func()) bool { return e.goFunc(f) }

// allLodgers is a snapshot, in no order.
func (e *Engine) allLodgers() []Lodger {
	e.mu.RLock()
	defer e.mu.RUnlock()
	list := make([]Lodger, 0, len(e.lodgers))
	for _, l := range e.lodgers {
		list = append(list, l)
	}
	return list
}

// topicsChanged tells lodgers.
func (e *Engine) topicsChanged(names ...string) {
	for _, l := range e.allLodgers() {
		l.TopicsChanged(names)
	}
}

// drainLodgers lets lodgers store what they have, all at once, so that one that takes its time leaves the others theirs.
func (e *Engine) drainLodgers(ctx context.Context) error {
	lodgers := e.allLodgers()
	faults := make([]error, len(lodgers))
	var wg sync.WaitGroup
	for i, l := range lodgers {
		wg.Go(func() { faults[i] = l.Drain(ctx) })
	}
	wg.Wait()
	return errors.Join(faults...)
}
