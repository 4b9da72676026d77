package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/topic"
)

// childEnv holds the orders of a child process: "directory level cycle".
const childEnv = "QUIRE_PROOF_CHILD"

const (
	killTopic      = "t"
	killPartitions = 2
	killWriters    = 4
	// idsPerWriter keeps the record numbers of writers and cycles apart.
	idsPerWriter = 1 << 20
)

// writerOf numbers a writer of a cycle.
func writerOf(cycle, g int) int { return cycle*killWriters + g }

// killBatch is the i-th batch of a writer: its first record and their number.
func killBatch(writer, i int) (first, n int) { return writer*idsPerWriter + 3*i, 1 + i%3 }

// childMain is the program that is killed: it appends until it dies, and tells its
// parent of each acknowledgement by one line "first partition offset".
func childMain() int {
	var dir, level string
	var cycle int
	if _, err := fmt.Sscan(os.Getenv(childEnv), &dir, &level, &cycle); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	run := childRun
	if level == serviceLevel {
		run = childService
	}
	if err := run(dir, level, cycle); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	return 0
}

func childRun(dir, level string, cycle int) error {
	eng, err := topic.Open(dir)
	if err != nil {
		return err
	}
	t, err := eng.Topic(ctx(), killTopic, topic.Partitions(killPartitions), topic.SegmentBytes(64<<10),
		topic.Set(topic.KeyDurability, level))
	if err != nil {
		return err
	}
	faults := make(chan error, killWriters)
	var mu sync.Mutex // one line at a time
	for g := range killWriters {
		go func() { faults <- childWrite(t, writerOf(cycle, g), &mu) }()
	}
	return <-faults
}

func childWrite(t *topic.Topic, writer int, mu *sync.Mutex) error {
	p, err := t.Partition(int32(writer % killPartitions))
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		first, n := killBatch(writer, i)
		recs := make([]topic.Record, n)
		for k := range recs {
			recs[k] = topicRecord(first + k)
		}
		pos, err := p.Append(ctx(), recs...)
		if err != nil {
			return err
		}
		mu.Lock()
		_, err = fmt.Printf("%d %d %d\n", first, n, pos.Offset)
		mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// ack is one line of a child.
type ack struct {
	first, n int
	offset   int64
}

// readAcks parses a child's lines until it is dead; a last line cut short is no ack.
func readAcks(r *bufio.Reader, each func(ack)) {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		var a ack
		if _, err := fmt.Sscan(strings.TrimSpace(line), &a.first, &a.n, &a.offset); err == nil {
			each(a)
		}
	}
}

// levelNames are the levels that directories take turns with.
func levelNames() []string {
	return []string{log.Sync.String(), log.Interval.String(), log.Sync.String(), log.OS.String()}
}
