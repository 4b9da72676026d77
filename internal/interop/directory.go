package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

// viewOf opens a directory with the engine, as a user who takes it over would, and tells what it holds. The questions about times are those
// of want. notes are what opening found.
func viewOf(dir string, want view) (got view, notes []string, err error) {
	eng, err := topic.Open(dir)
	if err != nil {
		return nil, nil, err
	}
	got = view{}
	notes, err = got.addEngine(eng, want)
	if closing := eng.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return nil, notes, err
	}
	return got, notes, got.addProducers(dir, want)
}

func (v view) addEngine(eng *topic.Engine, want view) (notes []string, err error) {
	topics, err := eng.Topics(context.Background(), topic.WithInternal())
	if err != nil {
		return nil, err
	}
	for _, t := range topics {
		for n := range int32(t.Partitions()) {
			p, err := t.Partition(n)
			if err != nil {
				return notes, err
			}
			if !slices.Contains(want.partitions(), p.String()) {
				continue
			}
			if err := v.addPartition(p, want[section{"time", p.String()}]); err != nil {
				return notes, fmt.Errorf("%v: %w", p, err)
			}
			if r := p.Recovered(); r != nil {
				notes = append(notes, fmt.Sprintf("%v %+v", p, *r))
			}
		}
	}
	return notes, nil
}

func (v view) addPartition(p *topic.Partition, times []string) error {
	for _, part := range []struct {
		kind  string
		level topic.IsolationLevel
	}{{"record", topic.ReadUncommitted}, {"committed", topic.ReadCommitted}} {
		for r, err := range p.Topic().Read(context.Background(), topic.OnPartitions(p.ID()), topic.UntilEnd(), topic.WithIsolation(part.level)) {
			if err != nil {
				return fmt.Errorf("%s: %w", part.kind, err)
			}
			v.add(part.kind + " " + recordLine(p.String(), r))
		}
	}
	o, err := p.Offsets()
	if err != nil {
		return err
	}
	v.add(fmt.Sprintf("offsets %v start=%d stable=%d high=%d", p, o.Start, o.Stable, o.High))
	for _, line := range times {
		ms, err := strconv.ParseInt(strings.Fields(line)[2], 10, 64)
		if err != nil {
			return err
		}
		pos, at, ok, err := p.OffsetForTime(context.Background(), time.UnixMilli(ms))
		if err != nil {
			return err
		}
		found, atMs := pos.Offset, at.UnixMilli()
		if !ok {
			found, atMs = -1, -1
		}
		v.add(fmt.Sprintf("time %v %d found=%d at=%d", p, ms, found, atMs))
	}
	return nil
}

func recordLine(partition string, r *topic.Record) string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s %d time=%d key=%s value=%s", partition, r.Offset, millis(r.Time), digits(r.Key), digits(r.Value))
	for _, h := range r.Headers {
		fmt.Fprintf(&s, " header=%s:%s", digits([]byte(h.Key)), digits(h.Value))
	}
	return s.String()
}

// millis is a record's time as Kafka counts; -1 when it has none.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return -1
	}
	return t.UnixMilli()
}

// digits tells null from empty.
func digits(b []byte) string {
	if b == nil {
		return "null"
	}
	return "x" + hex.EncodeToString(b)
}

// addProducers asks the logs of a directory that no engine has open.
func (v view) addProducers(dir string, want view) error {
	for _, partition := range want.partitions() {
		l, _, err := log.Open(vfs.OS(), filepath.Join(dir, partition), &log.Config{}, log.OpenState{ReadOnly: true})
		if err != nil {
			return err
		}
		var lines []string
		for _, p := range l.Producers() {
			lines = append(lines, fmt.Sprintf("producer %s id=%d epoch=%d sequence=%d time=%d coordinator=%d open=%d",
				partition, p.ProducerID, p.Epoch, p.LastSequence, p.LastTimestamp, p.CoordinatorEpoch, p.TxnStart))
		}
		if err := l.Close(); err != nil {
			return err
		}
		slices.Sort(lines)
		for _, line := range lines {
			v.add(line)
		}
	}
	return nil
}

// copyOf copies a directory: the engine never opens the broker's own.
func copyOf(from, to string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	return os.CopyFS(to, os.DirFS(from))
}
