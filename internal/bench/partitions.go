package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/quirelog/quire/topic"
)

// partitionsShape opens an engine with many partitions that was stopped in order; with use also each of them. Raw does
// what nobody can do without: it lists the directory and, with use, each partition's directory, and reads the first page of its newest file.
type partitionsShape struct {
	partitions int
	use        bool
}

// partitionSegments is how many segments each partition has: ten thousand partitions make a hundred thousand.
const partitionSegments = 10

func (w partitionsShape) open(e *env, sys System) (trial, error) {
	t := &partitionsTrial{shape: w}
	t.shape.partitions = min(w.partitions, e.opened)
	switch sys.Name() {
	case "quire":
		t.look = t.lookByQuire
	case "raw":
		t.look = t.lookByHand
	default:
		return nil, nil
	}
	var err error
	t.dir, err = e.manyLogs(t.shape.partitions)
	return t, err
}

type partitionsTrial struct {
	shape partitionsShape
	dir   string
	look  func() (time.Duration, error)
}

func (t *partitionsTrial) close() error { return nil }

func (t *partitionsTrial) sample() (sample, error) {
	took, err := t.look()
	return sample{elapsed: took, records: int64(t.shape.partitions), batches: 1}, err
}

func (t *partitionsTrial) partition(n int) string {
	return filepath.Join(t.dir, fmt.Sprintf("%s-%d", quireTopic, n))
}

// manyLogs makes the partitions with their segments once a run, for all who open them: each record fills a segment.
func (e *env) manyLogs(partitions int) (dir string, err error) {
	const recordBytes = 4000
	key := fmt.Sprint("partitions-", partitions)
	if f, ok := e.data[key]; ok {
		return f.dir, nil
	}
	if dir, err = e.fresh(quire{}); err != nil {
		return "", err
	}
	s, err := openQuire(dir, Options{Level: OS, SegmentBytes: recordBytes + 200}, partitions)
	if err != nil {
		return "", err
	}
	for range partitionSegments {
		err = errors.Join(err, s.touchAll(partitions, recordBytes))
	}
	if err = errors.Join(err, s.Close()); err == nil {
		e.data[key] = filled{dir: dir}
	}
	return dir, err
}

func (t *partitionsTrial) lookByQuire() (time.Duration, error) {
	begin := time.Now()
	eng, err := topic.Open(t.dir, topic.MaxOpenFiles(400))
	if err != nil {
		return 0, err
	}
	for n := 0; t.shape.use && n < t.shape.partitions && err == nil; n++ {
		err = useOne(eng, n)
	}
	took := time.Since(begin)
	return took, errors.Join(err, eng.Close())
}

func useOne(eng *topic.Engine, n int) error {
	p, err := eng.Partition(quireTopic, int32(n))
	if err != nil {
		return err
	}
	if err := p.Warm(context.Background()); err != nil {
		return err
	}
	if end, err := p.End(); err != nil || end != partitionSegments {
		return errors.Join(err, fmt.Errorf("partition %d ends at %d", n, end))
	}
	return nil
}

func (t *partitionsTrial) lookByHand() (time.Duration, error) {
	begin := time.Now()
	if _, err := os.ReadDir(t.dir); err != nil {
		return 0, err
	}
	for n := 0; t.shape.use && n < t.shape.partitions; n++ {
		if err := readNewest(t.partition(n)); err != nil {
			return 0, err
		}
	}
	return time.Since(begin), nil
}

func readNewest(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	newest := ""
	for _, f := range files {
		if filepath.Ext(f.Name()) == ".log" {
			newest = f.Name()
		}
	}
	f, err := os.Open(filepath.Join(dir, newest))
	if err != nil {
		return err
	}
	_, err = io.ReadFull(f, make([]byte, 4096))
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return errors.Join(err, f.Close())
}
