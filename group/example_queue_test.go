package group_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
)

// memory opens an engine for an example.
func memory() *topic.Engine {
	eng, err := topic.Open("", topic.InMemory())
	if err != nil {
		fmt.Println(err)
	}
	return eng
}

func appendAll(eng *topic.Engine, name string, values ...string) {
	t, err := eng.Topic(context.Background(), name)
	for _, v := range values {
		if err == nil {
			_, err = t.Append(context.Background(), topic.Record{Value: []byte(v)})
		}
	}
	if err != nil {
		fmt.Println(err)
	}
}

// A queue in a loop: each record is handled once.
func ExampleOpenQueue() {
	ctx := context.Background()
	eng := memory()
	defer eng.Close()
	appendAll(eng, "jobs", "resize 1.png", "resize 2.png")

	q, err := group.OpenQueue(ctx, eng, "jobs", group.Lease(30*time.Second))
	if err != nil {
		fmt.Println(err)
		return
	}
	for d, err := range q.Deliveries(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s (attempt %d)\n", d.Value, d.Attempt)
		d.Ack()
		if d.Offset == 1 {
			break
		}
	}
	fmt.Println(q.Metrics().Acknowledged, "done")
	// Output:
	// resize 1.png (attempt 1)
	// resize 2.png (attempt 1)
	// 2 done
}

// Workers with retries: what fails is tried again, what cannot be mended goes to the dead letters.
func ExampleQueue_Run() {
	ctx, stop := context.WithCancel(context.Background())
	defer func() { stop() }()
	eng := memory()
	defer eng.Close()
	appendAll(eng, "uploads", "text.txt", "picture.png")

	q, err := group.OpenQueue(ctx, eng, "uploads",
		group.MaxAttempts(5), group.Backoff(time.Millisecond, time.Second), group.DeadLetter("uploads.dead"))
	if err != nil {
		fmt.Println(err)
		return
	}
	err = q.Run(ctx, 1, func(_ context.Context, d *group.Delivery) error {
		fmt.Printf("%s, attempt %d\n", d.Value, d.Attempt)
		switch {
		case string(d.Value) == "text.txt":
			return group.Reject(errors.New("not a picture"))
		case d.Attempt == 1:
			return group.RetryAfter(5*time.Millisecond, errors.New("throttled"))
		}
		stop()
		return nil
	})
	fmt.Println(errors.Is(err, context.Canceled), q.Metrics().Dead, "dead")
	// Output:
	// text.txt, attempt 1
	// picture.png, attempt 1
	// picture.png, attempt 2
	// true 1 dead
}

// What died is put back once the reason is mended.
func ExampleQueue_Redrive() {
	ctx := context.Background()
	eng := memory()
	defer eng.Close()
	appendAll(eng, "mails", "to ada", "to nobody")

	q, err := group.OpenQueue(ctx, eng, "mails", group.MaxAttempts(1), group.DeadLetter("mails.dead"))
	if err != nil {
		fmt.Println(err)
		return
	}
	mended := false
	var stop func()
	stopWith := func(dead int64, stop func()) {
		for q.Metrics().Dead < dead {
			time.Sleep(time.Millisecond)
		}
		stop()
	}
	send := func(_ context.Context, d *group.Delivery) error {
		if mended && string(d.Value) == "to ada" {
			fmt.Println("sent", string(d.Value))
			stop()
			return nil
		}
		if d.Offset == 1 {
			go stopWith(2, stop) // dead letters
		}
		return errors.New("no route")
	}
	work := func() {
		run, cancel := context.WithCancel(ctx)
		defer cancel()
		stop = cancel
		if err := q.Run(run, 1, send); !errors.Is(err, context.Canceled) {
			fmt.Println(err)
		}
	}
	work()
	mended = true
	n, err := q.Redrive(ctx, func(d group.DeadRecord) bool {
		fmt.Printf("%s: %s after %d attempt, %s\n", d.Value, d.Reason, len(d.Attempts), d.Attempts[0].Error)
		return string(d.Value) == "to ada"
	})
	fmt.Println(n, err)
	work()
	// Output:
	// to ada: attempts after 1 attempt, no route
	// to nobody: attempts after 1 attempt, no route
	// 1 <nil>
	// sent to ada
}
