// Package fetch reads many partitions in turns: a [Fetcher] with one buffer, a [Cursor] a partition, over a [Source] that is the
// partition. Topic.Read and consumers are loops over it.
//
// Invariants:
//
//	I1  A run, what one read gave, is used up before the next partition has its turn.
//	I2  pos <= next <= place of a cursor; no call that fails moves pos.
//	I3  A cursor at rest has been looked at after its log was told to tell of changes: no change is missed.
//	I4  At log.Stable a batch of an aborted transaction is never given out.
//
// File map:
//
//	fetcher.go   turns, runs, batches        cursor.go    one partition's place
//	read.go      one read of a log           records.go   batches to records
//	aborted.go   what was aborted, left out  slab.go      memory of records
//	source.go    what is read, and how       policy.go    where to go on
package fetch
