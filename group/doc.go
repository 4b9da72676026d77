// Package group is the room for readers that share work: members of a group, who reads which partition, what each has done, and queues
// whose records are acknowledged one by one.
//
// It stands on topic and keeps its facts as records in compacted topics, so it owns no files. In this version it has the rules: who reads
// which partition (an Assignor), and the bytes in which members tell each other. Reading is done with the consumers of package topic.
//
// Files:
//
//	assign.go                what an assignor is asked and answers; partitions and members as numbers
//	assign_range.go          Range, ServerRange          assign_roundrobin.go      RoundRobin
//	assign_sticky.go         Sticky, CooperativeSticky   assign_sticky_mixed.go    the same for different subscriptions
//	assign_uniform.go        Uniform
//	protocol.go              subscriptions and assignments as bytes: Kafka's ConsumerProtocol
//	record.go                records of __consumer_offsets: keys, which partition; record_value.go: what they say
//	wire.go                  Kafka's message encoding
//	errors.go                Kafka's error codes
package group
