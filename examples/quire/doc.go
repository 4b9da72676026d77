// Quire is the command-line tool for a directory of topics.
//
//	quire topics   list|create|alter|delete    the topics of a directory
//	quire describe [TOPIC...]                   settings, offsets and sizes
//	quire produce  TOPIC                        lines of standard input, one record each
//	quire consume  TOPIC                        records as text or JSON
//	quire dump     FILE...                      what is in a file, byte by byte
//	quire verify   [DIRECTORY]                  whether everything in a directory is sound
//	quire repair   [DIRECTORY]                  make a damaged directory whole again
//	quire rebuild-index [TOPIC...]              make indexes and all that is derived anew
//	quire scrub                                 read everything at a bounded rate
//	quire retain   [TOPIC...]                   remove what need not be kept any more
//	quire compact  [TOPIC...]                   keep the newest record of each key
//	quire backup   TARGET [TOPIC...]            copy a directory, by hard links where it can
//	quire restore  BACKUP TARGET [TOPIC...]     make a directory out of a backup
//	quire perf     produce|consume              throughput and latency
//
// "quire COMMAND -h" tells each command's flags. The directory is that of -dir, else of the environment variable QUIRE_DIR, else the
// current one. describe, consume, dump, verify, backup, repair -dry-run, perf consume and topics list only read: they open nothing for writing and take no lock, so
// they work beside a program that has the directory open. The others need the directory for themselves.
//
// Results, and the help that -h asks for, go to standard output; everything else goes to standard error, faults as one line each. Exit status:
//
//	0  done, and nothing is wrong
//	1  failed; or verify, scrub, dump or repair -dry-run found damage
//	2  the command line is not understood
//
// One file per command: topics.go describe.go produce.go consume.go dump.go verify.go perf.go; repair.go has rebuild-index too, backup.go
// restore, upkeep.go scrub, retain and compact. Beside them: command.go the list of commands
// and what they have in common; place.go offsets and times on the command line; print.go records as text and JSON; scan.go the batches
// of a data file; dump_*.go the kinds of files; latency.go percentiles.
package main
