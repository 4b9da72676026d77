// Package group is the room for readers that share work: members of a group, who reads which partition, what each has done, and queues
// whose records are acknowledged one by one.
//
// It stands on topic and keeps its facts as records in compacted topics, so it will own no files. It is empty in this version: reading is
// done with the consumers of package topic, which keep their positions themselves; groups and queues come with later versions.
package group
