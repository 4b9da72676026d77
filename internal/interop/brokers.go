package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/quirelog/quire/topic"
)

const (
	graduatedTopic = "graduated" // written here, see graduate.go
	compactedTopic = "compacted" // cleaned by the broker
	loadTopic      = "load"      // written while the broker is killed
	loadRecords    = 3000        // acknowledged before that
)

// A session is the life of one cluster: parts b and c share it, since a broker takes longer to start than anything else here.
type session struct {
	*tally
	jvm       jvm
	work      string
	broker    *broker
	graduated *writer
}

// judgeBrokers is parts b and c. Each step needs the ones before it.
func judgeBrokers(t *tally, j jvm, work string) {
	s := &session{tally: t, jvm: j, work: work}
	defer func() {
		if s.broker != nil {
			s.broker.kill()
		}
	}()
	for _, step := range []struct {
		name string
		f    func() (string, error)
	}{
		{"b: Kafka's clients fill a broker", s.fill},
		{"b: a directory that was stopped in good order opens, and everything reads back equal", s.openStopped},
		{"c: partitions are written here and take the place of a topic's", s.place},
		{"c: the broker starts, recovers them and complains of nothing", s.recover},
		{"c: Kafka's console consumer prints every record of them", s.console},
		{"c: offsets, isolation, times and producers are the same there as here", s.compareServed},
		{"c: the broker goes on appending to them, and is killed under load", s.grow},
		{"b: a directory that was killed opens, and everything reads back equal", s.openKilled},
		{"b: everything acknowledged before the kill is there, and no hole", s.openLoad},
		{"c: of partitions that went to the broker and came back both parts read back equal", s.openReturned},
		{"b: the broker recovers from its directory what was recovered here from the copy", s.recoverAlike},
		{"c: partitions that came back from a broker stopped in good order read back equal too", s.openReturnedStopped},
	} {
		if !s.must(step.name, step.f) {
			return
		}
	}
}

func (s *session) path(name string) string { return filepath.Join(s.work, name) }

func (s *session) fill() (string, error) {
	if err := os.MkdirAll(s.work, 0o750); err != nil {
		return "", err
	}
	var err error
	if s.broker, err = newBroker(s.jvm, s.work); err != nil {
		return "", err
	}
	if err := s.broker.start(); err != nil {
		return "", err
	}
	err = s.broker.client(fmt.Sprintf("fill:%s:%d", graduatedTopic, graduatedParts), "ids:"+s.path("ids"), "dump:"+s.path("first"))
	if err != nil {
		return "", err
	}
	if err := s.broker.stop(); err != nil {
		return "", err
	}
	v, err := readView(s.path("first"))
	if err != nil {
		return "", err
	}
	return v.summary(), nil
}

// openCopy opens a copy of the broker's directory and compares what it holds of the partitions chosen with what Kafka's clients saw.
func (s *session) openCopy(seen, copied string, chosen func(partition string) bool) (string, error) {
	want, err := readView(s.path(seen))
	if err != nil {
		return "", err
	}
	want = want.only(chosen)
	if err := copyOf(s.broker.dir, s.path(copied)); err != nil {
		return "", err
	}
	got, notes, err := viewOf(s.path(copied), want)
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, strings.Join(notes, "\n"))
	}
	want.mendTimes()
	return want.summary(), disagreement(want.differences(got))
}

func (s *session) openStopped() (string, error) {
	return s.openCopy("first", "stopped", func(string) bool { return true })
}

func (s *session) openKilled() (string, error) {
	return s.openCopy("third", "killed", func(partition string) bool {
		return !isOf(partition, loadTopic) && !isOf(partition, graduatedTopic)
	})
}

func (s *session) openReturned() (string, error) {
	return s.openCopy("third", "returned", func(partition string) bool { return isOf(partition, graduatedTopic) })
}

// recoverAlike starts the broker on the directory that it was killed on and compares what it serves then with what the engine made of the
// copy, the records that were under way when it was killed too. Its cleaner may have gone on.
func (s *session) recoverAlike() (string, error) {
	if err := s.broker.start(); err != nil {
		return "", err
	}
	if err := s.broker.client("dump:" + s.path("fourth")); err != nil {
		return "", err
	}
	if err := s.broker.stop(); err != nil {
		return "", err
	}
	want, err := readView(s.path("fourth"))
	if err != nil {
		return "", err
	}
	want = want.only(func(partition string) bool { return !isOf(partition, compactedTopic) })
	got, _, err := viewOf(s.path("killed"), want)
	if err != nil {
		return "", err
	}
	want.mendTimes()
	return want.summary(), disagreement(want.differences(got))
}

func (s *session) openReturnedStopped() (string, error) {
	return s.openCopy("fourth", "returned", func(partition string) bool { return isOf(partition, graduatedTopic) })
}

// isOf tells whether a partition's directory is one of a topic.
func isOf(partition, topic string) bool {
	return strings.HasPrefix(partition, topic+"-")
}

// openLoad compares the topic that was written to when the broker was killed with what had been acknowledged.
func (s *session) openLoad() (string, error) {
	eng, err := topic.Open(s.path("killed"))
	if err != nil {
		return "", err
	}
	defer eng.Close()
	t, err := eng.Topic(context.Background(), loadTopic)
	if err != nil {
		return "", err
	}
	found := map[acked]bool{}
	next := map[int32]int64{}
	for r, err := range t.Read(context.Background(), topic.UntilEnd()) {
		if err != nil {
			return "", err
		}
		if r.Offset != next[r.Partition] {
			return "", fmt.Errorf("offset %d follows %d", r.Offset, next[r.Partition]-1)
		}
		next[r.Partition]++
		found[acked{r.Partition, r.Offset, string(r.Key)}] = true
	}
	var lost []string
	for _, a := range s.broker.acked {
		if !found[a] {
			lost = append(lost, fmt.Sprint(a))
		}
	}
	return fmt.Sprintf("%d acknowledged, %d there", len(s.broker.acked), len(found)), disagreement(lost)
}
