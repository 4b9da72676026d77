// Package topic is the front door of quire: an engine keeps topics in a directory, programs append records to
// them and read them back, by call, without a server. It is what most users import, and often the only thing.
//
//	eng, err := topic.Open("data")                               // or topic.Open("", topic.InMemory())
//	if err != nil {
//		return err
//	}
//	defer eng.Close()
//
//	orders, err := eng.Topic(ctx, "orders", topic.Partitions(8)) // created, or opened as it is
//	if err != nil {
//		return err
//	}
//	pos, err := orders.Append(ctx, topic.Record{Key: key, Value: value})
//	if err != nil {
//		return err
//	}
//	fmt.Println("on disk at", pos)                               // orders/3@1042
//
// For many records use a [Producer] ([Engine.NewProducer]), which batches, compresses and retries; to read,
// [Topic.Read], or a [Consumer] ([Engine.NewConsumer]) over many partitions. Brokers built on top use
// [Partition.AppendRaw] and [Partition.FetchRaw], which move whole batches without decoding them.
//
// # Later, and again
//
// A record may be given a time of delivery: [DeliverAt] and [DeliverAfter], on any append and on a producer's sends.
// It is durable at once in the internal topic [DelayedTopic] and appended to its partition exactly once when it is
// due, whatever happens in between; until then it can be listed ([Topic.Scheduled]) and cancelled ([Topic.Cancel]).
// [Topic.Recur] appends a record again and again, by interval or by cron expression.
//
// The delayed topic has a partition for each magnitude of delay, eleven levels from a minute to decades, so that what is
// stored together is due at about the same time and whole segments can go when it was. Nothing is moved between
// levels. In memory is, of each level, the soonest 65,536 at most; when few of them are left the level is read again
// for the next ones, batch headers mostly, since a batch's timestamps are the due times. An Open reads each level
// once in the background. When messages come due, first the record of progress that names them is made durable, then
// they are appended under an idempotent producer's numbers; after a crash the target log tells by these numbers how many it
// has. What is due of a partition that refuses appends waits on disk and holds up no other partition. When the clock of the
// machine was ahead and is put back, the progress goes back with it, and keeps by offsets what was delivered ahead of its
// time; nothing comes twice, and new messages come when they are due. Damage is stepped over and told; a recurring message whose newest record it took goes on from the firings that its target holds.
//
// A delivery is an ordinary append by the engine's own producer: a transaction that is to schedule messages will
// write the delayed topic as one more of its partitions, and a replicated target's high watermark is what a delivery
// waits for.
//
// # On disk
//
// The directory is an Apache Kafka data directory; quire.* files are this library's own.
//
//	.lock                              held while an engine has the directory open, as is the directory itself
//	meta.properties                    cluster and directory ids
//	.kafka_cleanshutdown               only after an orderly stop; removed before anything else is written
//	quire.manifest, quire.manifest.prev   topics, ids, partitions, settings: two snapshots
//	quire.manifest.<generation>.journal   the changes since
//	quire.backup                       in a backup, until an engine writes to it
//	quire.scrub                        where an interrupted scrub goes on
//	recovery-point-offset-checkpoint, replication-offset-checkpoint, log-start-offset-checkpoint
//	quire.reserve                      room that is given up when the disk is full (see DiskReserve)
//	orders-0/                          partition 0 of topic "orders"
//	    partition.metadata             the topic's id
//	    quire.topic                    in its first used partition: a copy of what the manifest says of the topic
//	    00000000000000000000.log ...   see packages log and segment
//	    *.log.cut-<position>, *.damaged    what a recovery or a repair cut out or replaced; nobody reads them
//	orders-0.<32 hex>-delete/          of a deleted topic, about to go
//
// Files are 0600 and directories 0700 unless [ReadableBy] says otherwise. What is no regular file where one should be
// (a FIFO, a device) is an error that matches [vfs.ErrNotRegular]; nothing waits for it.
//
// The manifest is a snapshot and a journal of the changes since, a checksummed line each; package topic/internal/catalog has the format. A
// change is one write and one fsync, those of callers that come together share them, and thousands of topics created by one call are one change.
// A partition has its directory when it is first used. A damaged or lost manifest never costs data: directories that it does not know are found
// again by their names, their partition.metadata and quire.topic files, as are those that Kafka wrote. A topic whose settings are not known keeps
// everything.
//
// # What survives
//
// By default an append has been fsynced when it returns, and nobody reads a record that a power cut could
// take back; [SyncEvery] and [NoSync] trade that for speed, by topic. Creating, altering and deleting a topic
// is on disk when the call returns; a crash in between leaves it done or not done, and [Open] finishes what
// was half done.
//
// # Invariants
//
//	I1  A topic is in memory exactly while the manifest on disk says it is ready.
//	I2  Only the caller that has begun a change of a topic's name creates, alters or deletes that topic; no mutex is held then.
//	I3  A directory gets the name of a deleted one only if the manifest says, durably, that its topic is deleted, and
//	    the directory does not say that it belongs to another. Only directories of such names are removed.
//	I4  The clean mark is on disk only while no engine has the directory open and every log was closed in order.
//	I5  No function of the user runs while a lock is held or a change is under way.
//	I6  A partition that nobody used since Open has no log, no descriptor, no goroutine and no timer; an engine
//	    that nobody writes to has no goroutine, and one timer only while the time of some records will be up.
//	I7  A delayed message is appended to its partition only after a durable record of progress names it, and never
//	    before its due time by the clock of the machine.
//	I8  The engine removes nothing from a partition as long as a delivery before the last stop may have to be looked for in it.
//
// # Who may call what
//
// Everything may be called at once from any goroutine unless it says otherwise, also from callbacks and event
// functions; Close too. A call with a context returns with it however long the disk takes, at the latest a quarter of a
// second later where it goes over much data, and Shutdown a second later: with a context that can end, what it asks of the
// disk runs in a goroutine of its own, which goes on until the disk has answered. Then the engine is as if the caller had
// waited; the outcome was told as [ErrUncertain] if something may be written, and what was passed in is the caller's again,
// since a copy is written. At most 64 such calls go on; the next wait for their end as their contexts allow. A context that
// cannot end costs nothing. Every other goroutine belongs to an engine and is gone when its Close returns. Time is the
// package time's: an engine opened inside a testing/synctest bubble lives on the bubble's clock.
//
// # Errors
//
// Sentinels for errors.Is and typed errors with facts are in errors.go; those of lower packages are offered
// here again. An append is done (nil), of unknown outcome ([ErrUncertain]), or definitely not done (any other).
//
// # File map
//
//	engine.go        Engine, topics by name        open.go, close.go    from the lock to the clean mark
//	manifest.go      what is stored of topics      entrycopy.go         the same beside their data
//	create.go        Topic, CreateTopics, AlterTopic   delete.go, removals.go   DeleteTopic, and what goes behind it
//	changing.go      who changes a topic           adopt.go             directories the manifest does not know
//	directory.go     the small files               checkpoints.go       Kafka's checkpoint files
//	topic.go         Topic                         partition.go         Partition, opened at first use
//	append.go        simple appends                appendraw.go, fetchraw.go   whole batches
//	settings.go      typed settings                settings_keys.go     the same by Kafka's names
//	options.go       options of the calls          names.go, id.go, position.go, record.go
//	retention.go     what need not be kept any more
//	budget.go        disk budgets                  room.go              what they count and remove
//	reserve.go       room on a full disk
//	compaction.go    the newest record of each key     cleaner.go   in the background
//	redact.go        one record's value            verify.go            Verify
//	repair.go        Repair, RebuildIndexes        progress.go          how far a long piece of work is
//	backup.go        Backup, Restore               scrub.go             reading all data now and then
//	scheduler.go     what time makes due           goroutines.go        who Close waits for
//	metrics.go       counters                      events.go, loopevents.go   what the engine tells
//	apart.go         calls whose context can end
//	producerids.go   ids for idempotent producers  lodger.go    what packages above keep in an engine
//	uptime.go        when no engine was open
//	producer.go      Producer: Send, Flush         produceroptions.go   its choices
//	producer_close.go   its end                    undelivered.go       what it could not deliver
//	route.go         where a record goes           partitioner.go, murmur2.go   and by which rule
//	interceptor.go   who may change it on the way  memory.go            how long it waits for room
//	lane.go, batch.go   one partition's batches, filling    split.go     one that was too large
//	sender.go        batches to the log            senderpool.go        the goroutines that take them there
//	completer.go     outcomes to callbacks         overdue.go           when the time for one is up
//	linger.go        who waits for more records    bufferpool.go        memory of batches
//	workers.go       how many duties Close waits for
//	consumer.go      Consumer: positions           consumeroptions.go   its choices
//	poll.go          Poll, Records                 source.go            what internal/fetch reads by
//	reset.go         where a reader goes on
//	delay.go         DeliverAt: messages into the delayed topic    delay_format.go   what their records hold
//	delay_key.go     order, levels, selections     delay_near.go         the soonest, in memory
//	delay_open.go    restore and load              delay_scan.go         reading a level
//	delay_round.go   deliver what is due, in order    delay_lane.go      one target's messages, exactly once
//	delay_list.go    Scheduled                     delay_cancel.go      Cancel, metrics
//	delay_target.go  targets by number             delay_doubt.go      what retention must leave alone
//	delay_reach.go   what is settled               delay_clock.go       a clock that is put back
//	delay_damage.go  what cannot be read, stepped over    recurring_open.go   the same for recurring messages
//	producer_delay.go   delayed sends of a Producer    holdback.go       delay by the reader, retry topics
//	recurring.go, recurring_fire.go   messages again and again    recurrence.go, cron.go   when
//	recurrence_zone.go   by whose clocks           cron_next.go         through their changes
//	recurring_clock.go   by a clock that is put back
//	reader.go        Topic.Read                    typed.go, codec.go   typed topics
//
// Stability: firm. What is exported here changes only with a new major version once the module has reached 1.
package topic
