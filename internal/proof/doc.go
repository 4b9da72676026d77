// Command proof runs the checks that the unit tests are too small for: every point
// at which the power may go, every bit that may flip, every call that may fail, a
// killed process, random programs against a model. It prints one table and, for
// each failure, the command that plays it again; it exits 1 if anything was lost,
// a hole appeared, damage went unnoticed, an outcome told was not true, or the host died.
//
//	go run . -tier fast            # all lanes, some eight minutes
//	go run . -lane 'crash|bits'    # lanes by regular expression
//	go run . -tier long -duration 8h -seed 7
//	go run . -replay crash:roll:31:torn:2
//
// README.md says what is assumed of a disk, FAILURES.md which lane or test covers which failure.
//
// # File map
//
//	main.go     flags                runner.go   lanes, workers, cases
//	table.go    what is printed      replay.go   names of cases
//	ledger.go   LEDGER.md            watch.go    cases that hang
//	content.go  records by number    history.go  what callers were told
//	verify.go   the oracle's rules   script.go   a program that uses one log
//	scripts.go  the log's scenarios
//	keyed.go    records with keys           compacted.go  what compaction may take, and must
//	keepscript.go, keepscenarios.go   compaction, retention, redaction
//	enginehistory.go, engineverify.go, enginescript.go, enginescripts.go   the same through package topic
//	enginekeep.go, enginekeepscenarios.go   compaction, retention, backup and restore by an engine
//	repair.go   a directory that is damaged and repaired
//	reference.go  a closed directory with every kind of file    enginecontent.go   all that its readers see
//	referencekeep.go   its compacted topic, with transactions
//	part.go       one partition of it, read without an engine
//	lostways.go   the ways into a directory that lost files
//	killchild.go  the process that is killed
//	servicechild.go  the service that is killed   servicebook.go   what it told, and the rules for it
//	machine.go, shutdown_linux.go   a disk whose power can be cut
//
//	sabotagecode.go, sabotagelist.go   harms to the code: calls found in the source, a list in testdata
//	sabotageweave.go   one build that holds many of them   sabotagesuite.go, sabotagereach.go   who notices
//
// and one file for each lane: crash.go (lanes crash and engine), bits.go, damage.go, kill.go,
// service.go, resting.go, full.go, lost.go, topics.go, backup.go, power.go, faults.go, model.go, clocks.go, fuzz.go, sabotage.go.
package main
