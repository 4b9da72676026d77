package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A jvm starts Java programs with Kafka's jars.
type jvm struct {
	ctx  context.Context // every program is killed at its end
	java string          // the command
	lib  string          // the folder of the jars
	here string          // the folder of our own Java sources
}

// patience is how long any one program may take; a machine that is slow or busy needs much.
const patience = 3 * time.Minute

// Names of Kafka's programs.
const (
	dumpLogSegments = "kafka.tools.DumpLogSegments"
	storageTool     = "kafka.tools.StorageTool"
	consoleConsumer = "org.apache.kafka.tools.consumer.ConsoleConsumer"
	kafkaServer     = "kafka.Kafka"
)

// source is one of our own programs, which Java compiles as it starts.
func (j jvm) source(name string) string { return filepath.Join(j.here, name) }

// command is a program that is not started. The options are for short lives: a small heap, one thread to collect it, the quick compiler only.
func (j jvm) command(ctx context.Context, args ...string) *exec.Cmd {
	options := []string{"-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dlog4j2.configurationFile=" + filepath.Join(j.here, "log4j2.properties"),
		"-cp", filepath.Join(j.lib, "*")}
	cmd := exec.CommandContext(ctx, j.java, append(options, args...)...)
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// run runs a program to its end and returns what it wrote to its standard output. Its errors carry what it wrote to the other.
func (j jvm) run(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(j.ctx, patience)
	defer cancel()
	cmd := j.command(ctx, args...)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", filepath.Base(args[0]), err, lastLines(out.String()), lastLines(complaints.String()))
	}
	return out.String(), nil
}

// lastLines is the end of what a program said.
func lastLines(text string) string {
	const bound = 3000
	if len(text) > bound {
		text = "..." + text[len(text)-bound:]
	}
	return text
}

// check tells whether jars and our own sources are where they should be.
func (j jvm) check() error {
	if found, err := filepath.Glob(filepath.Join(j.lib, "kafka-clients-*.jar")); err != nil || len(found) == 0 {
		return fmt.Errorf("no jars of Kafka in %q: run.sh fetches them", j.lib)
	}
	if _, err := os.Stat(j.source("Client.java")); err != nil {
		return fmt.Errorf("start this in the folder internal/interop: %w", err)
	}
	return nil
}

// lines splits what a program wrote.
func lines(text string) []string {
	return strings.Split(strings.TrimRight(text, "\n"), "\n")
}
