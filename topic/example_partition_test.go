package topic_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/quirelog/quire/compress"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/topic"
)

// One record, on disk when the call returns. The key chooses the partition; the error says whether it is in the log.
func ExampleTopic_Append() {
	ctx := context.Background()
	eng := must(topic.Open("", topic.InMemory()))
	defer eng.Close()
	orders := must(eng.Topic(ctx, "orders", topic.Partitions(4)))

	pos, err := orders.Append(ctx, topic.Record{
		Key: []byte("alice"), Value: []byte("two books"), Headers: []topic.Header{{Key: "trace", Value: []byte("4f2a")}},
	})
	fmt.Println(pos, err)
	again := must(orders.Append(ctx, topic.Record{Key: []byte("alice"), Value: []byte("a pen")}))
	fmt.Println(again.Partition == pos.Partition, again.Offset)

	_, err = orders.Append(ctx, topic.Record{Key: []byte("bob"), Value: make([]byte, 2<<20)})
	switch {
	case errors.Is(err, topic.ErrUncertain):
		fmt.Println("it may be in the log or not")
	case err != nil:
		fmt.Println("not in the log:", errors.Is(err, topic.ErrTooLarge))
	}
	// Output:
	// orders/1@0 <nil>
	// true 1
	// not in the log: true
}

// A broker appends what a client sent, compressed as it came. Sent again by an idempotent producer, a batch is not
// stored twice: the answer is where it lies.
func ExamplePartition_AppendRaw() {
	ctx := context.Background()
	eng := must(topic.Open("", topic.InMemory()))
	defer eng.Close()
	must(eng.Topic(ctx, "orders"))
	p := must(eng.Partition("orders", 0))

	b := record.NewBuilder(record.BuilderConfig{Codec: compress.Zstd, HasProducer: true, ProducerID: 7})
	for _, v := range []string{"two books", "a pen"} {
		if err := b.Add(&record.Record{Timestamp: 1000, Value: []byte(v)}); err != nil {
			panic(err)
		}
	}
	batch := bytes.Clone(must(b.Seal()))
	first := must(p.AppendRaw(ctx, batch, topic.RawAppend{}))
	fmt.Println(first.First, first.Last, first.Duplicate)
	again := must(p.AppendRaw(ctx, batch, topic.RawAppend{}))
	fmt.Println(again.First, again.Last, again.Duplicate)

	batch[len(batch)-1] ^= 1
	_, err := p.AppendRaw(ctx, batch, topic.RawAppend{})
	fmt.Println(errors.Is(err, topic.ErrCorrupt))
	// Output:
	// 0 1 false
	// 0 1 true
	// true
}

// The start moves up, the rest keeps its offsets.
func ExamplePartition_DeleteRecords() {
	ctx := context.Background()
	eng := must(topic.Open("", topic.InMemory()))
	defer eng.Close()
	orders := must(eng.Topic(ctx, "orders"))
	must(orders.AppendBatch(ctx, []topic.Record{{Value: []byte("a")}, {Value: []byte("b")}}))
	must(orders.Append(ctx, topic.Record{Value: []byte("c")}))

	p := must(orders.Partition(0))
	fmt.Println(p.DeleteRecords(ctx, 2))
	for rec, err := range orders.Read(ctx, topic.FromStart(), topic.UntilEnd()) {
		if err != nil {
			panic(err)
		}
		fmt.Println(rec.Offset, string(rec.Value))
	}
	_, err := p.DeleteRecords(ctx, 10)
	fmt.Println(errors.Is(err, topic.ErrOffsetOutOfRange))
	fmt.Println(p.DeleteRecords(ctx, -1)) // all that are visible
	// Output:
	// 2 <nil>
	// 2 c
	// true
	// 3 <nil>
}

// Poll in a loop of one's own: the position is where the next call goes on, and can be moved.
func ExampleConsumer_Poll() {
	ctx := context.Background()
	eng := must(topic.Open("", topic.InMemory()))
	defer eng.Close()
	orders := must(eng.Topic(ctx, "orders"))
	for i := range 5 {
		must(orders.Append(ctx, topic.Record{Value: fmt.Append(nil, i)}))
	}

	c := must(eng.NewConsumer(topic.MaxPollRecords(2), topic.MaxWait(10*time.Millisecond)))
	defer c.Close()
	at := topic.TopicPartition{Topic: "orders"}
	if err := c.Assign(at); err != nil {
		panic(err)
	}
	for {
		recs, err := c.Poll(ctx) // waits for records, at most MaxWait
		if err != nil {
			panic(err)
		}
		if len(recs) == 0 {
			break
		}
		for _, rec := range recs {
			fmt.Printf("%s ", rec.Value)
		}
		fmt.Print("| ")
	}
	_ = c.Seek(at, 4)
	fmt.Printf("%s\n", must(c.Poll(ctx))[0].Value)
	// Output: 0 1 | 2 3 | 4 | 4
}

// An interceptor stamps every record on its way in, and counts outcomes.
func ExampleIntercept() {
	ctx := context.Background()
	eng := must(topic.Open("", topic.InMemory()))
	defer eng.Close()
	orders := must(eng.Topic(ctx, "orders"))

	acked := 0
	p := must(eng.NewProducer(topic.Intercept(topic.ProducerInterceptor{
		OnSend: func(rec topic.Record) topic.Record {
			rec.Headers = append(rec.Headers, topic.Header{Key: "from", Value: []byte("checkout")})
			return rec
		},
		OnAck: func(_ topic.Position, err error) {
			if err == nil {
				acked++
			}
		},
	})))
	must(p.SendSync(ctx, "orders", topic.Record{Value: []byte("two books")}))
	if err := p.Close(); err != nil {
		panic(err)
	}
	fmt.Println("acknowledged:", acked)
	for rec, err := range orders.Read(ctx, topic.FromStart(), topic.UntilEnd()) {
		if err != nil {
			panic(err)
		}
		fmt.Printf("%s, %s=%s\n", rec.Value, rec.Headers[0].Key, rec.Headers[0].Value)
	}
	// Output:
	// acknowledged: 1
	// two books, from=checkout
}

// An interceptor of a consumer sees what Poll is about to return; what it drops counts as read.
func ExampleInterceptConsumed() {
	ctx := context.Background()
	eng := must(topic.Open("", topic.InMemory()))
	defer eng.Close()
	orders := must(eng.Topic(ctx, "orders"))
	for _, v := range []string{"two books", "ping", "a pen"} {
		must(orders.Append(ctx, topic.Record{Value: []byte(v)}))
	}

	c := must(eng.NewConsumer(topic.InterceptConsumed(topic.ConsumerInterceptor{
		OnConsume: func(recs []topic.Record) []topic.Record {
			kept := recs[:0]
			for _, rec := range recs {
				if string(rec.Value) != "ping" {
					kept = append(kept, rec)
				}
			}
			return kept
		},
	})))
	defer c.Close()
	_ = c.AssignTopics("orders")
	for _, rec := range must(c.Poll(ctx)) {
		fmt.Println(rec.Offset, string(rec.Value))
	}
	fmt.Println(c.Position(topic.TopicPartition{Topic: "orders"}))
	// Output:
	// 0 two books
	// 2 a pen
	// 3 <nil>
}

// One goroutine waits for many partitions, and for something else.
func ExamplePartition_Watch() {
	ctx := context.Background()
	eng := must(topic.Open("", topic.InMemory()))
	defer eng.Close()
	orders := must(eng.Topic(ctx, "orders", topic.Partitions(4)))

	changed := make(chan struct{}, 1)
	for n := range int32(4) {
		stop := must(must(orders.Partition(n)).Watch(func() {
			select {
			case changed <- struct{}{}:
			default: // there is word already
			}
		}))
		defer stop()
	}
	must(orders.Append(ctx, topic.Record{Value: []byte("two books")}, topic.AppendTo(2)))
	select {
	case <-changed:
		fmt.Println(must(must(orders.Partition(2)).High()))
	case <-ctx.Done():
	}
	// Output:
	// 1
}
