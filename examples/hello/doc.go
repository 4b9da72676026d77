// Hello is the program in README: open a directory, append a record, read it back.
//
//	go run ./examples/hello
//
// It writes to the folder data below the current one. Run it again: what was written stays.
package main
