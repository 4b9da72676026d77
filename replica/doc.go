// Package replica is the room for the rules by which copies of a log agree: who leads, who follows, who counts as in sync, and how far the
// high watermark may move.
//
// The rules are steps from a state and an event to a state and effects, without clock, goroutine, lock or file. The room is empty in this
// version: every partition has one copy and its log moves the high watermark by itself; replication comes with later versions.
package replica
