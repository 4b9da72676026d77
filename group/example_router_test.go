package group_test

import (
	"context"
	"fmt"
	"time"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
)

// Orders are copied to the topics of those who want them: by the words of their keys, by a header, and by a function that changes them.
func ExampleOpenRouter() {
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
	defer stop()
	eng, err := topic.Open("", topic.InMemory())
	if err != nil {
		panic(err)
	}
	defer eng.Close()
	orders, err := eng.Topic(ctx, "orders")
	if err != nil {
		panic(err)
	}
	slip := func(rec topic.Record) ([]topic.Record, error) {
		return []topic.Record{{Topic: "slips", Key: rec.Key, Value: fmt.Appendf(nil, "pack %s", rec.Value)}}, nil
	}
	urgent := []topic.Header{{Key: "urgent"}} // of any value
	r, err := group.OpenRouter(ctx, eng, "post", group.From("orders"), group.Alternate("rest"), group.Bind(
		group.ByPattern("*.eu.#", "europe"),
		group.ByAnyHeader(urgent, "couriers"),
	))
	if err != nil {
		panic(err)
	}
	defer r.Close()
	ended := make(chan error)
	go func() { ended <- r.Run(ctx, 1) }()

	for _, rec := range []topic.Record{
		{Key: []byte("paid.eu.berlin"), Value: []byte("tea")},
		{Key: []byte("paid.us"), Value: []byte("jam"), Headers: []topic.Header{{Key: "urgent", Value: []byte("1")}}},
		{Key: []byte("open.us"), Value: []byte("bread")},
	} {
		if _, err := orders.Append(ctx, rec); err != nil {
			panic(err)
		}
	}
	for _, name := range []string{"europe", "couriers", "rest"} {
		showFirst(ctx, eng, name)
	}

	// Bindings come and go while it runs.
	if err := r.Bind(ctx, group.ByFunc("slips", slip)); err != nil {
		panic(err)
	}
	if _, err := orders.Append(ctx, topic.Record{Key: []byte("paid.eu"), Value: []byte("honey")}); err != nil {
		panic(err)
	}
	showFirst(ctx, eng, "slips")
	for _, b := range r.Bindings() {
		fmt.Println(b)
	}

	if err := r.Close(); err != nil {
		panic(err)
	}
	if err := <-ended; err != nil {
		panic(err)
	}
	// Output:
	// europe: tea, from orders/0@0
	// couriers: jam, from orders/0@1
	// rest: bread, from orders/0@2 (no binding)
	// slips: pack honey, from orders/0@3
	// pattern "*.eu.#" to europe
	// any header {urgent} to couriers
	// function "slips"
}

// showFirst waits for the first record of a topic.
func showFirst(ctx context.Context, eng *topic.Engine, name string) {
	t, err := eng.Topic(ctx, name)
	if err != nil {
		panic(err)
	}
	for rec, err := range t.Read(ctx, topic.FromStart()) {
		if err != nil {
			panic(err)
		}
		from, _ := group.ParseRouted(*rec)
		if from.Reason != "" {
			from.Reason = " (" + from.Reason + ")"
		}
		fmt.Printf("%s: %s, from %s%s\n", name, rec.Value, from.Source, from.Reason)
		return
	}
}
