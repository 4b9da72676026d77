package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quirelog/quire/topic"
)

const (
	// longestWait is what no call that is not itself long is to take beside a long one, on a disk whose own syncs do not.
	longestWait = 50 * time.Millisecond
	// waitPause lies between two calls of a kind, so that the long one has a disk to itself for a part of its time.
	waitPause = 10 * time.Millisecond
)

// waits measures calls beside long ones, on disk.
type waits struct {
	eng   *topic.Engine
	dir   string       // of the file of raw and of the backup
	n     int          // partitions of each large topic
	named atomic.Int64 // topics made
}

// measureWaits prints the longest time that calls took beside long ones.
func measureWaits(e *env, w io.Writer) (broken []string, err error) {
	m := &waits{n: e.used}
	if m.dir, err = e.fresh(raw{}); err != nil {
		return nil, err
	}
	eng, end, err := e.freshEngine()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, end()) }()
	m.eng = eng
	if err := m.fill(); err != nil {
		return nil, err
	}
	short := m.shortCalls()
	names := slices.Sorted(maps.Keys(short))
	rows := table{append([]string{"beside", "s", "raw sync"}, names...)}
	for _, long := range m.longCalls() {
		took, worst, err := m.beside(long.call, short)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", long.what, err)
		}
		row := []string{long.what, fmt.Sprintf("%.2f", took.Seconds())}
		for _, name := range append([]string{"raw"}, names...) {
			row = append(row, fmt.Sprintf("%.1f", worst[name].Seconds()*1000))
		}
		rows = append(rows, row)
	}
	out := &lines{w: w}
	out.line("\nLONGEST WAIT, ms: calls one after the other beside a long one, on disk, %d used partitions in each topic; raw is a write and an fsync of a file of its own, "+
		"in turns with them; beside nothing that is long none is to take more than %d ms on a disk whose syncs do not", m.n, longestWait.Milliseconds())
	out.table(rows.writeText, 1)
	return nil, out.err
}

// fill makes the topics that the long calls are about, and that beside which they run.
func (m *waits) fill() error {
	ctx := context.Background()
	for name, opts := range map[string][]topic.TopicOption{
		"old":    {topic.Partitions(m.n), topic.SegmentBytes(4096)},
		"kept":   {topic.Partitions(m.n), topic.CleanupWith(topic.CleanupCompact), topic.SegmentBytes(4096), topic.NoSync()},
		"beside": {topic.Partitions(8)},
	} {
		t, err := m.eng.Topic(ctx, name, opts...)
		if err != nil {
			return err
		}
		var next atomic.Int64
		var callers sync.WaitGroup
		faults := make([]error, 64)
		for c := range faults {
			callers.Go(func() {
				for i := int(next.Add(1)) - 1; i < t.Partitions() && faults[c] == nil; i = int(next.Add(1)) - 1 {
					for range 3 {
						_, err := t.Append(ctx, topic.Record{Key: []byte("k"), Value: make([]byte, 2000)}, topic.AppendTo(int32(i)))
						faults[c] = errors.Join(faults[c], err)
					}
				}
			})
		}
		callers.Wait()
		if err := errors.Join(faults...); err != nil {
			return err
		}
	}
	return nil
}

type longCall struct {
	what string
	call func(ctx context.Context) error
}

func (m *waits) longCalls() []longCall {
	return []longCall{
		{"nothing, 1 s", func(context.Context) error { time.Sleep(time.Second); return nil }},
		{"scrub", func(ctx context.Context) error { _, err := m.eng.Scrub(ctx, topic.ScrubOptions{}); return err }},
		{"verify", func(ctx context.Context) error { _, err := m.eng.Verify(ctx, topic.VerifyOptions{}); return err }},
		{"compaction", func(ctx context.Context) error { return m.eng.Compact(ctx) }},
		{"retention", m.retain},
		{"deletion", func(ctx context.Context) error { return m.eng.DeleteTopic(ctx, "old") }},
		{"backup", func(ctx context.Context) error {
			_, err := m.eng.Backup(ctx, filepath.Join(m.dir, "backup"), topic.BackupOptions{Copy: true})
			return err
		}},
	}
}

// retain lets all but the newest segments of a topic be due, and removes them.
func (m *waits) retain(ctx context.Context) error {
	if err := errors.Join(m.eng.AlterTopic(ctx, "old", topic.RetentionBytes(1)), m.eng.ApplyRetention(ctx)); err != nil {
		return err
	}
	for i := range m.n {
		p, err := m.eng.Partition("old", int32(i))
		if err != nil {
			return err
		}
		if start, err := p.Start(); err != nil || start == 0 {
			return errors.Join(err, fmt.Errorf("nothing of partition %d was due", i))
		}
	}
	return nil
}

func (m *waits) shortCalls() map[string]func(ctx context.Context) error {
	return map[string]func(ctx context.Context) error{
		"create": func(ctx context.Context) error {
			_, err := m.eng.CreateTopic(ctx, fmt.Sprint("new-", m.named.Add(1)))
			return err
		},
		"alter": func(ctx context.Context) error {
			return m.eng.AlterTopic(ctx, "beside", topic.RetentionBytes(1<<30+m.named.Add(1)))
		},
		"producer": func(ctx context.Context) error {
			p, err := m.eng.NewProducer()
			if err != nil {
				return err
			}
			_, err = p.SendSync(ctx, "beside", topic.Record{Key: []byte("k")})
			return errors.Join(err, p.Close())
		},
		"append": func(ctx context.Context) error {
			t, err := m.eng.Topic(ctx, "beside")
			if err == nil {
				_, err = t.Append(ctx, topic.Record{Value: make([]byte, 100)})
			}
			return err
		},
		"read": func(ctx context.Context) error {
			p, err := m.eng.Partition("kept", 0)
			if err == nil {
				_, err = p.Get(ctx, 2)
			}
			return err
		},
	}
}

// beside does the short calls for as long as the long one takes, each kind in a goroutine of its own, and gives the longest time of each.
func (m *waits) beside(long func(context.Context) error, short map[string]func(context.Context) error) (took time.Duration, worst map[string]time.Duration, err error) {
	raw, err := os.Create(filepath.Join(m.dir, "raw"))
	if err != nil {
		return 0, nil, err
	}
	defer func() { err = errors.Join(err, raw.Close()) }()
	calls := maps.Clone(short)
	calls["raw"] = func(context.Context) error {
		_, err := raw.WriteAt(make([]byte, 100), 0)
		return errors.Join(err, raw.Sync())
	}
	ctx := context.Background()
	done := make(chan struct{})
	var callers sync.WaitGroup
	var mu sync.Mutex
	var fault error
	worst = map[string]time.Duration{}
	for name, call := range calls {
		callers.Go(func() {
			for over := false; !over; {
				begin := time.Now()
				err := call(ctx)
				wait := time.Since(begin)
				mu.Lock()
				worst[name], fault = max(worst[name], wait), errors.Join(fault, err)
				mu.Unlock()
				select {
				case <-done:
					over = true
				case <-time.After(waitPause):
				}
			}
		})
	}
	begin := time.Now()
	err = long(ctx)
	took = time.Since(begin)
	close(done)
	callers.Wait()
	return took, worst, errors.Join(fault, err)
}
