package group

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/topic"
)

// lacksRoom tells that something was not done for want of room on the disk, which may come back. What callbacks return does not count.
func lacksRoom(err error) bool {
	return (errors.Is(err, topic.ErrNoSpace) || errors.Is(err, topic.ErrQuota) || errors.Is(err, syscall.ENOSPC)) &&
		!errors.As(err, new(userError))
}

// rests says how long to rest between tries: first, and twice as long after each further one, at most most.
type rests struct{ first, most time.Duration }

// defaultRests are those of every loop that is not told otherwise ([RetryCopies]).
var defaultRests = rests{DefaultFirstRetry, DefaultLongestRetry}

// after is the rest after so many tries, drawn between half of it and all.
func (r rests) after(tries int) time.Duration {
	d := r.first
	for i := 1; i < tries && d < r.most; i++ {
		d *= 2
	}
	d = min(d, r.most)
	return d/2 + rand.N(d/2+1)
}

// rest sleeps after so many tries, until ctx ends or over is closed at most; an error is why ctx ended.
func (r rests) rest(ctx context.Context, over <-chan struct{}, tries int) error {
	timer := time.NewTimer(r.after(tries))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-over:
	case <-ctx.Done():
		return bounded.Cause(ctx)
	}
	return nil
}

// A roomWait is a loop's patience with a disk that is full: it rests, tries again, and tells the engine when that begins and ends.
type roomWait struct {
	eng  *topic.Engine
	loop loopName
	rests
	over <-chan struct{} // ends a rest

	mu    sync.Mutex
	tries int
	since time.Time
	total int64 // of tries
}

// patiently takes a step, again and again while the disk has no room for it. After over it is taken once more.
func (w *roomWait) patiently(ctx context.Context, step func() error) error {
	for {
		err := step()
		if !lacksRoom(err) {
			return err
		}
		if err := w.rest(ctx, w.over, w.failed(err)); err != nil {
			return err
		}
	}
}

// failed counts a try.
func (w *roomWait) failed(err error) (tries int) {
	w.mu.Lock()
	w.tries++
	w.total++
	if tries = w.tries; tries == 1 {
		w.since = time.Now()
	}
	w.mu.Unlock()
	if tries == 1 {
		w.eng.TellLoop(topic.LoopFacts{What: topic.AwaitsRoom, Loop: w.loop.kind, Name: w.loop.name, Err: err})
	}
	return tries
}

func (w *roomWait) retries() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.total
}

// found ends the wait, if there is one.
func (w *roomWait) found() {
	w.mu.Lock()
	waited, since := w.tries > 0, w.since
	w.tries = 0
	w.mu.Unlock()
	if waited {
		w.eng.TellLoop(topic.LoopFacts{What: topic.FoundRoom, Loop: w.loop.kind, Name: w.loop.name, Took: time.Since(since)})
	}
}
