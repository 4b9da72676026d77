package vfs

import "fmt"

// Op names a kind of call on a file system or a file, for Fault and Crash.
type Op uint8

// The kinds of calls.
const (
	OpAny Op = iota // in a Rule: every kind
	OpCreate
	OpOpen
	OpOpenRead
	OpRemove
	OpRename
	OpLink
	OpMkdirAll
	OpList
	OpStat
	OpSyncDir
	OpLock
	OpRead
	OpWrite
	OpTruncate
	OpSync
	OpPreallocate
	OpSize
	OpSend
	OpClose
	OpWitness

	opCount
)

// String returns the name of the call in lower case.
func (op Op) String() string {
	names := [opCount]string{
		"any", "create", "open", "openread", "remove", "rename", "link", "mkdirall", "list", "stat", "syncdir",
		"lock", "read", "write", "truncate", "sync", "preallocate", "size", "send", "close", "witness",
	}
	if int(op) >= len(names) {
		return fmt.Sprintf("op(%d)", uint8(op))
	}
	return names[op]
}
