// Package examples holds what the example programs share: their real input, a public web server's access log, and a progress bar.
//
// The programs lie in the folders below:
//
//	hello       the program in README, fifteen lines
//	groups      three members of a group share the access log
//	quickstart  ten thousand events written, killed, reopened, read back and counted
//	queue       a service with a work queue: workers, retries, dead letters
//	eventtest   a service and its unit test, in a bubble and on a disk in memory
//	quire       the command-line tool for a directory of topics
//
// The package is for these programs and for the project's own tests and measurements; it promises nothing to others. Its functions may be
// called by any number of goroutines at once.
package examples
