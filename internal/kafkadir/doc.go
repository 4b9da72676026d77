// Package kafkadir is for tests: it makes data directories as Apache Kafka leaves them, sound ones without a file of ours, says what they
// hold, and reads one by every way into it.
//
//	partition.go  a partition and the bytes of its files
//	content.go    what readers find in it
//	random.go     partitions at random
//	ways.go       the ways in
//	look.go       all that an open engine answers
package kafkadir
