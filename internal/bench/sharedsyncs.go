package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quirelog/quire/internal/bench/machine"
)

const (
	syncWriters  = 64
	syncEntry    = 170      // bytes: a batch of one record of 100
	syncAhead    = 16 << 10 // zeros that lie in each file before the clock starts
	journalBytes = 64 << 20 // zeros that lie in the journal: more than a row writes
)

// measureSharedSyncs prints what the machine gives to durable appends of 64 writers to many files, by raw calls: an fdatasync for
// each file, shared by those who wait for the same; a syncfs shared by all; a journal's fdatasync shared by all, the files
// written behind it.
func measureSharedSyncs(e *env, w io.Writer) (broken []string, err error) {
	rows := table{{"files", "own rec/s", "syncs/s", "syncfs rec/s", "syncs/s", "journal rec/s", "syncs/s", "syncfs x own", "journal x own"}}
	most := 1000
	if e.fullMatrix {
		most = e.idleLogs
	}
	for n := 1; n <= most; n *= 10 {
		row, err := sharedSyncs(e, n)
		if errors.Is(err, errors.ErrUnsupported) {
			return nil, nil // no syncfs here
		}
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	out := &lines{w: w}
	out.line("\nSYNCS OF MANY FILES: raw calls, %d writers append %d bytes in turn to their files, each waits until it is on disk", syncWriters, syncEntry)
	out.line("  medians of %d rounds, the ways in turns; ratios: the median of those within a round, and the least and the most", e.rounds)
	out.table(rows.writeText, 1)
	return nil, out.err
}

func sharedSyncs(e *env, n int) (row []string, err error) {
	dir, err := e.fresh(raw{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s := &syncShelf{}
	if err := s.make(dir, n); err != nil {
		return nil, errors.Join(err, s.close())
	}
	defer func() { err = errors.Join(err, s.close()) }()
	ways := []func(f *shelfFile, entry []byte) error{s.own, s.wholeDisk, s.journaled}
	rates, syncs := make([][]float64, len(ways)), make([][]float64, len(ways))
	for round := range e.rounds {
		for k := range ways {
			i := (round + k) % len(ways)
			if err := machine.DiskSync(s.dir); err != nil { // of what the way before has left in memory
				return nil, err
			}
			s.syncs.Store(0)
			records, took, err := s.run(e.slice, ways[i])
			if err != nil {
				return nil, err
			}
			rates[i] = append(rates[i], float64(records)/took.Seconds())
			syncs[i] = append(syncs[i], float64(s.syncs.Load())/took.Seconds())
		}
	}
	row = []string{fmt.Sprint(n)}
	for i := range ways {
		row = append(row, fmt.Sprintf("%.0f", median(rates[i])), fmt.Sprintf("%.0f", median(syncs[i])))
	}
	return append(row, spread(rates[1], rates[0]), spread(rates[2], rates[0])), nil
}

// spread shows the ratios of a to b.
func spread(a, b []float64) string {
	x := make([]float64, len(a))
	for i := range a {
		x[i] = a[i] / b[i]
	}
	return fmt.Sprintf("%.2f (%.2f-%.2f)", median(x), slices.Min(x), slices.Max(x))
}

// syncShelf is files that stand for partitions, and a journal.
type syncShelf struct {
	files   []*shelfFile
	dir     *os.File
	all     sharedCall // of the syncs that concern every file
	syncs   atomic.Int64
	journal struct {
		*os.File
		mu         sync.Mutex
		wait, free []byte
		end        int64 // of the leader
	}
}

type shelfFile struct {
	*os.File
	mu   sync.Mutex
	end  int64
	sync sharedCall
}

func (s *syncShelf) make(dir string, n int) (err error) {
	for i := range n {
		home := filepath.Join(dir, fmt.Sprint(i))
		if err := os.Mkdir(home, 0o755); err != nil {
			return err
		}
		f, err := os.Create(filepath.Join(home, "data"))
		if err != nil {
			return err
		}
		s.files = append(s.files, &shelfFile{File: f})
		if _, err := f.WriteAt(make([]byte, syncAhead), 0); err != nil {
			return err
		}
	}
	if s.journal.File, err = os.Create(filepath.Join(dir, "journal")); err != nil {
		return err
	}
	if _, err := s.journal.WriteAt(make([]byte, journalBytes), 0); err != nil {
		return err
	}
	if s.dir, err = os.Open(dir); err != nil {
		return err
	}
	return machine.DiskSync(s.dir)
}

func (s *syncShelf) close() (err error) {
	for _, f := range s.files {
		err = errors.Join(err, f.Close())
	}
	for _, f := range []*os.File{s.dir, s.journal.File} {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	return err
}

// run lets every writer go through files of its own, or share one.
func (s *syncShelf) run(slice time.Duration, way func(*shelfFile, []byte) error) (records int64, took time.Duration, err error) {
	var n atomic.Int64
	var wg sync.WaitGroup
	faults := make([]error, syncWriters)
	begin := time.Now()
	for w := range syncWriters {
		wg.Go(func() {
			entry := make([]byte, syncEntry)
			for at := w; time.Since(begin) < slice && faults[w] == nil; at += syncWriters {
				faults[w] = way(s.files[at%len(s.files)], entry)
				n.Add(1)
			}
		})
	}
	wg.Wait()
	return n.Load(), time.Since(begin), errors.Join(faults...)
}

func (f *shelfFile) append(entry []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := f.WriteAt(entry, f.end)
	f.end += int64(len(entry))
	return err
}

func (s *syncShelf) own(f *shelfFile, entry []byte) error {
	if err := f.append(entry); err != nil {
		return err
	}
	return f.sync.do(func() error { s.syncs.Add(1); return machine.Datasync(f.File) })
}

func (s *syncShelf) wholeDisk(f *shelfFile, entry []byte) error {
	if err := f.append(entry); err != nil {
		return err
	}
	return s.all.do(func() error { s.syncs.Add(1); return machine.DiskSync(s.dir) })
}

func (s *syncShelf) journaled(f *shelfFile, entry []byte) error {
	j := &s.journal
	j.mu.Lock()
	j.wait = append(j.wait, entry...)
	j.mu.Unlock()
	if err := f.append(entry); err != nil {
		return err
	}
	return s.all.do(s.syncJournal)
}

// syncJournal writes what waits.
func (s *syncShelf) syncJournal() error {
	j := &s.journal
	j.mu.Lock()
	run := j.wait
	j.wait, j.free = j.free[:0], run
	j.mu.Unlock()
	if _, err := j.WriteAt(run, j.end); err != nil {
		return err
	}
	j.end += int64(len(run))
	s.syncs.Add(1)
	return machine.Datasync(j.File)
}

// sharedCall lets those who come while a call runs share the next one.
type sharedCall struct {
	mu   sync.Mutex // held during a call
	gate sync.Mutex
	next *sharedRound
}

type sharedRound struct {
	once sync.Once
	err  error
}

func (c *sharedCall) do(call func() error) error {
	c.gate.Lock()
	if c.next == nil {
		c.next = &sharedRound{}
	}
	r := c.next
	c.gate.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	r.once.Do(func() {
		c.gate.Lock()
		c.next = nil
		c.gate.Unlock()
		r.err = call()
	})
	return r.err
}
