package growth

import (
	"context"
	"errors"
	"os"
	"sync"

	"github.com/quirelog/quire/internal/bench/machine"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

const (
	growing     = "growing" // the topic that is measured
	workers     = 64
	recordBytes = 100
)

// An engine is quire on disk, its calls counted.
type engine struct {
	*topic.Engine
	e          *env
	dir        string
	fs         *machine.CountingFS
	opts       []topic.Option
	filesBound int
	heapBound  float64 // by the options, what the engine takes for itself included; 0: none names it
}

// openEngine opens one in a directory of its own; files is its MaxOpenFiles, 0 for the default.
func (e *env) openEngine(files int, opts ...topic.Option) (*engine, error) {
	dir, err := e.fresh("quire")
	if err != nil {
		return nil, err
	}
	if files > 0 {
		opts = append(opts, topic.MaxOpenFiles(files))
	}
	g := e.at(dir, opts...)
	if files > 0 {
		g.filesBound = files
	}
	return g, g.reopen()
}

// at is an engine that is not open yet, in a directory that is there.
func (e *env) at(dir string, opts ...topic.Option) *engine {
	g := &engine{e: e, dir: dir, fs: &machine.CountingFS{FS: vfs.OS()}, filesBound: machine.MostFiles()}
	g.opts = append(opts, topic.On(g.fs))
	return g
}

func (g *engine) reopen() (err error) {
	g.Engine, err = topic.Open(g.dir, g.opts...)
	return err
}

// end closes the engine and removes its directory.
func (g *engine) end() error { return errors.Join(g.Close(), os.RemoveAll(g.dir)) }

// hold notes in a sample what the engine holds now.
func (g *engine) hold(s *sample) {
	s.heap, s.heapBound = machine.HeapInUse()-g.e.heap, g.heapBound
	s.files, s.filesBound = g.Metrics().OpenFiles, g.filesBound
}

// use makes the topic with n partitions, each used once, and gives them.
func (g *engine) use(n int, opts ...topic.TopicOption) ([]*topic.Partition, error) {
	t, err := g.Topic(context.Background(), growing, append(opts, topic.Partitions(n))...)
	if err != nil {
		return nil, err
	}
	parts := make([]*topic.Partition, n)
	for i := range parts {
		if parts[i], err = t.Partition(int32(i)); err != nil {
			return nil, err
		}
	}
	return parts, touch(parts)
}

// touch appends a record to each partition.
func touch(parts []*topic.Partition) error {
	rec := topic.Record{Value: make([]byte, recordBytes)}
	return each(len(parts), func(i int) error {
		_, err := parts[i].Append(context.Background(), rec)
		return err
	})
}

// each calls f for 0 to n-1, from as many goroutines as write.
func each(n int, f func(i int) error) error { return inParallel(workers, n, f) }

func inParallel(callers, n int, f func(i int) error) error {
	var wg sync.WaitGroup
	faults := make([]error, min(n, callers))
	for w := range faults {
		wg.Go(func() {
			for i := w; i < n && faults[w] == nil; i += len(faults) {
				faults[w] = f(i)
			}
		})
	}
	wg.Wait()
	return errors.Join(faults...)
}
