package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quirelog/quire/internal/bench/machine"
	"github.com/quirelog/quire/topic"
)

const (
	spreadSenders = 4
	// rawInFlight is how many calls raw has on its way at once: more are not faster on the disks measured.
	rawInFlight = 32
	// rawFiles is how many files raw has open at most, beside those of the engine.
	rawFiles = 3000
	// mostSpreadGoroutines is what a producer may add at most, however many partitions there are: noise cannot move it.
	mostSpreadGoroutines = 200
	// decadeTarget is how much dearer a record may become from one decade of partitions to the next.
	decadeTarget = 1.3
)

// spread is one producer whose keys go to all partitions of a topic alike.
type spread struct {
	sync       bool
	bytes      int
	partitions int
}

// spreadResult is what it reached, with the raw calls of the same batches beside it.
type spreadResult struct {
	records, batches, syncs int64
	took                    time.Duration
	goroutines              int
	raw                     time.Duration // a record
}

func (r spreadResult) each() time.Duration { return r.took / time.Duration(max(r.records, 1)) }

// measureSpread prints the cost of a record by partitions, and the same batches by one pwrite each and one fdatasync a file.
func measureSpread(e *env, w io.Writer) (broken []string, err error) {
	rows := table{{"", "level", "bytes", "partitions", "krec/s", "us/record", "x last decade", "records/batch", "syncs/record", "goroutines", "raw us/record", "x raw", "raw x last decade"}}
	last := map[[2]any]spreadResult{}
	for n := 10; n <= e.spread; n *= 10 {
		results, err := e.spreadOver(n)
		if err != nil {
			return nil, err
		}
		for _, m := range spreadRows(n) {
			r, kind := results[m], [2]any{m.sync, m.bytes}
			rows = append(rows, m.row(r, last[kind]))
			last[kind] = r
			if r.goroutines > mostSpreadGoroutines {
				broken = append(broken, fmt.Sprintf("producer over %d partitions: %d goroutines > %d", n, r.goroutines, mostSpreadGoroutines))
			}
		}
	}
	out := &lines{w: w}
	out.line("\nPRODUCER OVER MANY PARTITIONS: default options, %d goroutines send, keys go to all partitions alike; raw is one pwrite a batch of the same bytes, and an fdatasync of its file, %d at once; target: below %g x the decade before",
		spreadSenders, rawInFlight, decadeTarget)
	out.table(rows.writeText, 1)
	return broken, out.err
}

func spreadRows(n int) (list []spread) {
	for _, synced := range []bool{true, false} {
		for _, bytes := range []int{100, 1000} {
			list = append(list, spread{synced, bytes, n})
		}
	}
	return list
}

func (m spread) row(r, last spreadResult) []string {
	level, decade, rawDecade := "nosync", "-", "-"
	if m.sync {
		level = "sync"
	}
	if last.records > 0 {
		decade = fmt.Sprintf("%.2f", r.each().Seconds()/last.each().Seconds())
		rawDecade = fmt.Sprintf("%.2f", r.raw.Seconds()/last.raw.Seconds())
	}
	micros := func(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d.Nanoseconds())/1000) }
	return []string{"", level, fmt.Sprint(m.bytes), fmt.Sprint(m.partitions), fmt.Sprintf("%.0f", float64(r.records)/r.took.Seconds()/1000), micros(r.each()), decade,
		fmt.Sprintf("%.1f", float64(r.records)/float64(r.batches)), fmt.Sprintf("%.4f", float64(r.syncs)/float64(r.records)), fmt.Sprint(r.goroutines),
		micros(r.raw), fmt.Sprintf("%.2f", r.raw.Seconds()/r.each().Seconds()), rawDecade}
}

// spreadOver measures all kinds over one topic.
func (e *env) spreadOver(n int) (results map[spread]spreadResult, err error) {
	dir, err := e.fresh(quire{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := openQuire(dir, Options{Level: OS}, n)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.touchAll(n, 100); err != nil {
		return nil, err
	}
	results = map[spread]spreadResult{}
	for _, m := range spreadRows(n) {
		level := topic.NoSync()
		if m.sync {
			level = topic.Durable()
		}
		if err := s.eng.AlterTopic(s.ctx, quireTopic, level); err != nil {
			return nil, err
		}
		r, err := m.produce(s, max(2*e.slice, 800*time.Millisecond))
		if err == nil {
			r.raw, err = m.byHand(e, r, max(e.slice, 400*time.Millisecond))
		}
		if err != nil {
			return nil, err
		}
		results[m] = r
	}
	return results, nil
}

// produce sends for the given time and waits for all outcomes.
func (m spread) produce(s *quireStore, long time.Duration) (r spreadResult, err error) {
	before := runtime.NumGoroutine()
	p, err := s.eng.NewProducer()
	if err != nil {
		return r, err
	}
	value := makeValues(1, m.bytes, 0)[0]
	var failed atomic.Pointer[error]
	told := func(_ topic.Position, err error) {
		if err != nil {
			failed.Store(&err)
		}
	}
	ctx, cancel := context.WithTimeout(s.ctx, long)
	defer cancel()
	calls, batches, begin := s.fs.Calls.Load(), s.eng.Metrics().Total.BatchesIn, time.Now()
	var records atomic.Int64
	var senders sync.WaitGroup
	for i := range spreadSenders {
		senders.Go(func() {
			key, sent := make([]byte, 8), int64(0)
			for ctx.Err() == nil {
				binary.LittleEndian.PutUint64(key, uint64(sent*spreadSenders+int64(i)))
				if err := p.Send(s.ctx, quireTopic, topic.Record{Key: key, Value: value}, told); err != nil {
					failed.Store(&err)
					break
				}
				sent++
			}
			records.Add(sent)
		})
	}
	for ctx.Err() == nil {
		r.goroutines = max(r.goroutines, runtime.NumGoroutine()-before-spreadSenders)
		time.Sleep(10 * time.Millisecond)
	}
	senders.Wait()
	err = p.Flush(s.ctx)
	r.took, r.records = time.Since(begin), records.Load()
	r.syncs, r.batches = s.fs.Calls.Load().Minus(calls).Syncs, s.eng.Metrics().Total.BatchesIn-batches
	if failure := failed.Load(); failure != nil {
		err = errors.Join(err, *failure)
	}
	return r, errors.Join(err, p.Close())
}

// byHand writes batches of the size that the producer made to as many files in turn.
func (m spread) byHand(e *env, r spreadResult, long time.Duration) (each time.Duration, err error) {
	dir, err := e.fresh(quire{})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var files []*os.File
	defer func() {
		for _, f := range files {
			err = errors.Join(err, f.Close())
		}
	}()
	for i := range min(m.partitions, rawFiles) {
		f, err := os.Create(filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			return 0, err
		}
		files = append(files, f)
	}
	perBatch := float64(r.records) / float64(r.batches)
	batch := make([]byte, int(perBatch*float64(m.bytes+20))+61)
	var next atomic.Int64
	var workers sync.WaitGroup
	faults := make([]error, rawInFlight)
	begin := time.Now()
	for w := range rawInFlight {
		workers.Go(func() {
			for time.Since(begin) < long && faults[w] == nil {
				faults[w] = m.writeOne(files, next.Add(1)-1, batch)
			}
		})
	}
	workers.Wait()
	return time.Duration(float64(time.Since(begin)) / (float64(next.Load()) * perBatch)), errors.Join(faults...)
}

func (m spread) writeOne(files []*os.File, i int64, batch []byte) error {
	n := int64(len(files))
	f := files[i%n]
	crc32.Checksum(batch, crc32.MakeTable(crc32.Castagnoli))
	if _, err := f.WriteAt(batch, i/n*int64(len(batch))); err != nil || !m.sync {
		return err
	}
	return machine.Datasync(f)
}
