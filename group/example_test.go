package group_test

import (
	"fmt"

	"github.com/quirelog/quire/group"
)

func ExampleParseRecordValue() {
	key := group.AppendRecordKey(nil, group.RecordKey{Kind: group.KeyOffset, Group: "billing", Topic: "orders", Partition: 3})
	value := group.AppendRecordValue(nil, group.OffsetRecord{Offset: 42, LeaderEpoch: 1, Metadata: "until noon", ExpireTime: -1})

	k, _ := group.ParseRecordKey(key)
	v, _ := group.ParseRecordValue(k.Kind, value)
	fmt.Printf("%s has read %s-%d up to %d (partition %d of %s)\n", k.Group, k.Topic, k.Partition, v.(group.OffsetRecord).Offset,
		group.PartitionFor(k.Group, group.OffsetsPartitions), group.OffsetsTopic)
	// Output: billing has read orders-3 up to 42 (partition 9 of __consumer_offsets)
}
