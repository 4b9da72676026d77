package assignor_test

import (
	"fmt"

	"github.com/quirelog/quire/group/assignor"
	"github.com/quirelog/quire/topic"
)

// A third member comes: the cooperative assignor takes one partition away, and gives it out when its owner has let go.
func ExampleCooperativeSticky() {
	meta := assignor.Metadata{"orders": {Partitions: 4}}
	sticky := assignor.CooperativeSticky()
	owned := map[string][]topic.TopicPartition{
		"ada": {{Topic: "orders", Partition: 0}, {Topic: "orders", Partition: 1}},
		"bob": {{Topic: "orders", Partition: 2}, {Topic: "orders", Partition: 3}},
	}
	for generation := range int32(2) {
		var members []assignor.Subscriber
		for _, name := range []string{"ada", "bob", "eve"} {
			members = append(members, assignor.Subscriber{MemberID: name, Subscription: assignor.Subscription{
				Topics: []string{"orders"}, Owned: owned[name], Generation: generation,
			}})
		}
		plan, err := sticky.Assign(meta, members)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(plan["ada"], plan["bob"], plan["eve"])
		owned = plan
	}
	// Output:
	// [orders-0 orders-1] [orders-2] []
	// [orders-0 orders-1] [orders-2] [orders-3]
}
