// Package arch holds the plan of the house as tests: which storey may import which, and the rules every room keeps.
//
// Nothing here is compiled into a user's program; the package is its tests. They read every Go file of the root module with go/parser and
// need neither network nor build. A nested module (a folder with a go.mod of its own) is another house and is left alone.
//
// The plan:
//
//	I1  A package imports only what its line in the import table names; a package without a line fails.       imports_test.go
//	I2  Files are opened, named and removed in log/vfs and nowhere else.                                       disk_test.go
//	I3  No package-level variable holds a channel, a timer, a condition, a context or an engine.               state_test.go
//	I4  Nobody below topic starts a goroutine or arms a timer; nobody at all uses a ticker or a sleep.         time_test.go
//	I5  Nobody waits while holding a mutex, as far as a reader of one function can see.                        waits_test.go
//	I6  No init, no panic, no printing, no exit in the library; names, sizes and doc.go as agreed.             manners_test.go
//	I7  No words of unfinished work.                                                                           words_test.go
//	I8  Five direct dependencies, each where it belongs; testify in tests only.                                modules_test.go
//	I9  README's program is the one in examples/hello, and README's commands are those that CI runs.           readme_test.go
//
// Every rule carries snippets that break it and snippets that keep it, and a test runs it on them: a rule that cannot fail is not a rule.
package arch
