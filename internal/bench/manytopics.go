package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/internal/bench/machine"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

const (
	topicCallers = 16
	// topicEntry is what raw writes for a change: about what the catalog's line of one takes.
	topicEntry = 200
	// mostTopicSyncs is how many syncs a change of one topic may cost at most, new snapshots of the manifest with it: noise cannot move it.
	mostTopicSyncs = 1.05
)

// manyTopics changes the topics of an engine on disk.
type manyTopics struct {
	eng   *topic.Engine
	n     int
	syncs atomic.Int64
	raw   time.Duration // a write and a sync
	rows  table
}

// measureManyTopics prints what it costs to have thousands of topics: made by one call and by single ones, altered, deleted, opened.
func measureManyTopics(e *env, w io.Writer) (broken []string, err error) {
	dir, err := e.fresh(quire{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	m := &manyTopics{n: e.topics, rows: table{{"", "topics", "s", "us/topic", "syncs/topic", "x raw"}}}
	if m.raw, err = rawChange(dir, e.slice); err != nil {
		return nil, err
	}
	disk := vfs.NewFault(vfs.OS())
	for _, op := range []vfs.Op{vfs.OpSync, vfs.OpSyncDir} {
		disk.Add(vfs.Rule{Op: op, Count: vfs.Forever, Done: true, Hook: func(vfs.Op, string) { m.syncs.Add(1) }})
	}
	home := filepath.Join(dir, "topics")
	if m.eng, err = topic.Open(home, topic.On(disk)); err != nil {
		return nil, err
	}
	broken, err = m.change()
	if err = errors.Join(err, m.eng.Close()); err != nil {
		return nil, err
	}
	err = m.measure("opened", func() (err error) {
		m.eng, err = topic.Open(home, topic.On(disk))
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &lines{w: w}
	out.line("\nTHOUSANDS OF TOPICS: on disk, single calls by %d goroutines; raw is a write of %d bytes and an fdatasync, one after the other: %d us",
		topicCallers, topicEntry, m.raw.Microseconds())
	out.table(m.rows.writeText, 1)
	return broken, errors.Join(out.err, m.eng.Close())
}

// rawChange is what a write and an fdatasync take.
func rawChange(dir string, slice time.Duration) (each time.Duration, err error) {
	f, err := os.Create(filepath.Join(dir, "raw"))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	n, begin := int64(0), time.Now()
	for entry := make([]byte, topicEntry); time.Since(begin) < 4*slice; n++ {
		if _, err := f.WriteAt(entry, n*topicEntry); err != nil {
			return 0, err
		}
		if err := machine.Datasync(f); err != nil {
			return 0, err
		}
	}
	return time.Since(begin) / time.Duration(n), nil
}

// topicCall is a change of one topic.
type topicCall struct {
	what string
	call func(i int) error
}

// change makes, alters and deletes topics, alone and beside a group that has a member; those made by single calls are there at the end.
func (m *manyTopics) change() (broken []string, err error) {
	ctx := context.Background()
	many := make([]topic.NewTopic, m.n)
	for i := range many {
		many[i].Name = fmt.Sprintf("many-%d", i)
	}
	err = m.measure("made by one call", func() error {
		_, err := m.eng.CreateTopics(ctx, many...)
		return err
	})
	if err != nil {
		return nil, err
	}
	create := func(kind string) func(i int) error {
		return func(i int) error {
			_, err := m.eng.CreateTopic(ctx, fmt.Sprintf("%s-%d", kind, i), topic.SegmentBytes(1<<20))
			return err
		}
	}
	broken, err = m.singly(
		topicCall{"made by single calls", create("single")},
		topicCall{"altered", func(i int) error {
			return m.eng.AlterTopic(ctx, many[i].Name, topic.RetentionBytes(int64(i)), topic.Partitions(2))
		}},
		topicCall{"deleted", func(i int) error { return m.eng.DeleteTopic(ctx, many[i].Name) }},
	)
	if err != nil {
		return nil, err
	}
	member, err := group.Join(ctx, m.eng, "beside", group.Topics("single-0"))
	if err != nil {
		return nil, err
	}
	more, err := m.singly(
		topicCall{"made beside a group", create("beside")},
		topicCall{"deleted beside a group", func(i int) error { return m.eng.DeleteTopic(ctx, fmt.Sprintf("beside-%d", i)) }},
	)
	return append(broken, more...), errors.Join(err, member.Close())
}

// singly does changes topic by topic.
func (m *manyTopics) singly(list ...topicCall) (broken []string, err error) {
	for _, c := range list {
		before := m.syncs.Load()
		if err := m.measure(c.what, func() error { return m.each(c.call) }); err != nil {
			return nil, err
		}
		if syncs := float64(m.syncs.Load()-before) / float64(m.n); syncs > mostTopicSyncs {
			broken = append(broken, fmt.Sprintf("topics %s: %.2f syncs each > %.2f", c.what, syncs, mostTopicSyncs))
		}
	}
	return broken, nil
}

// measure adds a row.
func (m *manyTopics) measure(what string, f func() error) error {
	before, begin := m.syncs.Load(), time.Now()
	if err := f(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	took := time.Since(begin)
	each := took / time.Duration(m.n)
	m.rows = append(m.rows, []string{what, fmt.Sprint(m.n), fmt.Sprintf("%.2f", took.Seconds()), fmt.Sprintf("%.1f", float64(each.Nanoseconds())/1000),
		fmt.Sprintf("%.2f", float64(m.syncs.Load()-before)/float64(m.n)), fmt.Sprintf("%.2f", m.raw.Seconds()/each.Seconds())})
	return nil
}

// each calls f for every topic, from several goroutines.
func (m *manyTopics) each(f func(i int) error) error {
	var next atomic.Int64
	var callers sync.WaitGroup
	faults := make([]error, topicCallers)
	for c := range topicCallers {
		callers.Go(func() {
			for i := int(next.Add(1)) - 1; i < m.n && faults[c] == nil; i = int(next.Add(1)) - 1 {
				faults[c] = f(i)
			}
		})
	}
	callers.Wait()
	return errors.Join(faults...)
}
