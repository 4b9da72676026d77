// Package vfs is the disk as the log needs it: about a dozen calls on names and
// half a dozen on open files, each with the rule of what a power cut may take back.
// Everything the engine keeps goes through it, so that the same code runs on a real
// disk, in memory, and on a disk that is being broken on purpose.
//
//	          FS, File
//	             |
//	  +----------+-----------+----------------+
//	  OS         Mem         Crash            ReadOnly, Preview, Limit, Fault:
//	the real   fast, with  loses power       around any of them, and around
//	  one      budgets     at any call       each other
//
// # Durability
//
// Three things are written apart and become durable apart:
//
//	bytes and length of a file    by Sync of a handle on it
//	a name in a directory         by SyncDir of that directory
//	a directory                   is a name in the one above it
//
// Until then a power cut may keep any of them and lose any other, whatever the
// order they were made in. A killed process loses nothing that was written. So a
// new file is safe after: write, Sync, SyncDir; and a file is replaced in one step
// by: write another, Sync it, Rename, SyncDir, which is what WriteFile does.
// A File that is closed unsynced loses nothing, but the error of a disk that could not take
// what was written may be told to none who comes later: Witnesser.
// After a Sync that failed nothing is known about the data, whatever later ones say.
//
// # Invariants
//
// Every implementation keeps them; package vfstest examines those that can be seen.
//
//	I1  WriteAt writes everything or returns an error and what was written.
//	I2  ReadAt gives io.EOF exactly where the file ends, and any other trouble as
//	    another error, never as fewer bytes.
//	I3  A handle belongs to the file, not to its name: renaming, replacing or
//	    removing the name changes nothing for it.
//	I4  Rename is one step for everyone who looks, and for a power cut.
//	I5  A lock excludes all others: in this process, in another one, and by
//	    another path to the same file. It ends with its process. On Linux the lock of
//	    a file excludes fcntl's record locks too, Java's.
//	I6  Nothing is allocated for a length that a file claims before it was
//	    compared with a limit (ReadFile), and nothing is opened that is no regular
//	    file: a FIFO or a device hangs no call.
//	I7  No goroutine is started here and no lock is held during the I/O of others.
//
// # Concurrency
//
// Every method of every file system may be called at once with every other. On a
// File the same holds, except that Truncate wants to be alone with WriteAt. Close
// waits for nobody.
//
// # Errors
//
// Errors are *fs.PathError or wrap one, so that errors.Is finds fs.ErrNotExist,
// fs.ErrExist, fs.ErrClosed and system error numbers. IsNoSpace and IsTooManyFiles
// ask for what can be tried again. *LockedError matches ErrLocked and says who
// holds the lock. ErrReadOnly, ErrTooLarge and ErrCrashed are the package's own.
//
// # Systems
//
// OS makes files and directories that only their owner may read; OSFor lets others.
// Linux is complete: fdatasync, fallocate, flock, sendfile. macOS syncs with
// F_FULLFSYNC, the BSDs with fsync. Where a system has no lock that keeps I5, Lock
// fails.
//
// Windows opens with all sharing, locks with LockFileEx and flushes directories where
// it may. Names of open files are removed and replaced the POSIX way, which NTFS knows
// since Windows 10 1809; on FAT and older systems I3 does not hold: the call fails, or
// the name stays until the last handle is closed. This was run under Wine 10, whose
// NTFS keeps all but the replacement of an open file; it was not run on Windows itself.
//
// # Files
//
//	vfs.go                the interfaces and their rules
//	errors.go             sentinels, LockedError, questions about errors
//	whole.go              ReadFile, WriteFile, PutFile, RemoveAll
//	lock.go               what a lock file says; locks that are not a disk's
//	witness.go            files closed before they are synced
//	send.go               sending by copying, where the kernel cannot
//	os.go                 the real disk, what all systems share
//	os_linux.go           fdatasync, fallocate, sendfile
//	witness_linux.go      what keeps an inode without a descriptor
//	os_darwin.go          F_FULLFSYNC
//	os_windows.go, os_posix.go    Windows; all others
//	os_portable.go, os_fsync.go, os_flock.go, os_flock_only.go, os_nolock.go    by kind of system
//	path.go               paths of the disks in memory
//	mem.go, mem_file.go   Mem: names, budgets, locks; its handles
//	extent.go             the memory of its files
//	crash.go              Crash: the fault model, what is durable and when
//	crash_tree.go         its names
//	crash_file.go         its handles
//	crash_image.go        contents that clones share
//	crash_policy.go       what a power cut may leave: policies, and names for cuts
//	crash_after.go        the disk after a power cut
//	crash_sectors.go      writes torn by sectors
//	crash_kill.go         the disk after a killed process
//	op.go, fault.go       Fault: chosen calls fail, fall short, lie, wait
//	limit.go              Limited: many files, few descriptors
//	limit_file.go         its handles
//	limit_names.go        renames and removals under them
//	limit_ring.go         whose descriptor goes next
//	readonly.go           ReadOnly
//	fold.go               FoldsCase: does the disk fold names; Fold: one that does
//	preview.go            Preview: removals and renames that only seem
//	modtime.go            SetModTime, an optional part of an FS
//	vfstest/              the exam
//
// Stability: firm. Methods may be added to FS and File only as optional interfaces,
// as Sender and Witnesser are; fault models may learn more ways to fail.
package vfs
