package main

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

const (
	topicsCuts   = 96 // in the fast tier
	topicsAtOnce = 1500
	topicsSteps  = 600 // changes of single topics, enough for a new snapshot of the manifest
)

// runTopics makes thousands of topics, by one call and by single ones, alters, uses and deletes them, one after the other or from several goroutines,
// cuts the power on the way, at strides, sometimes again while the directory is opened, and holds what is there against the model.
func runTopics(r *runner, t *tally, seed uint64) {
	whole := newManyTopics(vfs.NewCrash(), 1, seed)
	if err := errors.Join(whole.open(), whole.run(topicsSteps), whole.eng.Close()); err != nil {
		t.add(caseName{t.lane.name, "whole", "0", "none", seed}, err)
		return
	}
	cuts, ops := topicsCuts*r.count, whole.disk.Ops()
	policies := vfs.Policies()
	r.each(cuts, func(i int) {
		scenario, policy := "alone", policies[i/2%len(policies)].String()
		if i%2 == 1 {
			scenario = "together"
		}
		if i%7 == 6 {
			policy = "kill"
		}
		name := caseName{t.lane.name, scenario, strconv.Itoa(1 + i*ops/cuts), policy, seed}
		r.try(t, name, func() error { return cutTopics(name) })
	})
}

func replayTopics(_ *runner, c caseName) error { return cutTopics(c) }

// cutTopics runs a program up to a cut, and looks at what is there then, again after some more changes and an orderly stop.
func cutTopics(c caseName) error {
	at, err := strconv.Atoi(c.Op)
	if err != nil {
		return fmt.Errorf("proof: operation %q is not a number", c.Op)
	}
	workers := map[string]int{"alone": 1, "together": 4}[c.Scenario]
	if workers == 0 {
		return unknownScenario(c)
	}
	m := newManyTopics(vfs.NewCrash(), workers, c.Seed)
	m.disk.CrashAt(at)
	if err := errors.Join(m.open(), m.run(topicsSteps)); err != nil && !m.disk.Crashed() {
		return faultf(wrong, "on a good disk: %v", err)
	}
	if err := m.cut(c.Policy, uint64(at)); err != nil {
		return err
	}
	if at%2 == 0 { // again, in the opening
		m.disk.CrashAt(1 + at/2%8)
		if err := m.open(); err != nil && !m.disk.Crashed() {
			return faultf(lost, "not opened after the cut: %v", err)
		}
		if err := m.cut(c.Policy, uint64(at)+1); err != nil {
			return err
		}
	}
	if err := m.open(); err != nil {
		return faultf(lost, "not opened after the cut: %v", err)
	}
	if err := m.check(); err != nil {
		return errors.Join(err, m.eng.Close())
	}
	if err := errors.Join(m.run(topicsSteps/10), m.eng.Close(), m.open()); err != nil {
		return faultf(wrong, "after the cut: %v", err)
	}
	return errors.Join(m.check(), m.tidy(), m.eng.Close())
}

// oneTopic is what is known of a topic; the zero value is none.
type oneTopic struct {
	partitions int
	bytes      int64 // of retention: what is altered
	records    int64 // in partition 0
}

// manyTopics is a program and its model. Each worker has names of its own.
type manyTopics struct {
	disk  *vfs.Crash
	eng   *topic.Engine
	dice  []*rand.Rand // of the workers
	names [][]string
	whole bool // the call for many has returned

	opened bool

	mu    sync.Mutex
	now   map[string]oneTopic
	begun map[string]oneTopic // what changes under way would make
	used  map[string]bool     // names under which there were records
}

func newManyTopics(disk *vfs.Crash, workers int, seed uint64) *manyTopics {
	m := &manyTopics{disk: disk, now: map[string]oneTopic{}, begun: map[string]oneTopic{}, used: map[string]bool{}}
	for w := range workers {
		m.dice = append(m.dice, rand.New(rand.NewPCG(seed, uint64(w))))
		m.names = append(m.names, nil)
	}
	for i := range 2 * topicsAtOnce {
		w := i % workers
		m.names[w] = append(m.names[w], fmt.Sprintf("topic%05d", i))
	}
	return m
}

func (m *manyTopics) open() (err error) {
	m.eng, err = topic.Open(engineDir, topic.On(m.disk), topic.Logger(slog.New(slog.DiscardHandler)))
	m.opened = err == nil
	return err
}

// cut takes the power away, or the process.
func (m *manyTopics) cut(policy string, seed uint64) error {
	dead, opened := m.disk, m.opened
	if policy == "kill" {
		m.disk = dead.Kill(seed)
	} else {
		p, err := vfs.ParsePolicy(policy)
		if err != nil {
			return err
		}
		m.disk = dead.After(p, seed)
	}
	if opened {
		_ = m.eng.Close() // of the program that is dead
	}
	return nil
}

// run makes topics by one call, unless there are some, and then changes single ones.
func (m *manyTopics) run(steps int) error {
	if !m.opened {
		return nil
	}
	if !m.whole {
		if err := m.makeMany(); err != nil {
			return err
		}
	}
	faults := make([]error, len(m.dice))
	var wg sync.WaitGroup
	for w := range m.dice {
		wg.Go(func() {
			for range steps / len(m.dice) {
				if faults[w] = m.step(m.dice[w], m.names[w]); faults[w] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(faults...)
}

func (m *manyTopics) makeMany() error {
	var list []topic.NewTopic
	for i := range topicsAtOnce {
		name := fmt.Sprintf("topic%05d", i)
		want := oneTopic{partitions: 1 + i%3, bytes: -1}
		m.begun[name] = want
		list = append(list, topic.NewTopic{Name: name, Options: []topic.TopicOption{topic.Partitions(want.partitions)}})
	}
	if _, err := m.eng.CreateTopics(ctx(), list...); err != nil {
		return err
	}
	m.whole, m.now = true, m.begun
	m.begun = map[string]oneTopic{}
	return nil
}

// step changes one topic: one that is not there is made; of the others a third is altered, a third deleted, a third gets a record.
func (m *manyTopics) step(dice *rand.Rand, names []string) error {
	name := names[dice.IntN(len(names))]
	m.mu.Lock()
	want := m.now[name]
	m.mu.Unlock()
	var change func() error
	switch kind := dice.IntN(3); {
	case want.partitions == 0:
		want = oneTopic{partitions: 1 + dice.IntN(3), bytes: -1}
		change = func() error {
			_, err := m.eng.CreateTopic(ctx(), name, topic.Partitions(want.partitions))
			return err
		}
	case kind == 0:
		want.bytes, want.partitions = dice.Int64N(1<<40), want.partitions+dice.IntN(2)
		change = func() error {
			return m.eng.AlterTopic(ctx(), name, topic.RetentionBytes(want.bytes), topic.Partitions(want.partitions))
		}
	case kind == 1:
		want = oneTopic{}
		change = func() error { return m.eng.DeleteTopic(ctx(), name) }
	default:
		want.records++
		m.use(name)
		change = func() error {
			t, err := m.eng.Topic(ctx(), name)
			if err == nil {
				_, err = t.Append(ctx(), topic.Record{Value: []byte(name)}, topic.AppendTo(0))
			}
			return err
		}
	}
	m.note(m.begun, name, want)
	if err := change(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	m.note(m.now, name, want)
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.begun, name)
	return nil
}

func (m *manyTopics) use(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used[name] = true
}

func (m *manyTopics) note(list map[string]oneTopic, name string, to oneTopic) {
	m.mu.Lock()
	defer m.mu.Unlock()
	list[name] = to
}

// check holds the engine's topics against the model: what was told to be done is, and what was under way is done or not. From then on the model
// says what was found.
func (m *manyTopics) check() error {
	list, err := m.eng.Topics(ctx())
	if err != nil {
		return err
	}
	found := map[string]oneTopic{}
	for _, t := range list {
		one := oneTopic{partitions: t.Partitions(), bytes: t.Settings().RetentionBytes}
		if m.used[t.Name()] {
			if one.records, err = firstRecords(t); err != nil {
				return faultf(lost, "%v", err)
			}
		}
		found[t.Name()] = one
	}
	if n := len(found); !m.whole && n != 0 && n != topicsAtOnce {
		return faultf(wrong, "one call made %d topics of %d", n, topicsAtOnce)
	}
	m.whole = m.whole || len(found) > 0
	for _, name := range slices.Concat(m.names...) {
		got, want := found[name], m.now[name]
		next, doubt := m.begun[name]
		if got != want && (!doubt || got != next) {
			return faultf(lost, "topic %s is %+v, not %+v; under way: %v %+v", name, got, want, doubt, next)
		}
		m.now[name] = got
		delete(found, name)
	}
	m.begun = map[string]oneTopic{}
	if len(found) > 0 {
		return faultf(wrong, "topics that were never made: %v", found)
	}
	return nil
}

func firstRecords(t *topic.Topic) (int64, error) {
	p, err := t.Partition(0)
	if err != nil {
		return 0, err
	}
	end, err := p.End()
	if err != nil {
		return 0, fmt.Errorf("%s: %w", t.Name(), err)
	}
	for offset := range end {
		if r, err := p.Get(ctx(), offset); err != nil || string(r.Value) != t.Name() {
			return 0, fmt.Errorf("%s: offset %d holds %q: %w", t.Name(), offset, r.Value, err)
		}
	}
	return end, nil
}

// tidy looks for directories that no topic of the model has.
func (m *manyTopics) tidy() error {
	names, err := m.disk.List(engineDir)
	if err != nil {
		return err
	}
	for _, base := range names {
		name, n, is := strings.Cut(base, "-")
		if number, err := strconv.Atoi(n); is && strings.HasPrefix(name, "topic") && (err != nil || number >= m.now[name].partitions) {
			return faultf(wrong, "directory %s is left over", base)
		}
	}
	return nil
}
