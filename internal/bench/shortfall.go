package main

// What profiles show where a target is missed: printed only beside a miss. Each says where the time goes in quire, not why that would be
// fine. Take a new profile (-run ID -cpuprofile FILE) when one of them no longer fits.
const (
	shortP1 = "41 % of an append is the pwrite; 31 % is package log between its entry and the write (two locks, validation, tip, marks), " +
		"27 % package topic above it (builder pool, packing, counters, two looks at the clock)"
	shortP2 = "pwrite, copy and CRC32C as in raw; beside them a varint header for each record"
	shortP3 = "pwrite, copy and CRC32C as in raw; the rest is the noise of a machine that others use"
	shortP4 = "the sync itself is the time; the zeros written ahead, 1 MiB at a time, double the bytes written"
	shortP5 = "a pwrite for each record under the log's lock is 25 % of the CPU, waking the waiters 18 %; with other processes on two cores the wake-ups queue"
	shortP6 = "the varint fields of a record take 37 % where raw reads one length; pread 35 %, CRC32C 12 % are as in raw"
	shortP7 = "Record is 120 bytes with pointers: filling them, write barriers and the collector's scans are about 45 %, copying values 10 %"
	shortP8 = "57 % is pread, one call of the same bytes as raw, 10 % CRC32C; the two look-ups (Kafka's sparse index, then what readers have learned between its entries) " +
		"are 16 %, stepping to the record 5 %; the first read of a stretch still asks twice"
	shortP9  = "the first read of each batch checks all of it and is part of the sample; the median, a later read of 2 KiB, is what stays"
	shortP10 = "the floor is the wake-up: compare the row of the channel, which has no log at all; a Poll that waits allocates a watch and two slices"
	shortP11 = "the owned Record's write barriers and collector (P7) on one side, time.Now twice a record on the other"
	shortP12 = "reading the manifest and the segments' side files"
	shortP13 = "per partition: log.Log 770 bytes, segment.Segment 420, names 140, file handles 330 (two stay enrolled), Partition 110"
)
