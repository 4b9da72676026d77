// Package record is the room of the bytes: Apache Kafka's record batch, version 2,
// made (Builder), viewed (Batch), checked (Check, CheckRecords) and taken apart
// (Decoder). From a producer's builder to a consumer's loop a batch is one []byte.
//
// # A batch
//
// All integers are big-endian.
//
//	byte  0        8       12      16 17    21   23       27           35          43
//	      +--------+-------+-------+--+-----+----+--------+------------+-----------+--
//	      | base   | length| leader|2 | crc | at | last   | base       | max       |
//	      | offset | -12   | epoch |  |     | tr | delta  | timestamp  | timestamp |
//	      +--------+-------+-------+--+-----+----+--------+------------+-----------+--
//	      43         51     53        57      61
//	    --+----------+------+---------+-------+----------------------------- - -
//	      | producer | pr.  | base    | count | records, one behind the other,
//	      | id       | epoch| sequence|       | or their compressed form
//	    --+----------+------+---------+-------+----------------------------- - -
//
//	 0  baseOffset            int64   offset of the first record the batch ever had
//	 8  batchLength           int32   bytes after this field: the size less 12, at least 49
//	12  partitionLeaderEpoch  int32   -1 none
//	16  magic                 int8    2
//	17  crc                   uint32  CRC-32C (Castagnoli) of the bytes from 21 to the end
//	21  attributes            int16   see below
//	23  lastOffsetDelta       int32   last offset = baseOffset + this, kept by compaction
//	27  baseTimestamp         int64   of the first record, or the delete horizon
//	35  maxTimestamp          int64   largest of the records, or the time of appending
//	43  producerId            int64   -1 none
//	51  producerEpoch         int16   -1 none
//	53  baseSequence          int32   -1 none
//	57  recordsCount          int32   records present; 0 in a batch emptied by compaction
//	61  records
//
// The checksum does not cover base offset, length, leader epoch and magic, so that
// a leader assigns offsets and stamps its epoch in place (SetBaseOffset,
// SetLeaderEpoch). Whoever changes one of the other fields computes it again
// (SetTimestamps, SetProducer).
//
//	attributes  bit 0-2  codec: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd
//	            bit 3    timestamps are the leader's (LogAppendTime)
//	            bit 4    transactional
//	            bit 5    control batch
//	            bit 6    baseTimestamp is a delete horizon
//	            others   zero
//
// # A record
//
//	length varint | attributes int8 (0) | timestampDelta varlong | offsetDelta varint
//	| keyLength varint | key | valueLength varint | value
//	| headers varint { keyLength varint | key | valueLength varint | value }*
//
// varint and varlong are zig-zag encoded and stored in groups of seven bits, least
// significant first, at most five and ten bytes long. length counts what follows
// it. Length -1 is null; a header's key is never null. Timestamp and offset count
// from the batch's base.
//
// # A control record
//
// A batch with the control bit holds one record that no user sees. Its key is
// version int16 (0), type int16; the value of the markers that end a transaction is
// version int16 (0), coordinatorEpoch int32.
//
// # Invariants
//
//	I1  A Batch from First, Batches or Seal has at least HeaderSize bytes, and as
//	    many as its length field says; accessors never panic on it.
//	I2  A batch that passes Check has every header field in range and in agreement
//	    with the others, and the checksum of its bytes.
//	I3  A Decoder yields at most Count records, and Err is nil afterwards only if it
//	    yielded exactly Count and no byte is left over. Whatever the bytes, it does
//	    not panic, and what it allocates is bounded by their number and the limit.
//	I4  Records that a Builder sealed come out of a Decoder as they went in, null
//	    and empty told apart, header order kept.
//	I5  In a steady state Add, Seal, Reset and Next allocate nothing; compressed,
//	    what the codec does (compress).
//	I6  A sealed batch passes Check and, without gaps and control bit, CheckClient.
//
// # Ownership and concurrency
//
// A Batch may be read by many goroutines while nobody calls a setter. Builders and
// Decoders serve one goroutine at a time. The batch of Seal belongs to the Builder
// until its Reset; what Next gives borrows the batch or the Decoder until its next
// Reset. Nothing here holds a goroutine, channel or timer.
//
// # Errors
//
// ErrIncomplete: more bytes are needed, nothing was judged. ErrCorrupt, always as a
// *CorruptError with the place, except from ParseControlKey. ErrInvalid: well formed, but
// not for this purpose. ErrFull, ErrTooLarge, ErrSealed from a Builder; ErrTooLarge
// also from a Decoder's limit.
//
// # Files
//
//	record.go    Record and Header, sizes
//	batch.go     Batch: accessors and setters; layout constants
//	check.go     Check, CheckHeader, CheckClient
//	run.go       First, Size, Batches: batches in a run of bytes
//	resync.go    the next valid batch behind damage
//	builder.go   Builder
//	encode.go    the bytes of one record
//	rewriter.go  Rewriter: a batch without some of its records
//	decoder.go   Decoder; parse.go the bytes of one record
//	inspect.go   CheckRecords: one walk over all records
//	intern.go    header names as shared strings
//	control.go   control batches
//	sequence.go  producer sequence numbers
//	varint.go    variable-length numbers
//	errors.go    sentinels and CorruptError
//
// Stability: firm. Names and behaviour change only with a major version.
package record
