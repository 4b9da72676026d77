// Quickstart sends ten thousand real events down to disk and brings them back, and loses a process on the way.
//
//	go run ./examples/quickstart
//
// It takes a public web server's access log and a topic of four partitions compressed with lz4, and then
//
//  1. starts itself again as a child process that writes all lines through a Producer, keyed by client address, with each line's own time;
//     every acknowledgement comes back through a pipe, and in the middle of it the child is killed (SIGKILL);
//  2. opens the directory again and looks at every acknowledged offset: the record must be there, byte for byte;
//  3. writes the lines that the dead child did not get to;
//  4. reads everything back with a Consumer and checks the count, the order of every key and a digest against the input;
//  5. asks for records by offset, by time and by key.
//
// The last line printed is the verdict, and the exit status says the same: 0 when nothing is lost or out of order, 1 otherwise, 2 for
// wrong flags. The directory is a temporary one, removed at the end unless -dir names another.
//
// Files: main.go flags and exit status; tour.go the five steps in order; visits.go the topic and the form of a record; produce.go the Producer; crash.go the child, both
// sides of it; survivors.go what is left after the kill; consume.go the Consumer and the tally; questions.go offset, time and key;
// sizes.go bytes on disk.
package main
