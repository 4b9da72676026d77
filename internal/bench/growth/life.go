package growth

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/quirelog/quire/internal/bench/machine"
	"github.com/quirelog/quire/topic"
)

// The curves of a topic's life, in the order of its samples. All but the calls for one partition are costs of the whole by partition.
func lifeFamilies() []*family {
	const mark, files = "the syncs of one mark", "files made, synced and removed"
	curve := func(id, name, why string, each Limits, call Counts) Curve {
		return Curve{ID: id, Name: name, Unit: "partition", Machine: why, Limits: each, Call: call}
	}
	f := &family{id: "topics", axis: "partitions", points: partitionPoints, once: true, quire: living{}.quire, raw: living{}.raw, curves: []Curve{
		curve("create", "CreateTopic", mark, Limits{0.2, 0, -1, 0, 0}, Counts{Allocs: 500, Writes: 1, Syncs: 1, Opens: 1}),
		curve("use", "first append to each", files, Limits{230, 6, -1, 7, 5}, Counts{Allocs: 100, Writes: 2, Syncs: 3, Opens: 2}),
		curve("alter", "AlterTopic, all in use", mark, Limits{15, 0, -1, 0, 0}, Counts{Allocs: 400, Writes: 2, Syncs: 3, Opens: 3}),
		curve("delete", "DeleteTopic, all in use", mark, Limits{100, 0, -1, 0, 1}, Counts{Allocs: 300, Writes: 2, Syncs: 4, Opens: 2}),
		curve("gone", "the same until its files are gone", files, Limits{-1, 0, -1, 0, 1}, Counts{Writes: 2, Syncs: 4, Opens: 2}),
		curve("close", "Engine.Close, all in use", files, Limits{100, 3, -1, 2, 4}, Counts{Allocs: 400, Writes: 6, Syncs: 10, Opens: 6}),
		curve("open", "Open", mark, Limits{45, 0, -1, 0, 0}, Counts{Allocs: 900, Writes: 1, Syncs: 2, Opens: 10}),
		curve("warm", "first Warm of each after that", files, Limits{250, 0, -1, 0, 5}, Counts{Allocs: 200, Writes: 1, Syncs: 2, Opens: 1}),
	}}
	return []*family{f}
}

// living takes a topic of many partitions through its life; two topics, as one is deleted while it is in use.
type living struct{}

func (living) quire(e *env, n int, _ any) (*rig, error) {
	return &rig{all: func() ([]sample, error) {
		g, err := e.openEngine(0)
		if err != nil {
			return nil, err
		}
		list, err := g.life(n)
		return list, errors.Join(err, g.end())
	}, close: func() error { return nil }}, nil
}

// stages measures one after the other; n is what each did.
type stages struct {
	n     int
	calls *machine.Counter
	list  []sample
	err   error
}

func (s *stages) stage(f func() error) {
	if s.err != nil {
		return
	}
	m, err := timed(s.calls, func() (int, error) { return s.n, f() })
	s.list, s.err = append(s.list, m), err
}

// aside does what is not measured.
func (s *stages) aside(f func() error) {
	if s.err == nil {
		s.err = f()
	}
}

func (g *engine) life(n int) ([]sample, error) {
	s := &stages{n: n, calls: &g.fs.Calls}
	ctx := context.Background()
	var parts []*topic.Partition
	find := func() (err error) {
		parts, err = g.partitions(n)
		return err
	}
	s.stage(func() error {
		_, err := g.CreateTopic(ctx, growing, topic.Partitions(n), topic.NoSync())
		return err
	})
	s.aside(find)
	s.stage(func() error { return touch(parts) })
	s.aside(func() error { g.hold(&s.list[1]); return nil })
	s.stage(func() error { return g.AlterTopic(ctx, growing, topic.RetentionBytes(1<<40)) })
	begin := time.Now()
	s.stage(func() error { return g.DeleteTopic(ctx, growing) })
	s.stage(func() error { return waitGone(g.dir) })
	s.aside(func() (err error) {
		s.list[4].elapsed = time.Since(begin)
		parts, err = g.use(n, topic.NoSync())
		return err
	})
	s.stage(g.Close)
	s.stage(g.reopen)
	s.aside(find)
	s.stage(func() error { return each(n, func(i int) error { return parts[i].Warm(ctx) }) })
	s.aside(func() error { g.hold(&s.list[7]); return nil })
	return s.list, s.err
}

func (g *engine) partitions(n int) (list []*topic.Partition, err error) {
	list = make([]*topic.Partition, n)
	for i := range list {
		if list[i], err = g.Partition(growing, int32(i)); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// waitGone waits until the directory holds nothing of the topic.
func waitGone(dir string) error {
	for until := time.Now().Add(10 * time.Minute); time.Now().Before(until); time.Sleep(time.Millisecond) {
		names, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		left := 0
		for _, f := range names {
			if strings.HasPrefix(f.Name(), growing) {
				left++
			}
		}
		if left == 0 {
			return nil
		}
	}
	return errors.New("files of a deleted topic are still there")
}

// rawNames are the files of a partition that was used.
var rawNames = []string{"log", "index", "timeindex", "metadata"}

func (living) raw(e *env, n int, _ any) (*rig, error) {
	return &rig{all: func() ([]sample, error) {
		dir, err := e.fresh("raw")
		if err != nil {
			return nil, err
		}
		l := &rawLife{dir: dir, n: n, logs: make([]*os.File, n)}
		list, err := l.run()
		return list, errors.Join(err, os.RemoveAll(dir))
	}, close: func() error { return nil }}, nil
}

// rawLife does by system calls what cannot be left out: a mark that is written and synced for each change of a topic, and the files.
type rawLife struct {
	dir  string
	n    int
	logs []*os.File
}

func (l *rawLife) run() ([]sample, error) {
	s := &stages{n: l.n}
	s.stage(l.mark)
	s.stage(func() error { return each(l.n, l.make) })
	s.stage(l.mark)
	begin := time.Now()
	s.stage(l.mark)
	s.stage(func() error { return errors.Join(each(l.n, l.remove), syncDir(l.dir)) })
	s.aside(func() error {
		s.list[4].elapsed = time.Since(begin)
		return each(l.n, l.make)
	})
	s.stage(func() error { return each(l.n, l.sync) })
	s.stage(func() error {
		_, err := os.ReadDir(l.dir)
		return err
	})
	s.stage(func() error { return each(l.n, l.look) })
	s.aside(func() error { return each(l.n, func(i int) error { return l.logs[i].Close() }) })
	return s.list, s.err
}

func (l *rawLife) mark() error {
	f, err := createRaw(filepath.Join(l.dir, "mark"))
	if err != nil {
		return err
	}
	return errors.Join(f.append(make([]byte, 200), true), f.f.Close())
}

func (l *rawLife) part(i int) string { return filepath.Join(l.dir, fmt.Sprint(i)) }

// make makes a directory with its files and syncs what names them; the log stays open.
func (l *rawLife) make(i int) error {
	if err := os.Mkdir(l.part(i), 0o750); err != nil {
		return err
	}
	for k, name := range rawNames {
		f, err := createRaw(filepath.Join(l.part(i), name))
		if err != nil {
			return err
		}
		if err := f.append(make([]byte, recordBytes+rawFrame), false); err != nil {
			return err
		}
		if k == 0 {
			l.logs[i] = f.f
		} else if err := f.f.Close(); err != nil {
			return err
		}
	}
	return errors.Join(syncDir(l.part(i)), syncDir(l.dir))
}

func (l *rawLife) sync(i int) error {
	return errors.Join(machine.Datasync(l.logs[i]), l.logs[i].Close())
}

func (l *rawLife) look(i int) (err error) {
	if _, err := os.ReadDir(l.part(i)); err != nil {
		return err
	}
	if l.logs[i], err = os.Open(filepath.Join(l.part(i), rawNames[0])); err != nil {
		return err
	}
	_, err = l.logs[i].ReadAt(make([]byte, recordBytes+rawFrame), 0)
	return err
}

func (l *rawLife) remove(i int) error {
	gone := l.part(i) + "-delete"
	if err := errors.Join(l.logs[i].Close(), os.Rename(l.part(i), gone)); err != nil {
		return err
	}
	for _, name := range rawNames {
		if err := os.Remove(filepath.Join(gone, name)); err != nil {
			return err
		}
	}
	return os.Remove(gone)
}

func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
