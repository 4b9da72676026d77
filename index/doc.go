// Package index keeps the sorted fixed-width tables that lie beside a segment's data file: where an offset is, where a time is, and which
// transactions were aborted. The tables are derived: all of them can be made again from the data, so damage is an answer
// ([ErrCorrupt]), never a loss.
//
// # Bytes
//
// The files are byte for byte Apache Kafka's (its log segments' .index, .timeindex and .txnindex). Integers are big-endian, entries follow
// each other without header or padding:
//
//	.index       8 bytes   relative offset int32 | position int32
//	.timeindex  12 bytes   timestamp int64       | relative offset int32
//	.txnindex   34 bytes   version int16 = 0 | producer id int64 | first offset int64 | last offset int64 | last stable offset int64
//
// A relative offset is an offset minus the segment's base offset. An offset entry names the last offset of a batch and the file position
// where that batch starts; position 0 is never indexed. A time entry says that no record up to and including that offset has a greater
// timestamp; the offset is the last one of the batch that holds the maximum. An aborted transaction lies in the segment that holds its
// abort marker.
//
// Kafka preallocates the index files of an active segment and leaves zeros behind the used part; this package writes no such zeros but
// cuts them off when it reads ([CheckOffsets], [CheckTimes], [CheckAborted]).
//
// # Active and sealed
//
// A table is active while its segment is appended to: all entries are in memory in file format, and Flush appends those the file does
// not have. Sealing a table notes the length and CRC-32C of its contents ([Sum]); from then on its bytes are memory the [Budget] may take
// back. A sealed table is read into memory when first used, if the budget has room; otherwise it is searched in the file, and only read
// into memory, at the cost of others, once the searches have cost as much as reading it would.
//
// # Invariants
//
//	I1  Offsets and positions of the offset index rise strictly; so do timestamps of the time index, whose offsets never fall; so do last
//	    offsets of the aborted-transaction index.
//	I2  Published bytes of a table in memory are never written again: growth and truncation make a new array. A reader therefore needs no
//	    lock: it loads the array and its published length and owns what it sees.
//	I3  A sealed table answers only from bytes whose CRC was compared with its Sum since the file was opened.
//	I4  Batch positions are hints from a cache of bounded size; their user checks what he finds there.
//	I5  No lock is held during I/O; the budget's mutex guards its ring and nothing else.
//
// # Concurrency
//
// Look-ups (Around, FloorPos, Floor, Last, Collect, Len) may run at once with each other and with one writer. Writers (Add, Truncate,
// Flush, Seal, Activate, Replace) need the caller to let in one at a time. Close waits for nobody; look-ups that come after it may fail
// with fs.ErrClosed or open the file again.
//
// # Files
//
//	table.go      a table: active entries, flush, seal, load
//	search.go     binary search in memory and in a file
//	budget.go     memory for sealed tables
//	memory.go     what is remembered of places in segments, in the same budget
//	batchpositions.go  where batches begin between two entries, as far as readers have found out
//	offsets.go    offset to position
//	times.go      timestamp to offset
//	aborted.go    aborted transactions
//	check.go      how much of some bytes is a sound table
//	errors.go     sentinels
//
// Stability: for tools; names and signatures may change between minor versions. The file formats will not.
package index
