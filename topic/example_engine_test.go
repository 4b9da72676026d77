package topic_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

// need ends the program when a call of an example fails.
func need[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

func ExampleOpen() {
	eng, err := topic.Open("", topic.InMemory()) // topic.Open("data") keeps everything on disk
	if err != nil {
		log.Fatal(err)
	}
	defer eng.Close()
	ctx := context.Background()
	orders, err := eng.Topic(ctx, "orders", topic.Partitions(8))
	if err != nil {
		log.Fatal(err)
	}
	pos, err := orders.Append(ctx, topic.Record{Key: []byte("o-17"), Value: []byte("9.90")})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("stored at", pos)
	// Output: stored at orders/3@0
}

func ExampleOpen_readOnly() {
	disk := vfs.NewMem()
	writer := need(topic.Open("data", topic.On(disk)))
	defer writer.Close()
	need(writer.Topic(context.Background(), "orders"))

	reader := need(topic.Open("data", topic.On(disk), topic.ReadOnlyMode()))
	defer reader.Close()
	for _, t := range need(reader.Topics(context.Background())) {
		fmt.Println(t.Name(), t.Partitions())
	}
	_, err := reader.Topic(context.Background(), "new")
	fmt.Println(errors.Is(err, topic.ErrReadOnly))
	// Output:
	// orders 1
	// true
}

func ExampleEngine_Topic() {
	eng := need(topic.Open("", topic.InMemory()))
	defer eng.Close()
	ctx := context.Background()
	need(eng.Topic(ctx, "orders", topic.Partitions(4), topic.Retention(time.Hour)))
	_, err := eng.Topic(ctx, "orders", topic.Partitions(6), topic.Set("retention.ms", "60000"))
	fmt.Println(errors.Is(err, topic.ErrExists))
	fmt.Println(err)
	// Output:
	// true
	// topic: orders exists with other settings: partitions is 4, wanted 6, retention.ms is 3600000, wanted 60000
}

func ExampleEngine_CreateTopic() {
	eng := need(topic.Open("", topic.InMemory()))
	defer eng.Close()
	_, err := eng.CreateTopic(context.Background(), "orders/new", topic.Set("segment.bytes", "lots"), topic.Set("segmnt.ms", "1"))
	for line := range strings.Lines(err.Error()) {
		fmt.Print(line)
	}
	// Output:
	// topic: invalid: topic name "orders/new": only letters, digits, '.', '_' and '-' are allowed
	// topic: invalid: setting segment.bytes: "lots" is not a whole number
	// topic: invalid: setting "segmnt.ms" is not known
}

func ExampleEngine_AlterTopic() {
	eng := need(topic.Open("", topic.InMemory()))
	defer eng.Close()
	ctx := context.Background()
	orders := need(eng.Topic(ctx, "orders"))
	if err := eng.AlterTopic(ctx, "orders", topic.Partitions(3), topic.SyncEvery(5*time.Millisecond)); err != nil {
		log.Fatal(err)
	}
	s := orders.Settings()
	fmt.Println(orders.Partitions(), s.Durability, s.SyncInterval)
	// Output: 3 interval 5ms
}

func ExampleEngine_DeleteTopic() {
	eng := need(topic.Open("", topic.InMemory()))
	defer eng.Close()
	ctx := context.Background()
	orders := need(eng.Topic(ctx, "orders"))
	fmt.Println(eng.DeleteTopic(ctx, "orders"))
	_, err := orders.Append(ctx, topic.Record{})
	fmt.Println(errors.Is(err, topic.ErrNotFound))
	// Output:
	// <nil>
	// true
}

func ExampleEngine_Topics() {
	eng := need(topic.Open("", topic.InMemory()))
	defer eng.Close()
	ctx := context.Background()
	need(eng.Topic(ctx, "refunds"))
	need(eng.Topic(ctx, "orders"))
	need(eng.Topic(ctx, "__state"))
	for _, t := range need(eng.Topics(ctx)) {
		fmt.Println(t.Name())
	}
	fmt.Println(len(need(eng.Topics(ctx, topic.WithInternal()))))
	// Output:
	// orders
	// refunds
	// 3
}

func ExampleTopic_AppendBatch() {
	eng := need(topic.Open("", topic.InMemory()))
	defer eng.Close()
	ctx := context.Background()
	orders := need(eng.Topic(ctx, "orders"))
	positions := need(orders.AppendBatch(ctx, []topic.Record{{Value: []byte("a")}, {Value: []byte("b")}}))
	fmt.Println(positions[0], positions[1])
	// Output: orders/0@0 orders/0@1
}

// A broker moves whole batches: what a client sent is stored as it came, and what is stored is sent as it lies.
func ExamplePartition_FetchRaw() {
	eng := need(topic.Open("", topic.InMemory()))
	defer eng.Close()
	ctx := context.Background()
	need(eng.Topic(ctx, "orders"))
	p := need(eng.Partition("orders", 0))

	b := record.NewBuilder(record.BuilderConfig{})
	if err := b.Add(&record.Record{Timestamp: 1, Value: []byte("from a client")}); err != nil {
		log.Fatal(err)
	}
	appended := need(p.AppendRaw(ctx, need(b.Seal()), topic.RawAppend{}))
	fmt.Println("appended", appended.First, appended.Last)

	raw := need(p.FetchRaw(ctx, 0, topic.Fetch{MinBytes: 1, MaxBytes: 1 << 20, MaxWait: time.Second}))
	defer raw.Release()
	var reply strings.Builder // a *net.TCPConn would be fed by the kernel
	n := need(raw.WriteTo(&reply))
	fmt.Println("sent", n, "of", raw.Len(), "high watermark", raw.HighWatermark)

	_, err := p.FetchRaw(ctx, 99, topic.Fetch{})
	var oor *topic.OffsetRangeError
	if errors.As(err, &oor) {
		fmt.Println("holds", oor.First, "to", oor.Next)
	}
	// Output:
	// appended 0 0
	// sent 81 of 81 high watermark 1
	// holds 0 to 1
}

func ExampleParseSettings() {
	s, err := topic.ParseSettings(map[string]string{"cleanup.policy": "compact", "segment.ms": "3600000"})
	fmt.Println(s.Cleanup, s.SegmentAge, s.MaxMessageBytes, err)
	_, err = topic.ParseSettings(map[string]string{"min.compaction.lag.ms": "5", "max.compaction.lag.ms": "2"})
	fmt.Println(err)
	// Output:
	// compact 1h0m0s 1048588 <nil>
	// topic: invalid: settings: max.compaction.lag.ms 2 is below min.compaction.lag.ms 5
}

func ExamplePosition() {
	pos := topic.Position{Topic: "orders", Partition: 3, Offset: 1042}
	fmt.Println(pos)
	back := need(topic.ParsePosition("orders/3@1042"))
	fmt.Println(back.Offset, back.Compare(pos) < 0) // the text does not carry the epoch
	// Output:
	// orders/3@1042
	// 1042 true
}

func ExampleWithEvents() {
	events := topic.Events{
		TopicCreated:    func(f topic.TopicFacts) { fmt.Println("created", f.Topic) },
		PartitionOpened: func(f topic.OpenedFacts) { fmt.Println("opened", f.Topic, f.Partition) },
	}
	eng := need(topic.Open("", topic.InMemory(), topic.WithEvents(events)))
	defer eng.Close()
	ctx := context.Background()
	orders := need(eng.Topic(ctx, "orders"))
	need(orders.Append(ctx, topic.Record{}))
	fmt.Println(eng.Metrics().Total.RecordsIn)
	// Output:
	// created orders
	// opened orders 0
	// 1
}
