package group_test

import (
	"context"
	"fmt"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
)

// A topic whose records go when the queue that works on them, and no sooner, has finished them.
func Example_retainUntilAcked() {
	ctx := context.Background()
	eng := memory()
	defer eng.Close()
	jobs, err := eng.Topic(ctx, "jobs", topic.RetainUntilAcked("resize"), topic.SegmentBytes(100))
	if err != nil {
		fmt.Println(err)
		return
	}
	appendAll(eng, "jobs", "1.png", "2.png", "3.png")
	first := func() int64 {
		p, err := jobs.Partition(0)
		if err == nil {
			err = eng.ApplyRetention(ctx) // as the engine does by itself from time to time
		}
		start, _ := p.Start()
		if err != nil {
			fmt.Println(err)
		}
		return start
	}
	q, err := group.OpenQueue(ctx, eng, "jobs", group.QueueName("resize"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("first of all:", first())
	for d, err := range q.Deliveries(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		d.Ack()
		if d.Offset == 1 {
			break
		}
	}
	fmt.Println("when two are done:", first())
	// Output:
	// first of all: 0
	// when two are done: 2
}

// A queue that is deleted begins anew when it is opened again.
func ExampleDeleteQueue() {
	ctx := context.Background()
	eng := memory()
	defer eng.Close()
	appendAll(eng, "jobs", "1.png", "2.png")
	for range 2 {
		q, err := group.OpenQueue(ctx, eng, "jobs")
		if err != nil {
			fmt.Println(err)
			return
		}
		runUntil(ctx, q, 1, 2, func(_ context.Context, d *group.Delivery) error {
			fmt.Println(string(d.Value))
			return nil
		})
		fmt.Println(group.DeleteQueue(ctx, eng, "jobs", "jobs"))
	}
	// Output:
	// 1.png
	// 2.png
	// <nil>
	// 1.png
	// 2.png
	// <nil>
}
