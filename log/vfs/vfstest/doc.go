// Package vfstest is the exam for file systems that implement vfs.FS: what the
// engine relies on, each rule a subtest.
//
// Durability cannot be seen from outside a running machine, so the exam covers
// what is visible: names, contents, handles, locks and errors. A file system that
// passes can carry the engine in tests; that Sync and SyncDir mean it is for its
// author to prove.
//
//	func TestMine(t *testing.T) {
//		vfstest.Test(t, func(t *testing.T) (vfs.FS, string) { return mine.New(), "/" })
//	}
//
// Files: vfstest.go (the exam; single files), names.go (renames, links, directories,
// locks), concurrent.go (many at once), model.go (random calls against slices and maps).
//
// Stability: firm, as log/vfs; new rules may be added.
package vfstest
