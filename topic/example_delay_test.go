package topic_test

import (
	"context"
	"fmt"
	"time"

	"github.com/quirelog/quire/topic"
)

// Reminders that wait a week, one of which is called off.
func ExampleDeliverAfter() {
	ctx := context.Background()
	eng, err := topic.Open("", topic.InMemory())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer eng.Close()
	mails, err := eng.Topic(ctx, "mails")
	if err != nil {
		fmt.Println(err)
		return
	}
	const week = 7 * 24 * time.Hour
	first, err := mails.Append(ctx, topic.Record{Key: []byte("ada"), Value: []byte("still there?")}, topic.DeliverAfter(week))
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := mails.Append(ctx, topic.Record{Key: []byte("bob"), Value: []byte("and you?")}, topic.DeliverAfter(2*week)); err != nil {
		fmt.Println(err)
		return
	}
	stopped, err := mails.Cancel(ctx, first)
	fmt.Println("cancelled:", stopped, err)
	for s, err := range mails.Scheduled(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s in about %v days\n", s.Key, time.Until(s.Due).Round(24*time.Hour).Hours()/24)
	}
	// Output:
	// cancelled: true <nil>
	// bob in about 14 days
}

// A report each working day, set up whenever the program starts.
func ExampleTopic_Recur() {
	ctx := context.Background()
	eng, err := topic.Open("", topic.InMemory())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer eng.Close()
	jobs, err := eng.Topic(ctx, "jobs")
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 2 { // the second time it is there already
		err := jobs.Recur(ctx, "report", topic.Record{Value: []byte("write the report")}, topic.Cron("30 8 * * mon-fri", time.UTC))
		if err != nil {
			fmt.Println(err)
			return
		}
	}
	for r, err := range jobs.Recurring(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(r.Name, r.When, r.Next.UTC().Format("15:04"))
	}
	// Output: report cron UTC 30 8 * * mon-fri 08:30
}
