package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/quirelog/quire/examples"
	"github.com/quirelog/quire/topic"
)

// childEnv names the environment variable that makes this program the child: the directory to write to.
const childEnv = "QUIRE_QUICKSTART_CHILD"

// killAfter is the number of acknowledgements after which the parent kills the child. The child cannot be done by then: a pipe has room for
// some five thousand lines, and a child whose parent does not read on waits.
const killAfter = 3000

// An ack is what the child was told: this line is on disk, at this place.
type ack struct {
	line      int
	partition int32
	offset    int64
}

// writeUntilKilled is the child: it writes all visits and tells its parent about every acknowledgement, one line of text each.
func writeUntilKilled(ctx context.Context, dir string, visits []examples.Visit, parent io.Writer) error {
	eng, _, err := open(ctx, dir)
	if err != nil {
		return err
	}
	defer eng.Close()
	return produce(ctx, eng, visits, func(v examples.Visit, pos topic.Position) {
		fmt.Fprintf(parent, "%d %d %d\n", v.Line, pos.Partition, pos.Offset)
	})
}

// killAWriter is the parent: it starts the child, kills it after some thousand acknowledgements and returns all that came through.
func killAWriter(ctx context.Context, dir string, stderr io.Writer, seen func(n int64)) ([]ack, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	child := exec.CommandContext(ctx, self)
	child.Env = append(os.Environ(), childEnv+"="+dir)
	child.Stderr = stderr
	pipe, err := child.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := child.Start(); err != nil {
		return nil, err
	}
	acks, readErr := readAcks(pipe, func(n int) error {
		seen(int64(n))
		if n == killAfter {
			return child.Process.Kill() // SIGKILL: no handler, no farewell, nothing flushed
		}
		return nil
	})
	if readErr != nil {
		_ = child.Process.Kill() // so that Wait returns
	}
	waitErr := child.Wait()
	switch {
	case readErr != nil:
		return nil, readErr
	case len(acks) < killAfter:
		return nil, fmt.Errorf("the writing process ended before it could be killed: %w", waitErr)
	case waitErr == nil:
		return nil, fmt.Errorf("the writing process finished although it was killed")
	}
	return acks, nil
}

// readAcks reads acknowledgements until the child's end of the pipe is gone. What the child wrote before it died is still in the pipe and
// counts; a line cut short does not.
func readAcks(pipe io.Reader, each func(n int) error) ([]ack, error) {
	var acks []ack
	lines := bufio.NewReader(pipe)
	for {
		text, err := lines.ReadString('\n')
		if err == io.EOF {
			return acks, nil
		} else if err != nil {
			return nil, err
		}
		var a ack
		if _, err := fmt.Sscanf(text, "%d %d %d\n", &a.line, &a.partition, &a.offset); err != nil {
			return nil, fmt.Errorf("from the writing process: %q: %w", text, err)
		}
		acks = append(acks, a)
		if err := each(len(acks)); err != nil {
			return nil, err
		}
	}
}
