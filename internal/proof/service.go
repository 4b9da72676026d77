package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
)

const (
	serviceCycles = 80 // in the fast tier
	servicePerDir = 10 // cycles on one directory
)

// runService kills a service that has a queue, groups, a router and delayed messages, lets
// it come back on what is left, and in the end compares what it told with what there is.
func runService(r *runner, t *tally, seed uint64) {
	r.each(serviceCycles*r.count/servicePerDir, func(i int) {
		name := caseName{t.lane.name, serviceLevel, strconv.Itoa(i), "kill", seed}
		r.try(t, name, func() error { return killService(i, seed) })
		t.cases.Add(servicePerDir - 1)
	})
	t.note("each case is one SIGKILL; every %d a service has to end all its jobs", servicePerDir)
}

func replayService(_ *runner, c caseName) error {
	number, err := strconv.Atoi(c.Op)
	if err != nil {
		return fmt.Errorf("proof: operation %q is not the number of a directory", c.Op)
	}
	return killService(number, c.Seed)
}

// box is where a service lives, and how it is ended.
type box struct {
	dir  string
	end  func(child *os.Process)
	boot func() error // makes the directory whole again
	// dark says that the power goes: the child may see failing calls before it is killed.
	dark bool
}

// killService kills one service on the machine's own disk.
func killService(number int, seed uint64) error {
	dir, err := os.MkdirTemp("", "quire-proof-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	return box{dir: dir, end: func(child *os.Process) { _ = child.Kill() }, boot: func() error { return nil }}.live(number, seed)
}

// live ends a service again and again, then lets it come to its own end.
func (b box) live(number int, seed uint64) error {
	dice := rand.New(rand.NewPCG(seed, uint64(number)))
	told := newServiceBook()
	for cycle := range servicePerDir {
		if err := b.once(cycle, dice, told); err != nil {
			return err
		}
		if err := b.boot(); err != nil {
			return err
		}
		if cycle%3 == 2 { // the others have to recover on their own
			if err := lookAtService(b.dir, told); err != nil {
				return fmt.Errorf("after cycle %d: %w", cycle, err)
			}
		}
	}
	return endService(b.dir, told)
}

// once starts a service, writes down what it tells, and ends it.
func (b box) once(cycle int, dice *rand.Rand, told *serviceBook) error {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d", childEnv, b.dir, serviceLevel, cycle))
	if !b.dark {
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
	patient := time.AfterFunc(openPatient, func() { _ = cmd.Process.Kill() })
	_, early := lines.Peek(1)
	patient.Stop()
	ended := make(chan struct{})
	time.AfterFunc(time.Duration(dice.IntN(200_000))*time.Microsecond, func() {
		defer close(ended)
		b.end(cmd.Process)
	})
	err = told.write(lines)
	waited := cmd.Wait()
	<-ended
	switch {
	case early != nil || !b.dark && cmd.ProcessState.Exited():
		return faultf(wrong, "the service did not run: %v", waited)
	case err != nil:
		return faultf(wrong, "the service told nonsense: %v", err)
	}
	return nil
}

// lookAtService compares a directory with what was told so far, and closes it in order.
func lookAtService(dir string, told *serviceBook) error {
	s, err := openService(dir)
	if err != nil {
		return faultf(wrong, "open after kill: %v", err)
	}
	err = told.compare(s)
	return errors.Join(err, s.eng.Close())
}

// endService lets a service finish all jobs, deliver all messages and read all events.
func endService(dir string, told *serviceBook) error {
	s, err := openService(dir)
	if err != nil {
		return faultf(wrong, "open at the end: %v", err)
	}
	defer s.eng.Close()
	if err := told.compare(s); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx(), openPatient)
	defer cancel()
	s.hear = told.hear
	if err := s.finishJobs(limited, told); err != nil {
		return faultf(wrong, "finishing the jobs: %v", err)
	}
	if err := s.readToEnd(limited, told); err != nil {
		return faultf(wrong, "reading to the end: %v", err)
	}
	if !told.eventsHandled() {
		if err := s.handleEvents(limited, told.eventsHandled); err != nil {
			return faultf(wrong, "handling to the end: %v", err)
		}
	}
	if err := s.copyEvents(limited, func() (bool, error) { return told.compareCopies(s) }); err != nil {
		return faultf(wrong, "copying to the end: %v", err)
	}
	if err := s.awaitLater(limited, told); err != nil {
		return err
	}
	if err := told.compare(s); err != nil {
		return err
	}
	return errors.Join(told.finished(), s.eng.Close())
}

// finishJobs works until all jobs have ended. What crashes have left without an attempt
// goes to the dead letters without a word: so it looks there now and then.
func (s *service) finishJobs(ctx context.Context, told *serviceBook) error {
	for !told.jobsEnded() && ctx.Err() == nil {
		round, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		err := s.work(round, told.jobsEnded)
		cancel()
		if err := errors.Join(err, told.compareDead(s)); err != nil {
			return err
		}
	}
	return nil
}

// readToEnd is a member of the group until it is at the end of all partitions.
func (s *service) readToEnd(ctx context.Context, told *serviceBook) error {
	c, err := group.Join(ctx, s.eng, serviceGroup, group.Topics(eventsTopic), group.CommitByHand())
	if err != nil {
		return err
	}
	told.eventEnds = map[int64]int64{}
	t, err := s.eng.Topic(ctx, eventsTopic)
	if err != nil {
		return err
	}
	for n := range int32(t.Partitions()) {
		p, err := t.Partition(n)
		if err != nil {
			return err
		}
		if told.eventEnds[int64(n)], err = p.High(); err != nil {
			return err
		}
	}
	if !told.eventsRead() {
		for b, err := range c.Batches(ctx) {
			if err != nil {
				return err
			}
			s.tell("read", int64(b.Partition), b.Records[0].Offset, b.Records[len(b.Records)-1].Offset+1)
			b.Mark()
			if told.eventsRead() {
				break
			}
		}
	}
	return c.Close()
}

// awaitLater waits until each message that is to come has come.
func (s *service) awaitLater(ctx context.Context, told *serviceBook) error {
	t, err := s.eng.Topic(ctx, laterTopic)
	if err != nil {
		return err
	}
	for {
		if err := told.compareLater(s); err != nil {
			return err
		}
		waiting := 0
		for _, err := range t.Scheduled(ctx) {
			if err != nil {
				return err
			}
			waiting++
		}
		if waiting == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return faultf(lost, "%d delayed messages never came", waiting)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// parseTold splits a line.
func parseTold(line string) (verb string, n [3]int64, err error) {
	words := strings.Fields(line)
	if len(words) == 0 || len(words) > 1+len(n) {
		return "", n, fmt.Errorf("line %q", line)
	}
	for i, word := range words[1:] {
		if n[i], err = strconv.ParseInt(word, 10, 64); err != nil {
			return "", n, err
		}
	}
	return words[0], n, nil
}

// recordsOf reads a topic from its start to its end.
func recordsOf(eng *topic.Engine, name string, each func(*topic.Record) error) error {
	t, err := eng.Topic(ctx(), name)
	if err != nil {
		return err
	}
	for rec, err := range t.Read(ctx(), topic.FromStart(), topic.UntilEnd()) {
		if err != nil {
			return err
		}
		if err := each(rec); err != nil {
			return err
		}
	}
	return nil
}
