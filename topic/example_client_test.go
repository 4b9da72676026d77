package topic_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/quirelog/quire/compress"
	"github.com/quirelog/quire/topic"
)

// must is for what cannot fail here.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func ExampleEngine_NewProducer() {
	ctx := context.Background()
	eng := must(topic.Open("", topic.InMemory()))
	defer eng.Close()
	must(eng.Topic(ctx, "orders"))

	p := must(eng.NewProducer(topic.Linger(5*time.Millisecond), topic.Acks(topic.All), topic.Compress(compress.LZ4)))
	for i := range 3 {
		err := p.Send(ctx, "orders", topic.Record{Key: []byte("k"), Value: fmt.Append(nil, i)}, func(pos topic.Position, err error) {
			fmt.Println(pos, err)
		})
		if err != nil {
			fmt.Println("not sent:", err)
		}
	}
	if err := p.Shutdown(ctx); err != nil { // sends what is queued, waits for the callbacks
		fmt.Println(err)
	}
	// Output:
	// orders/0@0 <nil>
	// orders/0@1 <nil>
	// orders/0@2 <nil>
}

func ExampleProducer_SendSync() {
	ctx := context.Background()
	eng := must(topic.Open("", topic.InMemory()))
	defer eng.Close()
	must(eng.Topic(ctx, "orders"))
	p := must(eng.NewProducer())
	defer p.Close()

	pos, err := p.SendSync(ctx, "orders", topic.Record{Value: []byte("on disk when it returns")})
	fmt.Println(pos, err)
	_, err = p.SendSync(ctx, "orders", topic.Record{Value: make([]byte, 2<<20)})
	fmt.Println(errors.Is(err, topic.ErrTooLarge))
	// Output:
	// orders/0@0 <nil>
	// true
}

func ExampleEngine_NewConsumer() {
	ctx := context.Background()
	eng := must(topic.Open("", topic.InMemory()))
	defer eng.Close()
	orders := must(eng.Topic(ctx, "orders", topic.Partitions(2)))
	for i := range 4 {
		must(orders.Append(ctx, topic.Record{Value: fmt.Append(nil, i)}, topic.AppendTo(int32(i%2))))
	}

	c := must(eng.NewConsumer(topic.MaxPollRecords(3)))
	defer c.Close()
	if err := c.Assign(topic.TopicPartition{Topic: "orders", Partition: 1}); err != nil {
		panic(err)
	}
	for _, rec := range must(c.Poll(ctx)) {
		fmt.Printf("%s-%d@%d %s\n", rec.Topic, rec.Partition, rec.Offset, rec.Value)
	}
	fmt.Println(c.Position(topic.TopicPartition{Topic: "orders", Partition: 1}))
	// Output:
	// orders-1@0 1
	// orders-1@1 3
	// 2 <nil>
}

func ExampleConsumer_Records() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	eng := must(topic.Open("", topic.InMemory()))
	defer eng.Close()
	orders := must(eng.Topic(ctx, "orders"))
	must(orders.AppendBatch(ctx, []topic.Record{{Value: []byte("a")}, {Value: []byte("b")}, {Value: []byte("c")}}))

	c := must(eng.NewConsumer())
	defer c.Close()
	_ = c.AssignTopics("orders")
	for rec, err := range c.Records(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s ", rec.Value)
		if rec.Offset == 1 {
			break // the position is after what the loop was given
		}
	}
	fmt.Println(c.Position(topic.TopicPartition{Topic: "orders"}))
	// Output: a b 2 <nil>
}

func ExampleTopic_Read() {
	ctx := context.Background()
	eng := must(topic.Open("", topic.InMemory()))
	defer eng.Close()
	orders := must(eng.Topic(ctx, "orders"))
	day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 5 {
		must(orders.Append(ctx, topic.Record{Value: fmt.Append(nil, "day ", i), Time: day.AddDate(0, 0, i)}))
	}

	for rec, err := range orders.Read(ctx, topic.FromTime(day.AddDate(0, 0, 2)), topic.UntilEnd()) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%d %s\n", rec.Offset, rec.Value)
	}
	// Output:
	// 2 day 2
	// 3 day 3
	// 4 day 4
}

func ExampleTopic_Batches() {
	ctx := context.Background()
	eng := must(topic.Open("", topic.InMemory()))
	defer eng.Close()
	orders := must(eng.Topic(ctx, "orders"))
	must(orders.AppendBatch(ctx, []topic.Record{{Value: []byte("a")}, {Value: []byte("b")}}))

	for batch, err := range orders.Batches(ctx, 0, topic.UntilEnd()) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(batch.BaseOffset(), batch.LastOffset(), batch.Count(), batch.Codec())
	}
	// Output: 0 1 2 none
}

// A loop that chooses whom to read, and waits for other things, too.
func ExampleConsumer_Ready() {
	ctx := context.Background()
	eng := must(topic.Open("", topic.InMemory()))
	defer eng.Close()
	orders := must(eng.Topic(ctx, "orders", topic.Partitions(1000)))
	c := must(eng.NewConsumer())
	defer c.Close()
	if err := c.AssignTopics("orders"); err != nil {
		fmt.Println(err)
		return
	}
	must(orders.Append(ctx, topic.Record{Value: []byte("two books")}, topic.AppendTo(700)))
	must(orders.Append(ctx, topic.Record{Value: []byte("a pen")}, topic.AppendTo(42)))

	for got := 0; got < 2; {
		list := must(c.Ready())
		slices.SortFunc(list, topic.TopicPartition.Compare) // low numbers first
		recs := must(c.PollFrom(list...))
		for _, rec := range recs {
			fmt.Println(rec.Partition, string(rec.Value))
		}
		if got += len(recs); len(recs) > 0 {
			continue
		}
		select {
		case <-c.Signal():
		case <-ctx.Done():
		}
	}
	// Output:
	// 42 a pen
	// 700 two books
}

type order struct {
	ID    string
	Cents int64
}

func ExampleOpenTyped() {
	ctx := context.Background()
	eng := must(topic.Open("", topic.InMemory()))
	defer eng.Close()
	orders := must(topic.OpenTyped(ctx, eng, "orders", topic.String, topic.JSON[order]()))
	must(orders.Append(ctx, "o-17", order{"o-17", 990}))
	must(orders.Topic().Append(ctx, topic.Record{Value: []byte("not JSON")}))
	must(orders.Append(ctx, "o-18", order{"o-18", 10}))

	var sum int64
	for rec, err := range orders.Read(ctx, topic.UntilEnd()) {
		var bad *topic.DecodeError
		switch {
		case errors.As(err, &bad): // the loop goes on
			fmt.Println("skipped offset", bad.Record.Offset)
		case err != nil:
			fmt.Println(err)
			return
		default:
			sum += rec.Value.Cents
		}
	}
	fmt.Println(sum)
	// Output:
	// skipped offset 1
	// 1000
}

func ExamplePartitionForKey() {
	fmt.Println(topic.PartitionForKey([]byte("foobar"), 8))
	// Output: 6
}
