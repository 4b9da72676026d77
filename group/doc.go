// Package group is the room for readers that share work: members of a group, who reads which partition, what each has done, queues
// whose records are acknowledged one by one, and routers that copy records to those who want them.
//
// It stands on topic and keeps its facts as records in internal topics, so it owns no files.
//
// # Groups
//
// The partitions of some topics are shared out among the members that are there; a position is kept for each partition.
//
//	c, err := group.Join(ctx, eng, "billing", group.Topics("orders"))
//	if err != nil {
//		return err
//	}
//	defer c.Close() // commits what was marked, and leaves
//	for batch, err := range c.Batches(ctx) {
//		if err != nil {
//			return err
//		}
//		for _, rec := range batch.Records {
//			charge(rec.Key, rec.Value)
//			c.Mark(rec) // committed in the background, and before the partition goes to another member
//		}
//	}
//
// Workers take batches with [Consumer.Run], or share the keys with [Consumer.RunByKey]. Topics that matter more come first, or get more, by
// [TopicPriority] and [TopicWeights]. How far a group has come tell [Consumer.Lag] and [Coordinator.Lag].
//
// A [Consumer] is a member in this process. The [Coordinator] runs the groups; a broker calls it with the requests of its own clients. Who
// reads which partition is the business of an [assignor.Assignor].
//
//	Consumer, broker --- requests ---> Coordinator --- events ---> machine: the rules of one group
//	        ^                               |  ^                          |
//	        +------------ answers ----------+  +-------- effects ---------+
//	                                        |
//	                    records appended to __consumer_offsets, read when a partition of it is first asked for
//
// # Queues
//
// A queue gives each record to one of those who take part, until one of them says that it is done:
//
//	q, err := group.OpenQueue(ctx, eng, "uploads",
//		group.MaxAttempts(5), group.Backoff(time.Second, time.Minute), group.DeadLetter("uploads.dead"), group.OrderByKey())
//	...
//	err = q.Run(ctx, 8, func(ctx context.Context, d *group.Delivery) error { return thumbnail(ctx, d.Value) })
//
// One partition of it is a pure machine, as a group is; what it remembers are records of [ShareStateTopic], in the formats of Kafka's share
// groups. An answer's way:
//
//	Ack --> the machine's step --> staged --> one record for all that is staged, synced --> the loop goes on
//
// What is promised is said at [Queue]. Who has how much at a time, and how fast, is for [MaxInFlight], [MaxInFlightPerKey], [Rate] and
// [RatePerKey] to say; who comes first, for [OrderByKey], [Priority] and [FairBy].
//
// # Routers
//
// A router copies records to the topics of those who want them, as the exchanges of RabbitMQ do:
//
//	r, err := group.OpenRouter(ctx, eng, "post", group.From("orders"), group.Alternate("orders.rest"), group.Bind(
//		group.ByPattern("*.eu.#", "orders.europe"),
//		group.Fanout("audit")))
//	...
//	err = r.Run(ctx, 4) // while bindings come and go: r.Bind, r.Unbind
//
// It is a member of a group whose handler finds the bindings of each record (the table: exact keys, a trie of patterns, an index of headers,
// functions), appends the copies to all their partitions at once, and marks the batch when they are on disk. What is promised is said at
// [Router].
//
// # Who reads what
//
// Range, RoundRobin, Sticky and CooperativeSticky are what a leader of the classic protocol runs; Uniform and ServerRange are what the
// coordinator runs in the server-side protocol. All are Apache Kafka's algorithms. Where Kafka's answer depends on the order of a hash map,
// members are taken by id and topics by name, so that the same question has the same answer in every run.
//
// # The classic protocol
//
// Members join, which ends a generation and begins the next; the one that leads decides who reads what; everybody syncs to learn it.
//
//	             first join                     all joined, or time is up
//	Empty ------------------> PreparingRebalance ------------------------> CompletingRebalance
//	  ^                         |   ^      ^                                   |           |
//	  +-------------------------+   |      +-----------------------------------+           | the leader's
//	      nobody is left            |        a member comes, goes or changes,              | assignment
//	                                |        or does not sync in time                      | is stored
//	                                |                                                      v
//	                                +--------------------------------------------------- Stable
//	                                     a member comes, goes or changes, the leader joins
//
// # The server-side protocol (KIP-848)
//
// A member's one call is a heartbeat. The coordinator decides, and each heartbeat takes its member one step towards the target.
//
//	group:   Empty --> Assigning (group epoch > target epoch) --> Reconciling (a member is not there yet) --> Stable
//
//	member:              the target takes something away        it says it has let go
//	           Stable ---------------------------------> Unrevoked ----------------+
//	             ^ |                                                               |
//	             | | what it is to get is not free                                 v
//	             | +---------------------> Unreleased <--------------- (in the target's epoch)
//	             |                              |                                  |
//	             +------------------------------+----------------------------------+
//	                    it has all of its target
//
// # Promises
//
//	I1  No partition has two readers in one generation, and in the server-side protocol none at any time: a partition is given out when
//	    nobody holds it, also not somebody who was told to let go and has not said that it did.
//	I2  Generations and epochs only rise while the group lives.
//	I3  Nobody is told what is not stored: an answer goes out after the records of its step.
//	I4  Every call is answered once. Everything that waits has a time limit that runs.
//	I5  Targets and plans are legal: every partition at most once, to a member that subscribes to its topic.
//	I6  A commit counts if the committer is a member in the current generation or epoch, or the group has no members. What was answered is
//	    replaced only by a later commit, and expires only by the rules.
//	I7  One generation has one assignment, in memory and in the log.
//	I8  The machine has no clock, goroutine, lock or file, and equal events have equal effects. The log alone makes an equal machine.
//
//	I9  A Consumer hands over a partition only when no handler of it runs, and what was marked has been stored or refused. Its commits of
//	    one partition reach the coordinator in rising order, unless it was told to Seek back.
//	I10 With RunByKey no two handlers have records of one key of a partition, and nothing is committed beyond a record that is not marked.
//	    What is marked beyond it is noted with the commit, and handed out to nobody again, as far as metadata has room.
//
// The windows (W1 to W3) and the turns (T1 to T3) of a Consumer have rules of their own, said where they are. The searches and walks in
// search_test.go hold the machine to these, swarm_test.go the consumers; sweep_test.go cuts the power and lets calls fail wherever something
// is stored, of groups and of queues.
//
// # Errors
//
// A refusal is a [Code], Kafka's number and name, or wraps one: compare with errors.Is. Bytes that cannot be read give an error that matches
// [ErrCorrupt]; nothing here panics because of them.
//
// Everything may be called by any number of goroutines at once unless it says otherwise. Locks are taken in the order coordinator, shard,
// consumer. There is a goroutine only while a shard appends or a timer fires, and those a [Consumer.Run] was asked for.
//
// # File map
//
//	assignor/                who reads which partition; subscriptions and assignments as bytes
//	record.go                records of __consumer_offsets: keys, which partition; record_value.go: what they say
//	wire.go                  Kafka's message encoding
//	errors.go                Kafka's error codes
//	state.go                 a group as a pure machine: events, effects, what waits for storage
//	request.go               what members ask and are answered      config.go            what can be chosen
//	classic.go               the classic protocol: state, members   classic_join.go, classic_sync.go  its calls and time limits
//	server.go                the server-side protocol: state        server_heartbeat.go  its one call
//	server_target.go         regular expressions, targets           server_reconcile.go  one step towards a target
//	server_classic.go        classic members in such a group        upgrade.go           from one protocol to the other
//	offsets.go               committed offsets: who may         expiry.go                what of them expires, and when to look
//	queue.go                 Queue: what it promises, open, close   queue_options.go   its choices      queue_hub.go  the queues of an engine
//	queue_next.go            whose turn it is               queue_fetch.go     records read into the windows
//	queue_wait.go            who sleeps, who watches        queue_commit.go    what changed, made durable
//	delivery.go              deliveries, answers, the loop          queue_run.go       workers          queue_metrics.go  counters
//	queue_peek.go            looking without taking         queue_topics.go    topics that grow or go, queues that are deleted
//	deadletter.go, redrive.go   records without success, and back   queue_park.go      dead letters that were refused
//	queue_retention.go       what queues and groups have finished, for retention
//	share.go                 a partition of a queue as a pure machine    lineup.go     whose turn it is, among partitions, keys, times
//	lineup_ready.go          ... among priorities and tenants            lineup_lane.go   ... within a key that is limited
//	limit.go                 limits and token buckets
//	share_record.go          records of __share_group_state         share_runs.go      states of runs of offsets
//	share_store.go           state from its log, and into it
//	describe.go              what administrators see        replay.go            the machine from its log
//	coordinator.go           Coordinator: its calls         coordinator_admin.go list, describe, delete, reset
//	coordinator_topics.go    what groups know of topics
//	shard.go                 the groups of one partition of __consumer_offsets: events in, effects out
//	shard_load.go            read at first use              shard_store.go       appended, many groups at once
//	join.go                  what a member may choose       consumer.go          Consumer: Join to Close
//	membership.go            its side of the protocol       handover.go          partitions come and go
//	loop.go                  Batches: reading               batch.go             records in one handler's hand
//	run.go                   Run, RunByKey: workers         window.go            what RunByKey has in hand of a partition
//	handler.go               handlers that panic or end their goroutines, for all loops     room.go       loops on a full disk
//	apart.go                 callers that leave while a disk hangs
//	serve.go                 which batch is handed out next, what is read for it
//	finished.go              what is finished beyond the committed offset, as its metadata
//	priority.go              priorities and weights         turns.go             whose turn it is: ranks, deficit round robin
//	mark.go                  marks, commits, Seek, Pause    lag.go               how far members and groups have come
//	consumer_metrics.go      what a member counts
//	router.go                Router: what it promises, open, bind, run, close     router_options.go  its choices
//	router_binding.go        bindings as users see them     router_table.go      all bindings, found by record
//	router_pattern.go        the trie of key patterns       router_headers.go    the index of headers
//	router_plan.go           a batch becomes copies         router_copy.go       copies become durable
//	router_trace.go          headers that tell where a copy comes from
package group
