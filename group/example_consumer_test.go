package group_test

import (
	"context"
	"fmt"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
)

// Two members of a group read a topic once between them: here the second goes on where the first has come to.
func ExampleJoin() {
	ctx := context.Background()
	eng, err := topic.Open("", topic.InMemory())
	if err != nil {
		panic(err)
	}
	defer eng.Close()
	orders, err := eng.Topic(ctx, "orders", topic.Partitions(1))
	if err != nil {
		panic(err)
	}
	for _, v := range []string{"tea", "bread", "jam"} {
		if _, err := orders.Append(ctx, topic.Record{Value: []byte(v)}); err != nil {
			panic(err)
		}
	}
	for _, who := range []string{"morning", "evening"} {
		c, err := group.Join(ctx, eng, "billing", group.Topics("orders"), group.ReadWith(topic.MaxPollRecords(2)))
		if err != nil {
			panic(err)
		}
		for batch, err := range c.Batches(ctx) {
			if err != nil {
				panic(err)
			}
			for _, rec := range batch.Records {
				fmt.Printf("%s: %s\n", who, rec.Value)
				c.Mark(rec)
			}
			break
		}
		if err := c.Close(); err != nil { // commits what was marked
			panic(err)
		}
	}
	// Output:
	// morning: tea
	// morning: bread
	// evening: jam
}

// A group's place can be looked at and moved while it has no members.
func ExampleCoordinator_ResetOffsets() {
	ctx := context.Background()
	eng, err := topic.Open("", topic.InMemory())
	if err != nil {
		panic(err)
	}
	defer eng.Close()
	orders, err := eng.Topic(ctx, "orders", topic.Partitions(1))
	if err != nil {
		panic(err)
	}
	for range 5 {
		if _, err := orders.Append(ctx, topic.Record{Value: []byte("tea")}); err != nil {
			panic(err)
		}
	}
	groups, err := group.On(eng)
	if err != nil {
		panic(err)
	}
	first := topic.TopicPartition{Topic: "orders", Partition: 0}
	for _, to := range []group.Reset{group.ToLatest(), group.ShiftBy(-2), group.ToEarliest()} {
		list, err := groups.ResetOffsets(ctx, "billing", to, first)
		if err != nil {
			panic(err)
		}
		fmt.Println(list[0].TopicPartition, list[0].Offset)
	}
	// Output:
	// orders-0 5
	// orders-0 3
	// orders-0 0
}
