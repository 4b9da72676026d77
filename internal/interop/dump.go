package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/quirelog/quire/topic"
)

// A dump is what Kafka's DumpLogSegments printed of some files.
type dump struct {
	files      int
	records    map[string][]string // lines of records, by the directory of the partition, sequence numbers left out
	codecs     map[string]int      // batches by the name of their codec
	markers    int
	entries    map[string]int // lines of other files, by the ending of their names
	gaps       map[string]int // jumps of offsets, by the directory of the partition: what compaction leaves
	complaints []string       // everything that is not what it prints of a sound file
}

// The lines that DumpLogSegments prints of sound files.
var (
	dumpedFile   = regexp.MustCompile(`^Dumping (.*)$`)
	dumpedStart  = regexp.MustCompile(`^Log starting offset: \d+$`)
	dumpedBatch  = regexp.MustCompile(`^baseOffset: \d+ .* compresscodec: (\w+) crc: \d+ isvalid: true$`)
	dumpedRecord = regexp.MustCompile(`^\| offset: \d+ CreateTime: -?\d+ keySize: .*$`)
	dumpedMarker = regexp.MustCompile(` endTxnMarker: (COMMIT|ABORT) coordinatorEpoch: \d+$`)
	dumpedEntry  = regexp.MustCompile(`^(offset: \d+ position: \d+|timestamp: \d+ offset: \d+|version: 0 producerId: \d+ .*|producerId: \d+ .*)$`)
	dumpedGaps   = regexp.MustCompile(`^Non-consecutive offsets in (.*)$`)
	dumpedGap    = regexp.MustCompile(`^ +\d+ is followed by \d+$`)
	dumpedSanity = regexp.MustCompile(`^(.*) passed sanity check\.$`)
	sequence     = regexp.MustCompile(` sequence: -?\d+`)
)

// parseDump takes in the tool's output. Lines of values never begin like its own, see content.
func parseDump(text string) *dump {
	d := &dump{records: map[string][]string{}, codecs: map[string]int{}, entries: map[string]int{}, gaps: map[string]int{}}
	file := ""
	for _, line := range lines(text) {
		switch {
		case dumpedFile.MatchString(line):
			file = dumpedFile.FindStringSubmatch(line)[1]
			d.files++
		case dumpedStart.MatchString(line):
		case dumpedBatch.MatchString(line):
			d.codecs[dumpedBatch.FindStringSubmatch(line)[1]]++
		case dumpedMarker.MatchString(line):
			d.markers++
		case dumpedRecord.MatchString(line):
			name := filepath.Base(filepath.Dir(file))
			d.records[name] = append(d.records[name], sequence.ReplaceAllString(line, ""))
		case dumpedEntry.MatchString(line):
			d.entries[filepath.Ext(file)]++
		case dumpedGaps.MatchString(line):
			file = dumpedGaps.FindStringSubmatch(line)[1]
		case dumpedGap.MatchString(line):
			d.gaps[filepath.Base(filepath.Dir(file))]++
		case dumpedSanity.MatchString(line):
			d.entries["sound "+filepath.Ext(dumpedSanity.FindStringSubmatch(line)[1])]++
		case line != "":
			d.complaints = append(d.complaints, file+": "+line)
		}
	}
	return d
}

// dumpLine is what DumpLogSegments prints of a record.
func dumpLine(r *topic.Record) string {
	keys := make([]string, len(r.Headers))
	for i, h := range r.Headers {
		keys[i] = h.Key
	}
	s := fmt.Sprintf("| offset: %d CreateTime: %d keySize: %d valueSize: %d headerKeys: [%s]", r.Offset, r.Time.UnixMilli(), size(r.Key), size(r.Value), strings.Join(keys, ","))
	if r.Key != nil {
		s += " key: " + string(r.Key)
	}
	if r.Value != nil {
		s += " payload: " + string(r.Value)
	}
	return s
}

// size is a length as Kafka counts: -1 for null.
func size(b []byte) int {
	if b == nil {
		return -1
	}
	return len(b)
}
