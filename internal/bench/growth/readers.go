package growth

import (
	"context"
	"errors"
	"sync"

	"github.com/quirelog/quire/topic"
)

// headBatch is how many records each round at the head appends.
const headBatch = 20

func readerFamilies() []*family {
	limits := unlimited
	limits.Allocs = 2
	return []*family{{id: "readers", axis: "readers", points: [3][]int{{1, 4}, {1, 10, 100}, {1, 10, 100}}, quire: heading{}.quire, raw: heading{}.raw,
		curves: []Curve{{ID: "head", Name: "append 20 of 100 B, every Consumer at the head has them", Unit: "record and reader", Machine: "waking goroutines", Limits: limits}}}}
}

// heading is readers that wait at the head of one partition.
type heading struct{}

func (heading) quire(e *env, n int, _ any) (*rig, error) {
	g, err := e.openEngine(0)
	if err != nil {
		return nil, err
	}
	parts, err := g.use(1, topic.NoSync())
	if err != nil {
		return nil, errors.Join(err, g.end())
	}
	ctx, stop := context.WithCancel(context.Background())
	seen, done := make(chan int, n), make(chan error, n)
	closing := func() error {
		stop()
		return g.end()
	}
	var all []*topic.Consumer
	var polls sync.WaitGroup
	for range n {
		c, err := g.NewConsumer()
		if err != nil {
			return nil, errors.Join(err, closing())
		}
		all = append(all, c)
		tp := topic.TopicPartition{Topic: growing}
		if err := errors.Join(c.Assign(tp), c.Seek(tp, 1)); err != nil {
			return nil, errors.Join(err, closing())
		}
		polls.Go(func() { done <- pollAll(ctx, c, seen) })
	}
	recs := make([]topic.Record, headBatch)
	for i := range recs {
		recs[i].Value = make([]byte, recordBytes)
	}
	round := func() error {
		_, err := parts[0].Append(ctx, recs...)
		for left := n * headBatch; left > 0 && err == nil; {
			select {
			case got := <-seen:
				left -= got
			case err = <-done:
			}
		}
		return err
	}
	show := g.show(func() (int, error) {
		rounds, err := e.pingPong(round)
		return rounds * n * headBatch, err
	})
	return &rig{shows: []func() (sample, error){show}, close: func() error {
		stop()
		polls.Wait()
		var errs []error
		for _, c := range all {
			errs = append(errs, c.Close())
		}
		return errors.Join(append(errs, g.end())...)
	}}, nil
}

func (heading) raw(e *env, n int, _ any) (*rig, error) {
	r, err := e.openRaw(1)
	if err != nil {
		return nil, err
	}
	const bytes = headBatch * (recordBytes + 10)
	seen := make(chan int, n)
	bells := make([]chan int64, n)
	for i := range bells {
		bells[i] = make(chan int64, 1)
		go func() {
			got := make([]byte, bytes)
			for end := range bells[i] {
				k, _ := r.files[0].f.ReadAt(got, end-bytes)
				seen <- k
			}
		}()
	}
	buf := make([]byte, bytes)
	round := func() error {
		if err := r.files[0].append(buf, false); err != nil {
			return err
		}
		for _, b := range bells {
			b <- r.files[0].end
		}
		for range n {
			if <-seen != bytes {
				return errors.New("raw: read too little")
			}
		}
		return nil
	}
	show := plain(func() (int, error) {
		rounds, err := e.pingPong(round)
		return rounds * n * headBatch, err
	})
	return &rig{shows: []func() (sample, error){show}, close: func() error {
		for _, b := range bells {
			close(b)
		}
		return r.end()
	}}, nil
}
