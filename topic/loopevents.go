package topic

import (
	"log/slog"
	"time"
)

// LoopEvent is what happened to a loop over records.
type LoopEvent string

// What happens to loops.
const (
	// HandlerPanicked: a handler panicked, or ended its goroutine.
	HandlerPanicked LoopEvent = "handler panicked"
	// AwaitsRoom: the disk has no room for what the loop must store; it waits and tries again.
	AwaitsRoom LoopEvent = "loop waits for room on the disk"
	// FoundRoom: such a wait is over.
	FoundRoom LoopEvent = "loop goes on, the disk has room"
	// DeadLetterRefused: the topic of a queue's dead letters refused one, and its record is parked; told once for each record.
	DeadLetterRefused LoopEvent = "dead letter refused"
)

// LoopFacts tells of a loop over records: a group's member, a queue, a router.
type LoopFacts struct {
	What     LoopEvent
	Loop     string   // "consumer", "queue" or "router"
	Name     string   // of the group or the queue
	Position Position // of HandlerPanicked: the first record in hand; of DeadLetterRefused: the record
	Err      error
	Stack    []byte        // of HandlerPanicked
	Took     time.Duration // of FoundRoom: how long the wait was
}

// TellLoop logs what happened to a loop of a package above, and tells [Events].
func (e *Engine) TellLoop(f LoopFacts) {
	if e.closing == nil {
		return
	}
	logLoop(e.logger, f)
	tell(e, e.events.Loop, f)
}

func logLoop(l *slog.Logger, f LoopFacts) {
	switch f.What {
	case HandlerPanicked:
		l.Error(string(f.What), "loop", f.Loop, "name", f.Name, "at", f.Position.String(), "err", f.Err, "stack", string(f.Stack))
	case DeadLetterRefused:
		l.Warn(string(f.What), "loop", f.Loop, "name", f.Name, "at", f.Position.String(), "err", f.Err)
	case AwaitsRoom:
		l.Warn(string(f.What), "loop", f.Loop, "name", f.Name, "err", f.Err)
	default:
		l.Info(string(f.What), "loop", f.Loop, "name", f.Name, "took", f.Took)
	}
}
