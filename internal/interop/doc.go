// Command interop lets Apache Kafka itself judge the files of this library, and this library those of Apache Kafka. It starts Kafka's own tools,
// broker and clients with the machine's Java from a folder of jars; run.sh fetches that folder and starts this program. It prints one line for
// each check and last "N passed, M failed", and exits 1 if any failed.
//
//	./run.sh               # everything
//	./run.sh -run a -keep  # one part; the directories stay for a look
//
// # The parts
//
//	a  files that this library wrote, read by Kafka's DumpLogSegments and Kafka's own classes
//	b  directories that a broker wrote, stopped in order and killed, opened here
//	c  partitions written here, put under a broker, which serves them and appends to them, and opened here again
//	d  Kafka's assignors and ours, asked the same questions
//
// # File map
//
//	main.go       flags, order of the parts    tally.go      a line for each check
//	jvm.go        starting Java                broker.go     one node: start, stop, kill
//	view.go       what can be seen, as text    directory.go  that of a directory, by the engine
//	content.go    records                      write.go      a directory with every kind of file
//	dump.go       what DumpLogSegments prints  files.go      part a
//	brokers.go    part b                       graduate.go   part c
//	assignors.go  part d
//	java/         what Kafka's clients do, what Kafka's classes read, how a broker logs
package main
