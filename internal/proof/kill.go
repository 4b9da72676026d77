package main

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/topic"
)

const (
	killCycles  = 300 // in the fast tier
	killPerDir  = 25  // cycles on one directory
	openPatient = 2 * time.Minute
)

// runKill kills child processes in the middle of what they do, and compares what is
// left on a real disk with what they had acknowledged.
func runKill(r *runner, t *tally, seed uint64) {
	dirs := killCycles * r.count / killPerDir
	r.each(dirs, func(i int) { killDirectory(r, t, i, seed) })
	t.note("each case is one SIGKILL; levels %v take turns", levelNames())
}

// killer is the parent's side of one directory.
type killer struct {
	dir, level string
	dice       *rand.Rand
	parts      [killPartitions]*history
	cycle      int
	// end ends a running child; after it the state of what is left is after.
	end   func(child *os.Process)
	after state
}

func killDirectory(r *runner, t *tally, number int, seed uint64) {
	name := caseName{t.lane.name, levelNames()[number%4], strconv.Itoa(number), "kill", seed}
	dir, err := os.MkdirTemp("", "quire-proof-")
	if err != nil {
		t.add(name, err)
		return
	}
	defer os.RemoveAll(dir)
	k := newKiller(dir, name.Scenario, number, seed)
	for range killPerDir {
		var bad error
		r.try(t, name, func() error {
			bad = k.once()
			return bad
		})
		if bad != nil {
			return
		}
	}
}

func newKiller(dir, level string, number int, seed uint64) *killer {
	k := &killer{dir: dir, level: level, dice: rand.New(rand.NewPCG(seed, uint64(number))), after: killed}
	k.end = func(child *os.Process) { _ = child.Kill() }
	for i := range k.parts {
		k.parts[i] = newHistory()
	}
	return k
}

// once kills one child. Two of three are looked after at once; the next of the
// others has to recover on its own, and dies early, perhaps while it does.
func (k *killer) once() error {
	early := k.cycle%3 == 2
	if err := k.child(early); err != nil {
		return err
	}
	k.cycle++
	if k.cycle%3 == 2 {
		return nil
	}
	return k.verify()
}

// child starts one child, notes its acks, kills it, and notes what else it may have written.
func (k *killer) child(early bool) error {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d", childEnv, k.dir, k.level, k.cycle))
	if k.after == killed { // after a power cut the child complains as it should
		cmd.Stderr = os.Stderr
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewReaderSize(out, 1<<16)
	var delay time.Duration
	if early {
		delay = time.Duration(k.dice.IntN(30_000)) * time.Microsecond
	} else {
		stop := time.AfterFunc(openPatient, func() { _ = cmd.Process.Kill() })
		_, err = lines.Peek(1) // the first ack
		stop.Stop()
		delay = time.Duration(k.dice.IntN(60_000)) * time.Microsecond
	}
	ended := make(chan struct{})
	if err == nil {
		time.AfterFunc(delay, func() {
			defer close(ended)
			k.end(cmd.Process)
		})
	} else {
		close(ended)
		_ = cmd.Process.Kill()
	}
	last := map[int]int{} // batches acknowledged, by writer
	readAcks(lines, func(a ack) {
		writer := a.first / idsPerWriter
		k.parts[writer%killPartitions].append(writer, a, k.after == killed || k.level == log.Sync.String())
		last[writer]++
	})
	k.unknown(last)
	waited := cmd.Wait()
	<-ended
	if err != nil || (k.after == killed && cmd.ProcessState.Exited() && !cmd.ProcessState.Success()) {
		return faultf(wrong, "child: %v, no first ack: %v", waited, err)
	}
	return nil
}

// append notes an acknowledged batch of another process.
func (h *history) append(writer int, a ack, durable bool) {
	h.planAt(writer, a.first, a.n)
	h.tell(a.first, acked, a.offset, durable)
}

// planAt is plan with given numbers.
func (h *history) planAt(writer, first, n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.nextID = max(h.nextID, first+n)
	for id := first; id < first+n; id++ {
		h.writes[id] = &write{id: id, writer: writer, first: first, count: n, offset: -1}
	}
}

// unknown notes the batch that each writer may have been appending when it died.
func (k *killer) unknown(acked map[int]int) {
	for g := range killWriters {
		writer := writerOf(k.cycle, g)
		first, n := killBatch(writer, acked[writer])
		k.parts[writer%killPartitions].planAt(writer, first, n)
	}
}

// verify opens the directory in this process, compares, and closes it in order.
func (k *killer) verify() error {
	eng, err := topic.Open(k.dir)
	if err != nil {
		return faultf(wrong, "open after kill: %v", err)
	}
	defer eng.Close()
	t, err := eng.Topic(ctx(), killTopic, topic.Partitions(killPartitions))
	if err != nil {
		return faultf(wrong, "topic after kill: %v", err)
	}
	for n := range int32(killPartitions) {
		g, err := foundIn(t, n)
		if err != nil {
			return err
		}
		if err := k.parts[n].verify(g, k.after); err != nil {
			return fmt.Errorf("partition %d after cycle %d: %w", n, k.cycle, err)
		}
		k.parts[n].adopt(g)
	}
	if err := eng.Close(); err != nil {
		return faultf(wrong, "close after kill: %v", err)
	}
	return nil
}

// foundIn reads a partition through the front door.
func foundIn(t *topic.Topic, n int32) (*found, error) {
	c, err := readPartition(t, n, []int64{})
	if err != nil {
		return nil, err
	}
	// Readers see what lies below the high watermark; above it is what a failed sync left.
	g := &found{start: c.start, high: c.high, end: c.high}
	g.recs, err = decode(nil, c.raw, c.start)
	return g, err
}

// replayKill runs one directory's cycles again; the moments differ, the choices do not.
func replayKill(_ *runner, c caseName) error {
	number, err := strconv.Atoi(c.Op)
	if err != nil {
		return fmt.Errorf("proof: operation %q is not the number of a directory", c.Op)
	}
	dir, err := os.MkdirTemp("", "quire-proof-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	k := newKiller(dir, c.Scenario, number, c.Seed)
	for range killPerDir {
		if err := k.once(); err != nil {
			return err
		}
	}
	return nil
}
