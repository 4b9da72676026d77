package group_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
)

// sendMail appends a job of a customer.
func sendMail(eng *topic.Engine, customer, mail string) {
	t, err := eng.Topic(context.Background(), "mails")
	if err == nil {
		_, err = t.Append(context.Background(), topic.Record{Key: []byte(customer), Value: []byte(mail)})
	}
	if err != nil {
		fmt.Println(err)
	}
}

// runUntil runs workers until the n-th delivery is acknowledged.
func runUntil(ctx context.Context, q *group.Queue, workers, n int, fn func(ctx context.Context, d *group.Delivery) error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan struct{}, n)
	go func() {
		for range n {
			<-done
		}
		stop()
	}()
	err := q.Run(ctx, workers, func(ctx context.Context, d *group.Delivery) error {
		defer func() { done <- struct{}{} }()
		return fn(ctx, d)
	})
	if !errors.Is(err, context.Canceled) {
		fmt.Println(err)
	}
}

// A customer who has much to send does not hold up those who have little.
func ExampleFairBy() {
	ctx := context.Background()
	eng := memory()
	defer eng.Close()
	for n := range 1000 {
		sendMail(eng, "ada", fmt.Sprint("newsletter to reader ", n))
	}
	sendMail(eng, "bob", "happy birthday")
	sendMail(eng, "eve", "see you at eight")

	q, err := group.OpenQueue(ctx, eng, "mails", group.FairBy(func(r *topic.Record) string { return string(r.Key) }))
	if err != nil {
		fmt.Println(err)
		return
	}
	n := 0
	for d, err := range q.Deliveries(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s: %s\n", d.Key, d.Value)
		d.Ack()
		if n++; n == 4 {
			break
		}
	}
	// Output:
	// ada: newsletter to reader 0
	// bob: happy birthday
	// eve: see you at eight
	// ada: newsletter to reader 1
}

// A mail server that wants no more than a hundred mails a second, two of one customer at a time.
func ExampleRate() {
	ctx := context.Background()
	eng := memory()
	defer eng.Close()
	for n := range 5 {
		sendMail(eng, "ada", fmt.Sprint("mail ", n))
	}
	q, err := group.OpenQueue(ctx, eng, "mails", group.Rate(100, 1), group.MaxInFlightPerKey(2))
	if err != nil {
		fmt.Println(err)
		return
	}
	began := time.Now()
	runUntil(ctx, q, 8, 5, func(context.Context, *group.Delivery) error { return nil })
	fmt.Println(time.Since(began) >= 40*time.Millisecond)
	// Output:
	// true
}

// What producers mark as urgent goes first.
func ExampleByHeader() {
	ctx := context.Background()
	eng := memory()
	defer eng.Close()
	appendAll(eng, "jobs", "sweep the yard")
	jobs, err := eng.Topic(ctx, "jobs")
	if err != nil {
		fmt.Println(err)
		return
	}
	fire := topic.Record{Value: []byte("put out the fire"), Headers: []topic.Header{{Key: "priority", Value: []byte("9")}}}
	if _, err := jobs.Append(ctx, fire); err != nil {
		fmt.Println(err)
		return
	}
	q, err := group.OpenQueue(ctx, eng, "jobs", group.Priority(group.ByHeader("priority")))
	if err != nil {
		fmt.Println(err)
		return
	}
	runUntil(ctx, q, 1, 2, func(_ context.Context, d *group.Delivery) error {
		fmt.Println(string(d.Value))
		return nil
	})
	// Output:
	// put out the fire
	// sweep the yard
}

// An operator looks at a queue without taking anything from it.
func ExampleQueue_Entries() {
	ctx := context.Background()
	eng := memory()
	defer eng.Close()
	appendAll(eng, "jobs", "one", "two", "three")
	q, err := group.OpenQueue(ctx, eng, "jobs")
	if err != nil {
		fmt.Println(err)
		return
	}
	for d, err := range q.Deliveries(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		if d.Offset == 0 {
			d.Retry(group.RetryAfter(time.Hour, errors.New("no paper")))
			continue
		}
		for e, err := range q.Entries(ctx) {
			if err != nil {
				fmt.Println(err)
				return
			}
			fmt.Printf("%s: %s, %d attempts\n", e.Value, e.State, e.Attempts)
		}
		break
	}
	// Output:
	// one: resting, 1 attempts
	// two: in flight, 1 attempts
	// three: ready, 0 attempts
}

// What comes next, without taking it: of each customer, named by the first word, one at a time.
func ExampleQueue_Peek() {
	ctx := context.Background()
	eng := memory()
	defer eng.Close()
	appendAll(eng, "orders", "ada tea", "ada milk", "bob bread", "ada eggs")
	q, err := group.OpenQueue(ctx, eng, "orders", group.OrderByKey(), group.KeyBy(func(r *topic.Record) []byte {
		customer, _, _ := bytes.Cut(r.Value, []byte(" "))
		return customer
	}))
	if err != nil {
		fmt.Println(err)
		return
	}
	list, err := q.Peek(ctx, 10)
	for _, e := range list {
		fmt.Println(string(e.Value))
	}
	fmt.Println(err)
	// Output:
	// ada tea
	// bob bread
	// <nil>
}

// Each queue of a topic has every record.
func ExampleQueues() {
	ctx := context.Background()
	eng := memory()
	defer eng.Close()
	for _, name := range []string{"thumbnails", "index"} {
		q, err := group.OpenQueue(ctx, eng, "uploads", group.QueueName(name))
		if err == nil {
			err = q.Close()
		}
		if err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(group.Queues(ctx, eng, "uploads"))
	// Output:
	// [index thumbnails] <nil>
}
