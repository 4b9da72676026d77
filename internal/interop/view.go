package main

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// A view is everything that a client can see of a cluster or of a directory, as text: a line for each record, each committed record, the
// offsets, the answers to questions about times, and the idempotent producers of each partition. The lines of one kind and partition are one
// section, in order. java/Client.java makes the same lines, so that two views are equal exactly if their texts are.
//
//	record orders-0 17 time=1700000000000 key=x6b31 value=null header=x61:x
//	committed orders-0 17 ...
//	offsets orders-0 start=0 stable=18 high=20
//	time orders-0 1700000000000 found=17 at=1700000000000
//	producer orders-0 id=4 epoch=0 sequence=17 time=1700000000000 coordinator=-1 open=-1
type view map[section][]string

// A section is the lines of one kind about one partition.
type section struct{ kind, partition string }

func (s section) String() string { return s.kind + " " + s.partition }

// sectionOf is the section that a line belongs to.
func sectionOf(line string) section {
	kind, rest, _ := strings.Cut(line, " ")
	partition, _, _ := strings.Cut(rest, " ")
	return section{kind, partition}
}

func (v view) add(line string) {
	s := sectionOf(line)
	v[s] = append(v[s], line)
}

// longestLine bounds a line: a record of a megabyte takes two as hexadecimal digits.
const longestLine = 16 << 20

// readView reads a view that java/Client.java has written.
func readView(path string) (view, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	v := view{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, longestLine)
	for lines.Scan() {
		v.add(lines.Text())
	}
	return v, lines.Err()
}

// only is the part of a view that is about the partitions chosen.
func (v view) only(chosen func(partition string) bool) view {
	part := view{}
	for s, lines := range v {
		if chosen(s.partition) {
			part[s] = lines
		}
	}
	return part
}

// partitions lists what the view is about.
func (v view) partitions() []string {
	var list []string
	for s := range v {
		list = append(list, s.partition)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// count is the number of lines of a kind.
func (v view) count(kind string) (n int) {
	for s, lines := range v {
		if s.kind == kind {
			n += len(lines)
		}
	}
	return n
}

// summary counts what was compared.
func (v view) summary() string {
	return fmt.Sprintf("%d partitions, %d records, %d committed, %d times, %d producers", len(v.partitions()),
		v.count("record"), v.count("committed"), v.count("time"), v.count("producer"))
}

// differences tells where got is not want: of each section the first line.
func (v view) differences(got view) []string {
	var list []string
	for s, want := range v {
		if d := firstDifference(want, got[s]); d != "" {
			list = append(list, fmt.Sprintf("%v: %s", s, d))
		}
	}
	for s, lines := range got {
		if _, ok := v[s]; !ok {
			list = append(list, fmt.Sprintf("%v: %d lines that Kafka does not have, the first: %s", s, len(lines), clip(lines[0])))
		}
	}
	slices.Sort(list)
	return list
}

func firstDifference(want, got []string) string {
	for i := range min(len(want), len(got)) {
		if want[i] != got[i] {
			return fmt.Sprintf("line %d\n\t\tKafka: %s\n\t\tquire: %s", i, clip(want[i]), clip(got[i]))
		}
	}
	switch {
	case len(want) > len(got):
		return fmt.Sprintf("%d lines instead of %d, the first missing: %s", len(got), len(want), clip(want[len(got)]))
	case len(want) < len(got):
		return fmt.Sprintf("%d lines instead of %d, the first too many: %s", len(got), len(want), clip(got[len(want)]))
	}
	return ""
}

func clip(line string) string {
	if len(line) > 200 {
		return line[:200] + "..."
	}
	return line
}

// mendTimes puts right what Kafka says wrongly of compacted partitions, and changes nothing of others. It looks for a time in the first segment whose newest record is not
// older, takes the file's own age for that of a segment that its cleaner has emptied, and does not go on when it finds nothing there: it
// then says that there is no record, although there are. What the records say counts.
func (v view) mendTimes() {
	for s, answers := range v {
		if s.kind != "time" {
			continue
		}
		for i, line := range answers {
			if strings.HasSuffix(line, " found=-1 at=-1") {
				answers[i] = v.lookUp(s.partition, strings.Fields(line)[2])
			}
		}
	}
}

// lookUp answers the question for a time from the records of a view.
func (v view) lookUp(partition, ms string) string {
	asked, _ := strconv.ParseInt(ms, 10, 64)
	for _, line := range v[section{"record", partition}] {
		fields := strings.Fields(line)
		at, _ := strconv.ParseInt(strings.TrimPrefix(fields[3], "time="), 10, 64)
		if at >= asked {
			return fmt.Sprintf("time %s %s found=%s at=%d", partition, ms, fields[2], at)
		}
	}
	return fmt.Sprintf("time %s %s found=-1 at=-1", partition, ms)
}
