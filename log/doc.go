// Package log is one partition's log: segments in a row and the offsets that say
// what of them is true. It is for those who build on the engine; users of the
// engine enter by package topic and never import this one.
//
//	l, _, err := log.Open(vfs.OS(), dir, &log.Config{}, log.OpenState{})
//	a, err := l.Append(ctx, batch, log.AppendOptions{})      // on disk when it returns
//	run, next, err := l.Read(nil, log.At(a.Base), log.ReadOptions{Check: true})
//
// # Offsets
//
//	start <= stable <= high <= end          durable <= end
//	  |        |         |      |
//	  |        |         |      next offset to be written
//	  |        |         high watermark: readers see records below it
//	  |        last stable offset: every transaction below it has ended
//	  first offset that may be read
//
// A log alone moves high itself: at level Sync with durable, so that nobody reads
// what a power cut could take back, else with end. A replicated log waits for
// [Log.AdvanceHigh].
//
// # Files in the directory
//
//	<base>.log .index .timeindex .txnindex   a segment, Apache Kafka's bytes; see package segment
//	<base>.sums                              its seal; ours
//	<end>.snapshot                           producer state, Kafka's bytes
//	leader-epoch-checkpoint                  leader epochs, Kafka's bytes
//	quire.slot                               the durable watermark; ours
//	<name>.cleaned .swap .deleted            segments on their way in and out; see swap.go
//	<base>.log.cut-<position>                a torn tail that still held a whole batch, saved by recovery
//
// # What survives
//
//	level     a killed process     a power cut
//	Sync      everything           everything that was acknowledged
//	Interval  everything written   all but the last interval; the loss is a suffix
//	OS        everything written   a prefix
//
// What recovery keeps is always a prefix of what was written, without a hole,
// that contains everything acknowledged at the log's level. Damage below the
// durable watermark is never cut away: it is reported, and the rest stays readable.
// One ambiguity remains: rot in what was written during the last second before a
// power cut cannot be told from a torn write.
//
// # Invariants
//
//	I1  start <= stable <= high <= end; none of them goes back, but end by Truncate
//	    and all by TruncateFully.
//	I2  At level Sync, high <= durable.
//	I3  A batch is in the log whole or not at all.
//	I4  Nothing of segment n+1 is written before segment n, its seal and the entry of
//	    the new file are on disk.
//	I5  The slot never claims more than what is on disk.
//	I6  Readers take no lock that the writer holds during I/O.
//	I7  Who follows the head reads from memory what was written last (package segment,
//	    I7), under the same offsets and the same checks. [Log.Tick] gives the memory
//	    back when nobody does any more.
//
// # Who may call what
//
// Everything may be called at once from any goroutine. There is one writer at a
// time, by a mutex; an fsync runs outside it. A call with a context returns with it,
// or a quarter of a second later where it goes over the whole log, however long the
// disk takes: with a context that can end, what it asks of the disk runs in a
// goroutine that lasts until the disk has answered, and the log is then as if the
// caller had waited. Batches are the caller's again at return. Otherwise the package
// starts no goroutine, and it sets no timer: its owner calls [Log.Tick] when [Hooks].Dirty asks for it, and
// [Log.DeleteFiles] when [Hooks].Removed does.
//
// # File map
//
//	log.go         Log, Close, Fence        append.go    Append, AppendAt
//	detached.go    calls whose context can end
//	config.go      settings                 validate.go  a leader's rules
//	view.go        segments for readers     roll.go      begin to write, next segment
//	read.go        Read                     sync.go      group commit
//	slice.go       ranges for sockets       note.go      the slot, when it is written
//	offsets.go     the four offsets         tend.go      what time alone makes due
//	times.go       offset for a time        truncate.go  cut the end, raise the start
//	wait.go        Wait, Watch              recover.go   Open
//	loss.go        what Open misses         replay.go    what batches tell again
//	get.go         one record               aborted.go   aborted transactions
//	producers.go   sequences                unstable.go  open transactions
//	epochs.go      leader epochs            snapshot.go  producer state on disk
//	foreign.go     a directory that was under a broker
//	slot.go        the slot's bytes         slotview.go  the same for tools
//	home.go        files that were written for another place
//	names.go       which names are files    checkpointfile.go, topicid.go  Kafka's text files
//	removed.go     files on their way out
//	retain.go      ApplyRetention           peek.go      the same from outside
//	compact.go     compaction by key        cleanable.go  what there is to compact
//	compact_map.go keys of the dirty part   offsetmap.go  within bounded memory
//	keyhash.go     how keys are told apart
//	compact_batch.go what stays of a batch  compact_txns.go markers and what they end
//	rewrite.go     a group of segments anew swap.go       in the place of the old ones
//	cleaner.go     one pass at a time       strategy.go   which record of a key wins
//	redact.go      one record's value
//	verify.go      Verify, the small files  verify_segments.go  segments and what lies between them
//	repair.go      Repair                   rebuild.go   derived files made anew
//	backup.go      Backup, sealed segments  backup_last.go  the last one, and what says that it is a log
//
// Stability: for builders of brokers and replicas; may change before version 1.
package log
