// Package assignor decides which member of a group reads which partition, as Apache Kafka's assignors do:
//
//	plan, err := assignor.CooperativeSticky().Assign(meta, members)
//
// [Range], [RoundRobin], [Sticky] and [CooperativeSticky] are for groups whose members decide (the classic protocol); [Uniform] and
// [ServerRange] for groups whose coordinator does. A caller may bring an [Assignor] of its own. Answers are Kafka's wherever Kafka's do not
// hang on the order of its hash maps; internal/interop compares both on random groups.
//
// [AppendSubscription] and [AppendAssignment] write what members of the classic protocol send each other (Kafka's ConsumerProtocol, versions
// 0 to 3), [ParseSubscription] and [ParseAssignment] read it. Bytes that are not that give [ErrCorrupt] and ask for no memory beyond a small
// multiple of their length.
//
// Everything may be called from any goroutine; nothing is kept between calls, and no file is read or written.
//
// # Files
//
//	assignor.go      what an assignor is asked and answers; partitions and members as numbers
//	range.go         Range, ServerRange             roundrobin.go     RoundRobin
//	sticky.go        Sticky, CooperativeSticky      sticky_mixed.go   the same for different subscriptions
//	uniform.go       Uniform                        subscription.go   subscriptions and assignments as bytes
package assignor
