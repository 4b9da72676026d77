package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

// Partitions of the topic that is written here and served by a broker.
const (
	mixedPart      = 0 // all codecs, two leader epochs, records deleted from the begin; closed in order
	crashedPart    = 1 // all codecs; as a killed process leaves it: zeros written ahead, indexes not up to date
	committedPart  = 2 // transactions, committed and aborted
	cleanedPart    = 3 // compacted
	graduatedParts = 4
)

// writeGraduates writes the partitions.
func writeGraduates(dir string) (*writer, error) {
	w, err := newWriter(dir, graduatedTopic, graduatedParts)
	if err != nil {
		return nil, err
	}
	var faults []error
	for _, codec := range codecs() {
		faults = append(faults, w.produce(mixedPart, codec, 500), w.produce(crashedPart, codec, 300))
	}
	w.content.keyed = true
	for _, codec := range codecs() {
		faults = append(faults, w.produce(cleanedPart, codec, 400))
	}
	w.sort()
	crashed := filepath.Join(dir, w.name(crashedPart))
	faults = append(faults,
		w.transact(committedPart, false),
		w.deleteBefore(mixedPart, 700),
		copyOf(crashed, dir+"-crashed"),
		w.eng.Close(),
		copyOf(dir+"-crashed", crashed),
		w.lead(mixedPart, 1, 20),
		w.compact(cleanedPart))
	return w, errors.Join(faults...)
}

// place puts the partitions into the stopped broker's directory, as README.md tells to: the directories in place of the empty ones, with the
// topic id that the cluster gave the topic, and the lines of the checkpoint files.
func (s *session) place() (string, error) {
	w, err := writeGraduates(s.path("here"))
	if err != nil {
		return "", err
	}
	s.graduated = w
	id, err := s.idOf(graduatedTopic)
	if err != nil {
		return "", err
	}
	for n := range int32(graduatedParts) {
		dir := filepath.Join(s.broker.dir, w.name(n))
		if err := copyOf(filepath.Join(w.dir, w.name(n)), dir); err != nil {
			return "", err
		}
		if err := log.WritePartitionMetadata(vfs.OS(), filepath.Join(dir, log.PartitionMetadataFile), id); err != nil {
			return "", err
		}
	}
	for _, name := range []string{log.LogStartFile, log.RecoveryPointFile, log.HighWatermarkFile} {
		if err := s.takeLines(name); err != nil {
			return "", err
		}
	}
	// Without this mark the broker recovers every log from its recovery point on instead of trusting it.
	if err := os.Remove(filepath.Join(s.broker.dir, ".kafka_cleanshutdown")); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d records, %d partitions", w.total(), graduatedParts), nil
}

// idOf is the id that the cluster gave a topic.
func (s *session) idOf(name string) (log.TopicID, error) {
	text, err := os.ReadFile(s.path("ids"))
	if err != nil {
		return log.TopicID{}, err
	}
	for _, line := range lines(string(text)) {
		if topic, id, _ := strings.Cut(line, " "); topic == name {
			return log.ParseTopicID(id)
		}
	}
	return log.TopicID{}, fmt.Errorf("no id of topic %s", name)
}

// takeLines puts the lines of one of our checkpoint files into the broker's. The partition of the killed process has no recovery point: the
// broker checks all of it.
func (s *session) takeLines(name string) error {
	ours, err := log.ReadOffsetCheckpoint(vfs.OS(), filepath.Join(s.graduated.dir, name))
	if err != nil {
		return err
	}
	path := filepath.Join(s.broker.dir, name)
	theirs, err := log.ReadOffsetCheckpoint(vfs.OS(), path)
	if err != nil {
		return err
	}
	for n := range int32(graduatedParts) {
		tp := log.TopicPartition{Topic: graduatedTopic, Partition: n}
		delete(theirs, tp)
		if offset, ok := ours[tp]; ok && n != crashedPart {
			theirs[tp] = offset
		}
	}
	return log.WriteOffsetCheckpoint(vfs.OS(), path, theirs)
}

func (s *session) recover() (string, error) {
	if err := s.broker.start(); err != nil {
		return "", err
	}
	found, err := s.broker.complaints(func(line string) bool {
		return strings.Contains(line, graduatedTopic) && !isZerosAhead(line)
	})
	if err != nil {
		return "", err
	}
	recovered, err := s.broker.mentions("Recovering unflushed segment", graduatedTopic)
	if err != nil {
		return "", err
	}
	if recovered == 0 {
		return "", errors.New("no segment was recovered")
	}
	return fmt.Sprintf("%d segments recovered", recovered), disagreement(found)
}

// isZerosAhead is the warning that a broker gives of the zeros that a killed process had written ahead, which it cuts off.
func isZerosAhead(line string) bool {
	return strings.Contains(line, fmt.Sprintf("%s-%d", graduatedTopic, crashedPart)) && strings.Contains(line, "Found invalid messages in log segment")
}

// console compares what Kafka's console consumer prints with what was written.
func (s *session) console() (string, error) {
	w := s.graduated
	args := []string{consoleConsumer, "--bootstrap-server", s.broker.address, "--topic", graduatedTopic, "--from-beginning",
		"--max-messages", strconv.Itoa(w.total()), "--timeout-ms", "30000"}
	for _, p := range []string{"print.timestamp=true", "print.partition=true", "print.offset=true", "print.headers=true", "print.key=true", "null.literal=NULL"} {
		args = append(args, "--property", p)
	}
	out, err := s.jvm.run(args...)
	if err != nil {
		return "", err
	}
	got := map[string][]string{}
	for _, line := range lines(out) {
		fields := strings.SplitN(line, "\t", 3)
		if len(fields) < 3 || !strings.HasPrefix(fields[1], "Partition:") {
			return "", fmt.Errorf("not a record: %s", clip(line))
		}
		name := graduatedTopic + "-" + strings.TrimPrefix(fields[1], "Partition:")
		got[name] = append(got[name], line)
	}
	var wrong []string
	for name, recs := range w.records {
		want := make([]string, len(recs))
		for i := range recs {
			want[i] = consoleLine(&recs[i])
		}
		if d := firstDifference(got[name], want); d != "" {
			wrong = append(wrong, name+": "+d)
		}
	}
	slices.Sort(wrong)
	return fmt.Sprintf("%d records", w.total()), disagreement(wrong)
}

// consoleLine is what Kafka's console consumer prints of a record.
func consoleLine(r *topic.Record) string {
	headers := make([]string, len(r.Headers))
	for i, h := range r.Headers {
		headers[i] = h.Key + ":" + orNull(h.Value)
	}
	if len(headers) == 0 {
		headers = []string{"NO_HEADERS"}
	}
	return strings.Join([]string{fmt.Sprintf("CreateTime:%d", r.Time.UnixMilli()), fmt.Sprintf("Partition:%d", r.Partition),
		fmt.Sprintf("Offset:%d", r.Offset), strings.Join(headers, ","), orNull(r.Key), orNull(r.Value)}, "\t")
}

func orNull(b []byte) string {
	if b == nil {
		return "NULL"
	}
	return string(b)
}

// compareServed compares the whole view, before the broker has appended anything.
func (s *session) compareServed() (string, error) {
	if err := s.broker.client("dump:" + s.path("second")); err != nil {
		return "", err
	}
	want, err := readView(s.path("second"))
	if err != nil {
		return "", err
	}
	want = want.only(func(partition string) bool { return isOf(partition, graduatedTopic) })
	if err := copyOf(s.graduated.dir, s.path("here-copy")); err != nil {
		return "", err
	}
	got, _, err := viewOf(s.path("here-copy"), want)
	if err != nil {
		return "", err
	}
	want.mendTimes()
	return want.summary(), disagreement(want.differences(got))
}

func (s *session) grow() (string, error) {
	err := s.broker.killUnderLoad(loadRecords, "grow:"+graduatedTopic, "dump:"+s.path("third"))
	if err != nil {
		return "", err
	}
	before, err := readView(s.path("second"))
	if err != nil {
		return "", err
	}
	after, err := readView(s.path("third"))
	if err != nil {
		return "", err
	}
	graduated := func(partition string) bool { return isOf(partition, graduatedTopic) }
	added := after.only(graduated).count("record") - before.only(graduated).count("record")
	if added <= 0 {
		return "", errors.New("nothing was appended")
	}
	return fmt.Sprintf("%d records added", added), nil
}
