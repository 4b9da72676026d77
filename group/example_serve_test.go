package group_test

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
)

// What an account does is done in order, while accounts are worked on at once, although all are in one partition.
func ExampleConsumer_RunByKey() {
	ctx := context.Background()
	eng, err := topic.Open("", topic.InMemory())
	if err != nil {
		panic(err)
	}
	defer eng.Close()
	moves, err := eng.Topic(ctx, "moves", topic.Partitions(1))
	if err != nil {
		panic(err)
	}
	for _, m := range []string{"ann +5", "ben +7", "ann -2", "ben -7", "ann +1"} {
		account, amount, _ := strings.Cut(m, " ")
		if _, err := moves.Append(ctx, topic.Record{Key: []byte(account), Value: []byte(amount)}); err != nil {
			panic(err)
		}
	}
	c, err := group.Join(ctx, eng, "ledger", group.Topics("moves"))
	if err != nil {
		panic(err)
	}
	var mu sync.Mutex
	ledger := map[string][]string{}
	left := 5
	err = c.RunByKey(ctx, 4, func(_ context.Context, b *group.Batch) error {
		mu.Lock()
		defer mu.Unlock()
		for _, rec := range b.Records { // all of one account
			ledger[string(rec.Key)] = append(ledger[string(rec.Key)], string(rec.Value))
		}
		if left -= len(b.Records); left == 0 {
			return c.Close()
		}
		return nil
	})
	fmt.Println(ledger, err)
	// Output: map[ann:[+5 -2 +1] ben:[+7 -7]] <nil>
}

// letters makes an engine with topics of so many records each, and a member that takes one record at a time.
func letters(records int, names string, opts ...group.JoinOption) (*topic.Engine, *group.Consumer) {
	ctx := context.Background()
	eng, err := topic.Open("", topic.InMemory())
	if err != nil {
		panic(err)
	}
	opts = append(opts, group.Topics(strings.Fields(names)...), group.ReadWith(topic.MaxPollRecords(1)))
	for name := range strings.FieldsSeq(names) {
		t, err := eng.Topic(ctx, name, topic.Partitions(1))
		if err != nil {
			panic(err)
		}
		for range records {
			if _, err := t.Append(ctx, topic.Record{Value: []byte(name)}); err != nil {
				panic(err)
			}
		}
	}
	c, err := group.Join(ctx, eng, "readers", opts...)
	if err != nil {
		panic(err)
	}
	return eng, c
}

// read prints what the next so many records are.
func read(c *group.Consumer, n int) {
	var values []string
	for b, err := range c.Batches(context.Background()) {
		if err != nil {
			panic(err)
		}
		values = append(values, string(b.Records[0].Value))
		b.Mark()
		if len(values) == n {
			break
		}
	}
	fmt.Println(strings.Join(values, " "))
}

// Alarms first, then mail; what is left of the time is for news.
func ExampleTopicPriority() {
	eng, c := letters(2, "news mail alarms", group.TopicPriority("alarms", "mail"))
	defer eng.Close()
	read(c, 6)
	// Output: alarms alarms mail mail news news
}

// Of eight records those who pay get six, and everybody gets something.
func ExampleTopicWeights() {
	eng, c := letters(100, "paid free", group.TopicWeights(map[string]int{"paid": 3}))
	defer eng.Close()
	read(c, 8)
	read(c, 4)
	// Output:
	// free paid paid paid free paid paid paid
	// free paid paid paid
}

// How far a group has come, as its members and as an administrator see it.
func ExampleConsumer_Lag() {
	eng, c := letters(5, "orders")
	defer eng.Close()
	read(c, 2)
	fmt.Println(c.Lag()[0])
	m := c.Metrics()
	fmt.Println(m.Records, "records,", m.Lag, "to go")

	if err := c.Close(); err != nil { // commits what was marked
		panic(err)
	}
	groups, err := group.On(eng)
	if err != nil {
		panic(err)
	}
	rows, err := groups.Lag(context.Background(), "readers")
	if err != nil {
		panic(err)
	}
	for _, r := range rows {
		fmt.Printf("%v is %d behind, read by %q\n", r.TopicPartition, r.Lag, r.MemberID)
	}
	// Output:
	// orders orders
	// orders-0 at 2, committed -1, end 5, lag 3
	// 2 records, 3 to go
	// orders-0 is 3 behind, read by ""
}
