package main

import (
	"context"
	"sync"

	"github.com/quirelog/quire/examples"
	"github.com/quirelog/quire/topic"
)

// produce sends the visits in order and returns when each is either on disk or has failed. acked is called once for each record on disk,
// with its place, in the order of its partition.
func produce(ctx context.Context, eng *topic.Engine, visits []examples.Visit, acked func(examples.Visit, topic.Position)) error {
	p, err := eng.NewProducer()
	if err != nil {
		return err
	}
	defer p.Close()

	var failures faults
	for _, v := range visits {
		err := p.Send(ctx, topicName, recordOf(v), func(pos topic.Position, err error) {
			if err != nil {
				failures.note(err)
				return
			}
			acked(v, pos)
		})
		if err != nil {
			return err
		}
	}
	if err := p.Flush(ctx); err != nil {
		return err
	}
	return failures.first()
}

// faults keeps the first error of many callbacks.
type faults struct {
	mu  sync.Mutex
	err error
}

func (f *faults) note(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
}

func (f *faults) first() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}
