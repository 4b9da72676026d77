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
//	state.go                 a group as a pure machine: events, effects, what waits for storage
//	request.go               what members ask and are answered      config.go            what can be chosen
//	classic.go               the classic protocol: state, members   classic_join.go, classic_sync.go  its calls and time limits
//	server.go                the server-side protocol: state        server_heartbeat.go  its one call
//	server_target.go         regular expressions, targets           server_reconcile.go  one step towards a target
//	server_classic.go        classic members in such a group        upgrade.go           from one protocol to the other
//	offsets.go               committed offsets: who may, what expires
//	replay.go                the machine from its log
package group
