package group_test

import (
	"fmt"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
)

// A third member comes: the cooperative assignor takes one partition away, and gives it out when its owner has let go.
func ExampleCooperativeSticky() {
	meta := group.Metadata{"orders": {Partitions: 4}}
	assignor := group.CooperativeSticky()
	owned := map[string][]topic.TopicPartition{
		"ada": {{Topic: "orders", Partition: 0}, {Topic: "orders", Partition: 1}},
		"bob": {{Topic: "orders", Partition: 2}, {Topic: "orders", Partition: 3}},
	}
	for generation := range int32(2) {
		var members []group.Subscriber
		for _, name := range []string{"ada", "bob", "eve"} {
			members = append(members, group.Subscriber{MemberID: name, Subscription: group.Subscription{
				Topics: []string{"orders"}, Owned: owned[name], Generation: generation,
			}})
		}
		plan, err := assignor.Assign(meta, members)
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

func ExampleParseRecordValue() {
	key := group.AppendRecordKey(nil, group.RecordKey{Kind: group.KeyOffset, Group: "billing", Topic: "orders", Partition: 3})
	value := group.AppendRecordValue(nil, group.OffsetRecord{Offset: 42, LeaderEpoch: 1, Metadata: "until noon", ExpireTime: -1})

	k, _ := group.ParseRecordKey(key)
	v, _ := group.ParseRecordValue(k.Kind, value)
	fmt.Printf("%s has read %s-%d up to %d (partition %d of %s)\n", k.Group, k.Topic, k.Partition, v.(group.OffsetRecord).Offset,
		group.PartitionFor(k.Group, group.OffsetsPartitions), group.OffsetsTopic)
	// Output: billing has read orders-3 up to 42 (partition 9 of __consumer_offsets)
}
