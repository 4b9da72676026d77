package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
)

var (
	errNotAPicture = errors.New("not a picture")
	errMounting    = errors.New("disk is being mounted")
	errBroken      = errors.New("unexpected end of picture")
)

// service makes thumbnails.
type service struct {
	out     io.Writer
	queue   *group.Queue
	uploads *topic.Topic
	mended  atomic.Bool

	mu   sync.Mutex
	made int
}

// upload appends what users send. It is on disk when it returns: the user can be told so.
func (s *service) upload(ctx context.Context) error {
	for _, up := range [][2]string{
		{"ada", "harbour.png"}, {"bob", "invoice.pdf"}, {"ada", "slow/sunset.png"}, {"eve", "broken.png"}, {"bob", "cat.png"}, {"ada", "bridge.png"},
	} {
		if _, err := s.uploads.Append(ctx, topic.Record{Key: []byte(up[0]), Value: []byte(up[1])}); err != nil {
			return err
		}
	}
	return nil
}

// thumbnail handles one picture: what it returns is the answer to the queue.
func (s *service) thumbnail(_ context.Context, d *group.Delivery) error {
	name := string(d.Value)
	switch {
	case !strings.HasSuffix(name, ".png"):
		return group.Reject(errNotAPicture) // no attempt will mend it
	case strings.HasPrefix(name, "slow/") && d.Attempt < 3:
		return group.RetryAfter(10*time.Millisecond, errMounting)
	case name == "broken.png" && !s.mended.Load():
		return errBroken // tried again after a rest
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	return nil
}

// work runs the workers until the queue is empty.
func (s *service) work(ctx context.Context, workers int) error {
	run, stop := context.WithCancel(ctx)
	defer stop()
	over := make(chan error, 1)
	go func() { over <- s.queue.Run(run, workers, s.thumbnail) }()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case err := <-over:
			return err
		case <-timer.C:
		}
		if m := s.queue.Metrics(); m.Open == 0 && m.Backlog == 0 {
			stop()
			err := <-over
			if errors.Is(err, context.Canceled) {
				err = nil
			}
			s.mu.Lock()
			fmt.Fprintf(s.out, "thumbnails made: %d\n", s.made)
			s.mu.Unlock()
			return err
		}
		timer.Reset(5 * time.Millisecond)
	}
}

// printDead shows what could not be done, and why.
func (s *service) printDead(ctx context.Context, eng *topic.Engine) error {
	dead, err := eng.Topic(ctx, "uploads.dead")
	if err != nil {
		return err
	}
	for rec, err := range dead.Read(ctx, topic.UntilEnd()) {
		if err != nil {
			return err
		}
		if d, ok := group.ParseDeadRecord(*rec); ok {
			fmt.Fprintf(s.out, "dead: %s of %s (%s), %d attempts, the last: %s\n", d.Value, d.Key, d.Reason, len(d.Attempts), d.Attempts[len(d.Attempts)-1].Error)
		}
	}
	return nil
}

// redrive puts back what has been mended, and works it off.
func (s *service) redrive(ctx context.Context, workers int) error {
	s.mended.Store(true)
	n, err := s.queue.Redrive(ctx, func(d group.DeadRecord) bool { return d.Reason == group.MaxAttemptsReached })
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "put back: %d\n", n)
	return s.work(ctx, workers)
}
