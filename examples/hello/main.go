package main

import (
	"context"
	"fmt"
	"log"

	"github.com/quirelog/quire/topic"
)

func main() {
	ctx := context.Background()
	eng := must(topic.Open("data"))
	defer eng.Close()
	orders := must(eng.Topic(ctx, "orders", topic.Partitions(4))) // opened, or created

	pos := must(orders.Append(ctx, topic.Record{Key: []byte("alice"), Value: []byte("two books")}))
	fmt.Println("on disk at", pos)

	for rec, err := range orders.Read(ctx, topic.FromStart(), topic.UntilEnd()) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %s\n", rec.Key, rec.Value)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
