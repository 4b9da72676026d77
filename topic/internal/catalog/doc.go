// Package catalog keeps what an engine's directory says of its topics: names, ids, numbers of partitions and settings.
//
// The catalog is a snapshot and the changes made since, in files beside the partitions' directories:
//
//	quire.manifest, quire.manifest.prev   snapshots: one JSON object and a line with its CRC-32C
//	quire.manifest.<generation>.journal   the changes since the snapshot of that generation, a line each
//	quire.topic                           in a partition's directory: its topic's entry, a line as in the journal
//
// A change is one line, written and fsynced once; those of callers that come together share a line. A line is a checksum and a JSON
// object with the generation that it leads to, one more than the line before. When a journal outgrows its snapshot a new snapshot
// begins a new journal. The previous snapshot and its journal stay: with them either snapshot can be lost without a loss.
//
// A line that was cut off at a journal's end was never acknowledged and is cut; a line that is damaged in front of a sound one, and a
// journal that is missing, are damage. An orderly stop ends the journal with a line of its own, so that the one before is known to be
// complete. What damage takes is made good from the copies in the partitions' directories, as far as they are newer.
//
// A partition's directory is made when the partition is first used; until then the catalog names the partition as unused.
//
// Files: manifest.go the entries and the snapshot's bytes; partitionset.go sets of partitions; line.go lines of a journal and the changes
// in them; state.go what changes do; load.go what a directory says; store.go changes by many callers; fold.go new snapshots; copy.go the
// copies in the partitions' directories.
package catalog
