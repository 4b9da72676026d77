package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

const (
	soakFast  = 15 * time.Second
	soakLong  = 6 * time.Minute
	soakPhase = 1500 * time.Millisecond // from one stop to the next
	// soakCalm is how long what is open may take to be finished, once nothing is sent any more.
	soakCalm = 60 * time.Second
	// soakLag is how many events may be open: what was not read must not fall to retention.
	soakLag = 500
	// soakGrowth is what the heap may grow by between the first stops and the last.
	soakGrowth = 16 << 20
)

// soak is one directory under a mixed load that is stopped again and again: in good order, killed, by a power cut.
type soak struct {
	disk     *vfs.Crash
	last     *vfs.Crash // of the phase that was
	book     *soakBook
	rng      *rand.Rand
	seed     uint64
	phase    int
	routines int
	heaps    []uint64
}

// runSoak runs the load for real time. A case is one phase; each goes on where the one before stopped.
func runSoak(r *runner, t *tally, seed uint64) {
	length := soakFast
	if r.tier == "long" {
		length = soakLong
	}
	s := newSoak(seed)
	for began := time.Now(); time.Since(began) < length && t.bad() == 0; s.phase++ {
		r.try(t, caseName{t.lane.name, "mixed", strconv.Itoa(s.phase), s.how(), seed}, s.run)
	}
	if t.bad() == 0 {
		r.try(t, caseName{t.lane.name, "mixed", strconv.Itoa(s.phase), "calm", seed}, s.finish)
	}
	t.note("soak: %v, %s", length, s.book)
}

// replaySoak runs as many phases again, with their stops; what happens within them is different each time.
func replaySoak(_ *runner, c caseName) error {
	phases, err := strconv.Atoi(c.Op)
	if err != nil {
		return fmt.Errorf("proof: operation %q is not the number of a phase", c.Op)
	}
	s := newSoak(c.Seed)
	for ; s.phase <= phases; s.phase++ {
		if err := s.run(); err != nil {
			return err
		}
	}
	return s.finish()
}

func newSoak(seed uint64) *soak {
	return &soak{disk: vfs.NewCrash(), book: newSoakBook(), rng: rand.New(rand.NewPCG(seed, 5)), seed: seed, routines: runtime.NumGoroutine()}
}

// how says how a phase ends.
func (s *soak) how() string { return [...]string{"close", "kill", "cut"}[s.phase%3] }

// run is one phase, with its stop.
func (s *soak) run() error {
	p, err := s.open()
	if err != nil {
		return err
	}
	time.Sleep(soakPhase)
	if err := s.stop(p); err != nil {
		return err
	}
	return s.still()
}

// finish sends nothing any more and waits until everything that was sent is handled.
func (s *soak) finish() error {
	s.book.mu.Lock()
	s.book.calm = true
	s.book.mu.Unlock()
	p, err := s.open()
	if err != nil {
		return err
	}
	for began := time.Now(); s.book.open() != "" && s.book.fault() == nil; time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > soakCalm {
			return errors.Join(faultf(lost, "not handled after %v: %s", soakCalm, s.book.open()), s.stop(p))
		}
	}
	last := s.book.compareState(p.eng)
	s.phase = 0 // in good order
	if err := errors.Join(last, s.stop(p)); err != nil {
		return err
	}
	return errors.Join(s.still(), s.grown())
}

// phase is one life of the program.
type phase struct {
	eng     *topic.Engine
	ctx     context.Context
	end     context.CancelFunc
	loops   sync.WaitGroup
	close   []func() error
	entries *entries
}

func (s *soak) open() (*phase, error) {
	eng, err := topic.Open("data", topic.On(s.disk), topic.Logger(slog.New(slog.DiscardHandler)), topic.InternalPartitions(1),
		topic.RetentionEvery(200*time.Millisecond), topic.CompactEvery(200*time.Millisecond), topic.CheckpointEvery(300*time.Millisecond),
		topic.ScrubEvery(time.Second, 4<<20), topic.MaxOpenFiles(64))
	if err != nil {
		return nil, faultf(lost, "open in phase %d: %v", s.phase, err)
	}
	p := &phase{eng: eng, entries: s.book.begin()}
	p.ctx, p.end = context.WithCancel(context.Background())
	if err := s.load(p); err != nil {
		p.end()
		return nil, errors.Join(err, eng.Close())
	}
	return p, nil
}

// stop ends a phase, by its number. Of a program that is killed nothing counts that it told afterwards.
func (s *soak) stop(p *phase) error {
	defer p.end()
	s.last = s.disk
	switch s.how() {
	case "kill":
		s.book.die(p.entries, func() { s.disk = s.disk.Kill(s.seed + uint64(s.phase)) })
	case "cut":
		s.book.die(p.entries, func() { s.disk = s.disk.After(vfs.KeepNone, s.seed+uint64(s.phase)) })
	default:
		p.end()
		p.loops.Wait()
		s.book.die(p.entries, func() {})
		for _, end := range append(p.close, p.eng.Close) {
			if err := end(); err != nil {
				return err
			}
		}
		s.book.mu.Lock()
		s.book.clean = true
		s.book.mu.Unlock()
		return s.book.fault()
	}
	p.end()
	_ = p.eng.Close() // of the program that is dead
	p.loops.Wait()
	return s.book.fault()
}

// still holds goroutines and open files against those of the begin, and notes the heap. What a call that its context ended has left to do
// ends a moment later.
func (s *soak) still() error {
	for range 500 {
		if runtime.NumGoroutine() <= s.routines+2 && s.last.OpenFiles() == 0 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			s.heaps = append(s.heaps, m.HeapAlloc-min(m.HeapAlloc, diskBytes(s.disk)))
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	buf := make([]byte, 1<<16)
	return faultf(wrong, "after a stop %d files are open and there are %d goroutines, %d at the begin\n%s", s.last.OpenFiles(), runtime.NumGoroutine(),
		s.routines, buf[:runtime.Stack(buf, true)])
}

// diskBytes is what the disk in memory holds: internal topics are compacted when their segments, large ones, are full.
func diskBytes(disk *vfs.Crash) (n uint64) {
	dirs, _ := disk.List("data")
	for _, dir := range dirs {
		names, _ := disk.List(filepath.Join("data", dir))
		for _, name := range names {
			info, _ := disk.Stat(filepath.Join("data", dir, name))
			n += uint64(info.Size)
		}
	}
	return n
}

// grown compares the heap of the last stops, without the disk's, with that of the first ones.
func (s *soak) grown() error {
	if n := len(s.heaps); n >= 8 {
		first, last := s.heaps[2:n/2], s.heaps[n/2:]
		if least(last) > least(first)+soakGrowth {
			return faultf(wrong, "the heap grows: %d bytes after the first stops, %d at last", least(first), least(last))
		}
	}
	return nil
}

func least(list []uint64) uint64 {
	m := list[0]
	for _, n := range list {
		m = min(m, n)
	}
	return m
}

// load starts everything that a program may do with an engine.
func (s *soak) load(p *phase) error {
	ctx, small := p.ctx, []topic.TopicOption{topic.SegmentBytes(64 << 10)}
	var faults []error
	made := func(name string, opts ...topic.TopicOption) *topic.Topic {
		t, err := p.eng.Topic(ctx, name, append(opts, small...)...)
		faults = append(faults, err)
		return t
	}
	bounded := topic.RetentionBytes(1 << 20)
	events, copies := made("events", topic.Partitions(3), bounded), made("copies", bounded)
	state, later := made("state", topic.CleanupWith(topic.CleanupCompact)), made("later", bounded)
	made("jobs", bounded)
	if err := errors.Join(faults...); err != nil {
		return err
	}
	m, err1 := group.Join(ctx, p.eng, "billing", group.Topics("events"), group.CommitEvery(50*time.Millisecond))
	q, err2 := group.OpenQueue(ctx, p.eng, "jobs", group.Backoff(5*time.Millisecond, 20*time.Millisecond), group.MaxAttempts(1000))
	r, err3 := group.OpenRouter(ctx, p.eng, "router", group.From("events"), group.JoinWith(group.CommitEvery(50*time.Millisecond)), group.Bind(group.Fanout("copies")))
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	p.close = []func() error{r.Close, q.Close, m.Close}
	for w := range 3 {
		p.loop(s, "producer", func() error { return s.book.produce(p, events, w) })
	}
	p.loop(s, "group", func() error {
		return m.Run(ctx, 2, func(_ context.Context, b *group.Batch) error { return s.book.consumed(p.entries, b.Records) })
	})
	p.loop(s, "router", func() error { return r.Run(ctx, 2) })
	p.loop(s, "copies", func() error { return s.book.follow(p, copies) })
	p.loop(s, "queue", func() error { return q.Run(ctx, 4, s.book.work(p.entries)) })
	p.loop(s, "jobs", func() error { return s.book.send(p, q.Topic()) })
	p.loop(s, "state", func() error { return s.book.keep(p, state) })
	p.loop(s, "delays", func() error { return s.book.delay(p, later) })
	p.loop(s, "later", func() error { return s.book.arrive(p, later) })
	return nil
}

// loop runs one part of the load until the phase ends. A part that ends by itself is wrong, unless the program is dead.
func (p *phase) loop(s *soak, what string, run func() error) {
	p.loops.Go(func() {
		if err := run(); p.ctx.Err() == nil {
			s.book.blame(p.entries, faultf(wrong, "%s ended: %v", what, err))
		}
	})
}
