// Package segment is a stretch of a log: one data file of batches, its indexes, and the rules by which it is appended to, read, sealed,
// recovered and removed. It knows no topic, no leader and no clock but that of a file's creation.
//
// # Bytes
//
// A segment is a family of files whose names are the base offset in 20 digits and a suffix, as Apache Kafka names them:
//
//	<base>.log         Kafka record batches (magic 2), one behind the other; see package log/record
//	<base>.index       offset index       |
//	<base>.timeindex   time index         | Kafka's entry formats; see package index
//	<base>.txnindex    aborted transactions, only if there are any
//	<base>.sums        side file of ours, only while nothing is appended; see side.go for its bytes
//	<base>.log.cut-<pos>  bytes that a recovery cut off at pos and that hold at least one whole batch
//
// with .deleted, .cleaned or .swap behind the suffix while a file is on its way in or out. Zeros behind the last batch of an active data file
// are space written ahead (Config.PreWrite): an append that only overwrites them changes no file size, so its fdatasync needs no commit of
// the file system's journal.
//
// # What covers which byte
//
// Kafka's checksum leaves the first 17 bytes of a batch out. The base offset is checked by continuity on every read: it equals the next
// offset of the batch before, or the base of the segment, or fits the last offset that the index has. Length and magic are checked by
// refusal and by what follows. Where offsets may have gaps (compaction), a gap is refused when the batch behind continues as if there were
// none, and the headers of a sealed segment are compared once per open with the side file's header sum. That sum, CRC-32C over the first 21
// bytes of every batch, and the batches' own checksums over the rest cover every byte of the data file exactly once: Verify compares both,
// the leader epochs with them. The side file covers itself and, by length and CRC-32C, the index files. It also says where the log goes on
// behind the segment: so a segment that is gone, files and all, is told from what compaction took away.
//
// # Invariants
//
//	I1  An append is one write at the end. What a failed one left is cut off before the call returns; if it cannot be, nothing is ever
//	    appended again.
//	I2  A side file exists only while it is true: Seal writes it after the data is synced, Unseal removes it durably before the next append.
//	    That of Freeze is not synced: a power cut may leave any bytes of it, which its checksum tells.
//	I3  Recovery never cuts a byte in front of the durable end, and cuts none behind it that may hold a whole batch without keeping a copy.
//	I4  A failed Sync is final.
//	I5  Nothing a reader waits for is held during a write or a sync. Readers learn the end under a mutex that is held for a few loads and
//	    stores; the index's active entries are published by an atomic length (package index, I2).
//	I6  Indexes are derived: a missing or damaged one is made again from the data without anybody noticing but by the time it takes. The
//	    list of aborted transactions needs the log's help (SetAborted).
//	I7  What was written last may be read from memory (recent.go): the bytes of the very write, shown to readers no sooner than the file's,
//	    for as long as somebody follows the end, never more than 256 KiB and of all segments together never more than a quarter of the budget.
//	    A cut, a seal and Close forget it.
//	I8  Memory taken for bytes of a file is bounded by the file's size, and for a batch above the usual size by what follows it.
//
// # Concurrency
//
// One caller at a time for the writer's methods: Append, Seal, Freeze, Unseal, Truncate, FlushIndex, AddAborted, SetAborted, Rename,
// MarkDeleted, NeedsRoll. Everything else may be called at any time by anybody, Sync too. Pin a segment before reading from it if somebody
// else may retire it.
//
// # Errors
//
// *CorruptionError (Is ErrCorrupt) for damaged data; ErrNoSide, ErrTorn, ErrRetired, ErrClosed, ErrInvalid, ErrFull; everything else is the
// file system's error with the path in front, and errors.Is sees through it.
//
// # Files
//
//	segment.go    Segment, create, open, close, what it knows
//	facts.go      what is kept up with each batch; index density
//	append.go     Append, pre-writing, Sync
//	roll.go       when to begin the next segment
//	read.go       Read: seek, walk, check
//	batchpositions.go  where batches begin, as far as readers found out
//	recent.go     what was written last, in memory for who follows
//	range.go      Range and WriteTo: the same for sendfile
//	time.go       first record at or after a time
//	lookup.go     indexes with repair; aborted transactions
//	seal.go       Seal, Freeze, Unseal
//	side.go       the side file
//	adopt.go      facts and indexes from the data
//	verify.go     every byte
//	scan.go       batches in large reads; the next good batch behind damage
//	recover.go    Recover
//	salvage.go    what recovery keeps aside; headers.go headers it puts right
//	truncate.go   cut the end
//	pin.go        pin and retire
//	rename.go     marks, unlink
//	check.go      Check: all that is wrong; check_data.go the batches, check_tables.go the files beside them, fault.go a Fault
//	rewrite.go    Salvage: a damaged segment anew; repair.go headers put right; Rebuild of what is derived
//	sweep.go      every batch of a sealed segment, checked
//	cleaned.go    segments that take the place of others
//	finishswap.go interrupted deletions and swaps
//	split.go      one segment becomes several
//	name.go       file names
//	config.go errors.go
//
// Stability: for tools; names and signatures may change between minor versions. Kafka's formats will not.
package segment
