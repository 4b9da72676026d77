package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/quirelog/quire/compress"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/vfs"
)

// Partitions of the directory of part a, behind one for each codec.
const (
	transactionsPart = 5
	deletedPart      = 6
	compactedPart    = 7
	writtenParts     = 8
)

// writeEveryKind writes a directory with every kind of file and closes it.
func writeEveryKind(dir string) (*writer, error) {
	w, err := newWriter(dir, "written", writtenParts)
	if err != nil {
		return nil, err
	}
	var faults []error
	for i, codec := range codecs() {
		faults = append(faults, w.produce(int32(i), codec, 1000))
	}
	faults = append(faults,
		w.transact(transactionsPart, true),
		w.produce(deletedPart, compress.Gzip, 2000))
	w.content.keyed = true
	for _, codec := range codecs() {
		faults = append(faults, w.produce(compactedPart, codec, 400))
	}
	w.sort()
	faults = append(faults,
		w.deleteBefore(deletedPart, 1777),
		w.eng.Close(),
		w.lead(deletedPart, 4, 20),
		w.compact(compactedPart))
	return w, errors.Join(faults...)
}

// judgeFiles is part a.
func judgeFiles(t *tally, j jvm, work string) {
	var w *writer
	if !t.must("a: write", func() (string, error) {
		var err error
		if w, err = writeEveryKind(filepath.Join(work, "written")); err != nil {
			return "", err
		}
		return fmt.Sprintf("%d records, %d partitions", w.total(), len(w.records)), nil
	}) {
		return
	}
	t.check("a: DumpLogSegments reads every record of every codec", func() (string, error) { return judgeData(j, w) })
	t.check("a: DumpLogSegments finds the derived files in agreement with the data", func() (string, error) { return judgeDerived(j, w) })
	t.check("a: the index check of a broker's start passes", func() (string, error) { return judgeSanity(j, w) })
	t.check("a: a wrong index entry and a flipped bit do not escape it", func() (string, error) { return judgeDamage(j, w, filepath.Join(work, "damaged")) })
	t.check("a: Kafka's classes read checkpoints, ids, epochs, snapshots, aborted transactions", func() (string, error) { return judgeSmallFiles(j, w) })
}

// filesOf lists the files of the partitions with one of the endings, as DumpLogSegments wants them.
func filesOf(dir string, endings ...string) (list string, n int, err error) {
	var names []string
	for _, ending := range endings {
		found, err := filepath.Glob(filepath.Join(dir, "*-*", "*"+ending))
		if err != nil {
			return "", 0, err
		}
		if len(found) == 0 {
			return "", 0, fmt.Errorf("no file *%s was written", ending)
		}
		names = append(names, found...)
	}
	return strings.Join(names, ","), len(names), nil
}

// dumpFiles runs DumpLogSegments and checks that it came to every file and complained of none.
func dumpFiles(j jvm, dir string, endings []string, options ...string) (*dump, error) {
	files, n, err := filesOf(dir, endings...)
	if err != nil {
		return nil, err
	}
	out, err := j.run(append([]string{dumpLogSegments, "--files", files}, options...)...)
	if err != nil {
		return nil, err
	}
	d := parseDump(out)
	if d.files != n {
		d.complaints = append(d.complaints, fmt.Sprintf("%d files of %d", d.files, n))
	}
	return d, disagreement(d.complaints)
}

func judgeData(j jvm, w *writer) (string, error) {
	d, err := dumpFiles(j, w.dir, []string{".log"}, "--deep-iteration", "--print-data-log")
	if err != nil {
		return "", err
	}
	var wrong []string
	for _, codec := range codecs() {
		if d.codecs[codec.String()] == 0 {
			wrong = append(wrong, "no batch with codec "+codec.String())
		}
	}
	total, markers := 0, 0
	for name, gaps := range d.gaps {
		if !slices.Contains(w.compacted, name) {
			wrong = append(wrong, fmt.Sprintf("%d gaps in %s", gaps, name))
		}
	}
	for name, recs := range w.records {
		// Records below a start that DeleteRecords raised may still lie in the file.
		got := d.records[name]
		got = got[max(len(got)-len(recs), 0):]
		want := make([]string, len(recs))
		for i := range recs {
			want[i] = dumpLine(&recs[i])
		}
		if s := firstDifference(got, want); s != "" {
			wrong = append(wrong, name+": "+s)
		}
		total += len(recs)
		markers += len(w.markers[name])
	}
	if d.markers != markers {
		wrong = append(wrong, fmt.Sprintf("%d transaction markers instead of %d", d.markers, markers))
	}
	return fmt.Sprintf("%d files, %d records and %d markers as written, batches %v", d.files, total, markers, d.codecs), disagreement(wrong)
}

func judgeDerived(j jvm, w *writer) (string, error) {
	endings := []string{".index", ".timeindex", ".txnindex", ".snapshot"}
	d, err := dumpFiles(j, w.dir, endings)
	if err != nil {
		return "", err
	}
	for _, ending := range endings {
		if d.entries[ending] == 0 {
			return "", fmt.Errorf("no entry in any file *%s", ending)
		}
	}
	return fmt.Sprintf("%d files, entries %v", d.files, d.entries), nil
}

func judgeSanity(j jvm, w *writer) (string, error) {
	endings := []string{".index", ".timeindex"}
	d, err := dumpFiles(j, w.dir, endings, "--index-sanity-check")
	if err != nil {
		return "", err
	}
	if sound := d.entries["sound .index"] + d.entries["sound .timeindex"]; sound != d.files {
		return "", fmt.Errorf("%d of %d indexes passed", sound, d.files)
	}
	if _, err := dumpFiles(j, w.dir, endings, "--verify-index-only"); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d indexes", d.files), nil
}

// judgeDamage sees to it that the checks above can fail.
func judgeDamage(j jvm, w *writer, dir string) (string, error) {
	name := w.name(0)
	if err := copyOf(filepath.Join(w.dir, name), filepath.Join(dir, name)); err != nil {
		return "", err
	}
	var told int
	for ending, at := range map[string]int{".index": 7, ".log": 100} { // the first entry's position, a byte of the first batch
		path := filepath.Join(dir, name, fmt.Sprintf("%020d%s", 0, ending))
		data, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		data[at]++
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return "", err
		}
		if _, err := dumpFiles(j, dir, []string{ending}); err == nil {
			return "", fmt.Errorf("damage of a file *%s was not noticed", ending)
		}
		told++
	}
	return fmt.Sprintf("%d faults told", told), nil
}

// judgeSmallFiles compares what java/Files.java prints with what was written.
func judgeSmallFiles(j jvm, w *writer) (string, error) {
	out, err := j.run(j.source("Files.java"), w.dir)
	if err != nil {
		return "", err
	}
	want, err := smallFiles(w)
	if err != nil {
		return "", err
	}
	got := endsWithSnapshots(w, lines(out))
	slices.Sort(got)
	slices.Sort(want)
	if s := firstDifference(got, want); s != "" {
		return "", errors.New(s)
	}
	return fmt.Sprintf("%d facts as written", len(want)), nil
}

// smallFiles is every line that java/Files.java should print.
func smallFiles(w *writer) ([]string, error) {
	list := []string{
		fmt.Sprintf("meta version=V1 cluster=%s node=1 directory=%s", w.eng.ClusterID(), w.eng.DirectoryID()),
		"clean exists=true epoch=OptionalLong[-1]",
	}
	for name := range w.records {
		facts, err := partitionFacts(w, name)
		if err != nil {
			return nil, err
		}
		list = append(list, facts...)
	}
	return list, nil
}

func partitionFacts(w *writer, name string) ([]string, error) {
	dir := filepath.Join(w.dir, name)
	l, _, err := log.Open(vfs.OS(), dir, &log.Config{}, log.OpenState{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer l.Close()
	start, end := l.Start(), l.End()
	atClose := end // when the engine closed
	if epochs := w.epochs[name]; len(epochs) > 1 {
		atClose = epochs[1].Start
	}
	list := []string{
		fmt.Sprintf("checkpoint recovery-point-offset-checkpoint %s=%d", name, atClose),
		fmt.Sprintf("checkpoint replication-offset-checkpoint %s=%d", name, atClose),
		fmt.Sprintf("metadata %s version=0 id=%s", name, w.id),
	}
	if start > 0 {
		list = append(list, fmt.Sprintf("checkpoint log-start-offset-checkpoint %s=%d", name, start))
	}
	for _, e := range w.epochs[name] {
		list = append(list, fmt.Sprintf("epoch %s %d=%d", name, e.Epoch, max(e.Start, start)))
	}
	for _, a := range w.aborted[name] {
		list = append(list, fmt.Sprintf("aborted %s/%020d.txnindex id=%d first=%d last=%d stable=%d", name, segmentOf(l, a.Last), a.ProducerID, a.First, a.Last, a.Stable))
	}
	for _, p := range l.Producers() {
		list = append(list, fmt.Sprintf("snapshot %s/%020d.snapshot id=%d epoch=%d sequence=%d last=%d time=%d coordinator=%d open=%d", name, end,
			p.ProducerID, p.Epoch, p.LastSequence, p.LastOffset, p.LastTimestamp, p.CoordinatorEpoch, p.TxnStart))
	}
	return list, nil
}

// segmentOf is the base of the segment that holds an offset.
func segmentOf(l *log.Log, offset int64) (base int64) {
	for _, s := range l.Segments() {
		if s.Base <= offset {
			base = s.Base
		}
	}
	return base
}

// endsWithSnapshots leaves out what snapshots at the begin of segments hold: that can be read, and has no other witness.
func endsWithSnapshots(w *writer, facts []string) []string {
	return slices.DeleteFunc(facts, func(line string) bool {
		fields := strings.Fields(line)
		if fields[0] != "snapshot" {
			return false
		}
		name, file, _ := strings.Cut(fields[1], "/")
		return file != fmt.Sprintf("%020d.snapshot", w.end(name))
	})
}
