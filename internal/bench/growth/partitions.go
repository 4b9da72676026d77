package growth

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/quirelog/quire/topic"
)

var partitionPoints = [3][]int{{1, 10}, {1, 10, 100, 1000}, {1, 10, 100, 1000, 10_000}}

// partitionFamilies share a topic each, so that its partitions are made once.
func partitionFamilies() []*family {
	noSync, durable, few := spreading{}, spreading{durable: true}, spreading{few: true}
	small, large, synced := producing{size: 100}, producing{size: 1000}, producing{size: 100, durable: true}
	list := []*family{
		spread(durable, part{durable.curve("durable", "durable append, 64 goroutines", "an fdatasync for each file", Limits{5, 2.2, -1, 1.1, 0.2}), durable.quire, durable.raw},
			part{synced.curve("producer-durable"), synced.quire, synced.raw}),
		spread(noSync, part{noSync.curve("nosync", "NoSync append, 64 goroutines", "a write to one of many files", Limits{0.5, 1.1, -1, 0.05, 0.05}), noSync.quire, noSync.raw},
			part{small.curve("producer-100"), small.quire, small.raw},
			part{large.curve("producer-1000"), large.quire, large.raw},
			part{polling{}.curve(), polling{}.quire, polling{}.raw}),
		spread(few, part{few.curve("few-files", "NoSync append, MaxOpenFiles for a tenth", "a file opened and closed for each record", Limits{10, 1.1, -1, 0.05, 3}), few.quire, few.raw}),
	}
	list[2].points = [3][]int{{20}, {50, 500}, {100, 1000, 10_000}}
	return list
}

// A part is one curve of many partitions, and what each contender shows for it.
type part struct {
	curve Curve
	quire func(*manyPartitions) (show func() (sample, error), end func() error, err error)
	raw   func(*env, *rawFiles) (show func() (sample, error), end func() error, err error)
}

// manyPartitions is a topic whose partitions were all used.
type manyPartitions struct {
	*engine
	parts []*topic.Partition
}

// spread is a family of such parts.
func spread(s spreading, parts ...part) *family {
	f := &family{id: "partitions", axis: "partitions", points: partitionPoints}
	for _, p := range parts {
		f.curves = append(f.curves, p.curve)
	}
	f.quire = func(e *env, n int, _ any) (*rig, error) {
		m, err := s.open(e, n)
		if err != nil {
			return nil, err
		}
		r := &rig{close: m.end}
		for _, p := range parts {
			err = errors.Join(err, r.add(p.quire(m)))
		}
		return r.or(err)
	}
	f.raw = func(e *env, n int, _ any) (*rig, error) {
		files, err := e.openRaw(n)
		if err != nil {
			return nil, err
		}
		r := &rig{close: files.end}
		for _, p := range parts {
			err = errors.Join(err, r.add(p.raw(e, files)))
		}
		return r.or(err)
	}
	return f
}

// add takes a part in; what it began ends before what it stands on.
func (r *rig) add(show func() (sample, error), end func() error, err error) error {
	r.shows = append(r.shows, show)
	if before := r.close; end != nil {
		r.close = func() error { return errors.Join(end(), before()) }
	}
	return err
}

// or is the rig, closed when there is an error.
func (r *rig) or(err error) (*rig, error) {
	if err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// spreading is single records appended by many goroutines to partitions at random.
type spreading struct {
	durable bool
	few     bool // descriptors for a tenth of the partitions
}

func (s spreading) curve(id, name, machine string, l Limits) Curve {
	return Curve{ID: id, Name: name, Unit: "record", Machine: machine, Limits: l}
}

func (s spreading) open(e *env, n int) (*manyPartitions, error) {
	files, level := 0, topic.NoSync()
	if s.few {
		files = max(16, n/10)
	}
	if s.durable {
		level = topic.Durable()
	}
	g, err := e.openEngine(files)
	if err != nil {
		return nil, err
	}
	g.heapBound = producerBuffer + engineHeap + partitionHeap*float64(n)
	parts, err := g.use(n, level)
	if err != nil {
		return nil, errors.Join(err, g.end())
	}
	return &manyPartitions{g, parts}, nil
}

func (s spreading) quire(m *manyPartitions) (show func() (sample, error), end func() error, err error) {
	recs := []topic.Record{{Value: make([]byte, recordBytes)}}
	return m.show(func() (int, error) {
		return m.e.spread(len(m.parts), func(_, i int) error {
			_, err := m.parts[i].Append(context.Background(), recs...)
			return err
		})
	}), nil, nil
}

// show measures f and what the engine holds then.
func (g *engine) show(f func() (int, error)) func() (sample, error) {
	return func() (sample, error) {
		m, err := timed(&g.fs.Calls, f)
		g.hold(&m)
		return m, err
	}
}

func (s spreading) raw(e *env, r *rawFiles) (show func() (sample, error), end func() error, err error) {
	var bufs [workers][recordBytes + rawFrame]byte
	one := func(w, i int) error { return r.files[i].append(bufs[w][:], s.durable) }
	if s.few {
		one = func(w, i int) error {
			again, err := createRaw(r.files[i].f.Name())
			if err != nil {
				return err
			}
			return errors.Join(again.append(bufs[w][:], false), again.f.Close())
		}
	}
	return plain(func() (int, error) { return e.spread(len(r.files), one) }), nil, nil
}

// plain measures what no engine does.
func plain(f func() (int, error)) func() (sample, error) {
	return func() (sample, error) { return timed(nil, f) }
}

// spread has all workers append, each to partitions at random, until the slice is over, and counts.
func (e *env) spread(n int, append func(worker, partition int) error) (int, error) {
	var wg sync.WaitGroup
	var counts [workers]int
	var faults [workers]error
	until := time.Now().Add(e.slice)
	for w := range workers {
		wg.Go(func() {
			pick := rand.New(rand.NewPCG(uint64(w), uint64(n)))
			done := 0
			for faults[w] == nil && time.Now().Before(until) {
				faults[w] = append(w, pick.IntN(n))
				done++
			}
			counts[w] = done
		})
	}
	wg.Wait()
	sum := 0
	for _, c := range counts {
		sum += c
	}
	return sum, errors.Join(faults[:]...)
}
