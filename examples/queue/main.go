package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
)

func main() {
	dir := flag.String("dir", "uploads", "folder for the engine's data")
	workers := flag.Int("workers", 4, "how many pictures are handled at once")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, *dir, *workers); err != nil {
		fmt.Fprintln(os.Stderr, "queue:", err)
		os.Exit(1)
	}
}

// run is the program.
func run(ctx context.Context, out io.Writer, dir string, workers int, opts ...topic.Option) (err error) {
	eng, err := topic.Open(dir, opts...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, eng.Close()) }()
	uploads, err := eng.Topic(ctx, "uploads")
	if err != nil {
		return err
	}
	q, err := group.OpenQueue(ctx, eng, "uploads", group.QueueName("thumbnails"),
		group.MaxAttempts(3),
		group.Backoff(20*time.Millisecond, time.Second), // exponential with jitter
		group.DeadLetter("uploads.dead"),                // original bytes, every attempt's error and time
		group.OrderByKey())                              // one in flight per user, users in parallel
	if err != nil {
		return err
	}
	s := &service{out: out, queue: q, uploads: uploads}
	if err := s.upload(ctx); err != nil {
		return err
	}
	if err := s.work(ctx, workers); err != nil || ctx.Err() != nil {
		return err
	}
	if err := s.printDead(ctx, eng); err != nil {
		return err
	}
	return s.redrive(ctx, workers)
}
