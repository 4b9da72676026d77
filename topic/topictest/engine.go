package topictest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

// dir is the engine's directory on its disk.
const dir = "data"

// Engine is an engine for one test. The embedded engine is the one that is open at present: Crash and Reopen replace
// it, and what was got from the one before (topics, producers, consumers) ends with it.
type Engine struct {
	*topic.Engine
	t       testing.TB
	opts    []topic.Option
	disk    *vfs.Crash
	faults  *vfs.Fault
	crashes uint64
	excused bool // the test made the disk fail: errors at the end are its own
}

// New opens an engine in memory, with the given options; [topic.On] and the like have no effect. The test's end closes
// it, and fails the test if that fails or if something is still open then, for instance a slice of [topic.Partition.FetchRaw]
// that nobody released. The engine logs to t.Output() unless a [topic.Logger] is among the options.
//
// With Go 1.26, go test -artifacts keeps the disk of a failed test for a look at it.
func New(t testing.TB, opts ...topic.Option) *Engine {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(t.Output(), nil))
	e := &Engine{t: t, opts: append([]topic.Option{topic.Logger(logger)}, opts...)}
	e.start(vfs.NewCrash())
	t.Cleanup(e.end)
	return e
}

// start opens an engine on a disk.
func (e *Engine) start(disk *vfs.Crash) {
	e.t.Helper()
	e.disk, e.faults = disk, vfs.NewFault(disk)
	eng, err := topic.Open(dir, append(e.opts[:len(e.opts):len(e.opts)], topic.On(e.faults))...)
	if err != nil {
		e.t.Fatalf("topictest: the engine does not open: %v", err)
	}
	e.Engine = eng
}

// stop closes the engine and looks for what it left behind.
func (e *Engine) stop() {
	e.t.Helper()
	if err := e.Engine.Close(); err != nil && !e.excused {
		e.t.Errorf("topictest: closing the engine: %v", err)
	}
	e.released()
}

// releaseTime bounds how long a goroutine that is inside a read when the engine closes may take to come out of it. In
// a bubble that is no time at all.
const releaseTime = time.Second

// released looks for files that are still open after the engine was closed.
func (e *Engine) released() {
	e.t.Helper()
	for pause := time.Millisecond; e.disk.OpenFiles() > 0; pause *= 2 {
		if pause > releaseTime {
			e.t.Errorf("topictest: %d files are still open after the engine was closed: something was not released", e.disk.OpenFiles())
			return
		}
		<-time.NewTimer(pause).C
	}
}

// end is the test's cleanup.
func (e *Engine) end() {
	e.t.Helper()
	e.faults.Clear()
	e.stop()
	if e.t.Failed() {
		e.keep()
	}
}

// Reopen closes the engine in good order and opens it again, as a program that is restarted does. It returns e.
func (e *Engine) Reopen() *Engine {
	e.t.Helper()
	e.stop()
	e.start(e.disk)
	e.excused = false
	return e
}

// OpenTopic opens a topic, or creates it with the given options; see [topic.Engine.Topic].
func (e *Engine) OpenTopic(name string, opts ...topic.TopicOption) *topic.Topic {
	e.t.Helper()
	t, err := e.Topic(context.Background(), name, opts...)
	if err != nil {
		e.t.Fatalf("topictest: topic %q: %v", name, err)
	}
	return t
}
