package group

import (
	"bytes"
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/quirelog/quire/topic"
)

// Headers that a dead letter has behind those of its record. Numbers are decimal, times RFC 3339 with milliseconds. There is one attempt
// header for each delivery: "number time error", with "-" for a time that is not known.
const (
	DeadHeaderQueue     = "quire.dead.queue"
	DeadHeaderTopic     = "quire.dead.topic"
	DeadHeaderPartition = "quire.dead.partition"
	DeadHeaderOffset    = "quire.dead.offset"
	DeadHeaderTime      = "quire.dead.time" // the record's own
	DeadHeaderReason    = "quire.dead.reason"
	DeadHeaderAttempt   = "quire.dead.attempt"
)

const deadPrefix = "quire.dead."

// DeadReason says why a record was not delivered again; it is the text of a dead letter's header.
type DeadReason string

// Why records die.
const (
	MaxAttemptsReached DeadReason = "attempts"
	Rejected           DeadReason = "rejected"
)

// notKnown is said of a delivery of which nothing came back.
const notKnown = "outcome not known: the program ended meanwhile, or released it"

// DeadRecord is a dead letter: the record as it was, with its own topic, partition, offset, time, key, value and headers, and what became of
// it.
type DeadRecord struct {
	topic.Record
	Queue    string
	Reason   DeadReason
	Attempts []Attempt
	// Letter is where the dead letter lies.
	Letter topic.Position
}

// bury makes a dead letter of a record that will not be delivered again. After an error it is as if it had not been taken.
func (q *Queue) bury(got *taken) error {
	ok, err := q.read(context.Background(), got)
	if ok && q.cfg.dead != "" {
		err = q.mail(context.Background(), q.letter(got))
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	s, now := got.s, time.Now()
	if err != nil {
		s.share.release(s, time.Time{})
		q.line.admit(s, now)
		return err
	}
	switch {
	case !ok:
		q.stats.Vanished++
	default:
		q.stats.Dead++
	}
	s.share.finish(s, stateArchived)
	q.forgetLocked(s, now)
	return nil
}

// deadLetters is the topic of the dead letters; it is made again if somebody has deleted it.
func (q *Queue) deadLetters(ctx context.Context) (*topic.Topic, error) {
	return q.hub.eng.Topic(ctx, q.cfg.dead)
}

func (q *Queue) mail(ctx context.Context, letter topic.Record) error {
	t, err := q.deadLetters(ctx)
	if err == nil {
		_, err = t.Append(ctx, letter)
	}
	return err
}

// letter is the record's bytes and headers, and its story.
func (q *Queue) letter(got *taken) topic.Record {
	rec, s := got.rec, got.s
	reason := MaxAttemptsReached
	if s.dead == deadRejected {
		reason = Rejected
	}
	out := topic.Record{Key: rec.Key, Value: rec.Value, Headers: append([]topic.Header(nil), rec.Headers...)}
	add := func(key, value string) {
		out.Headers = append(out.Headers, topic.Header{Key: key, Value: []byte(value)})
	}
	add(DeadHeaderQueue, q.id.name)
	add(DeadHeaderTopic, rec.Topic)
	add(DeadHeaderPartition, strconv.Itoa(int(rec.Partition)))
	add(DeadHeaderOffset, strconv.FormatInt(rec.Offset, 10))
	add(DeadHeaderTime, timeText(rec.Time))
	add(DeadHeaderReason, string(reason))
	for _, a := range fullStory(s) {
		add(DeadHeaderAttempt, strconv.Itoa(a.Number)+" "+timeText(a.Time)+" "+a.Error)
	}
	return out
}

// fullStory has an entry for each delivery.
func fullStory(s *slot) []Attempt {
	list := make([]Attempt, 0, s.count)
	told := s.story
	for n := 1; n <= int(s.count); n++ {
		some := false
		for len(told) > 0 && told[0].Number <= n {
			list, told, some = append(list, told[0]), told[1:], true
		}
		if !some {
			list = append(list, Attempt{Number: n, Error: notKnown})
		}
	}
	return list
}

const deadTimeLayout = "2006-01-02T15:04:05.000Z07:00"

func timeText(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(deadTimeLayout)
}

func parseTimeText(text string) time.Time {
	t, err := time.Parse(deadTimeLayout, text)
	if err != nil {
		return time.Time{}
	}
	return t
}

// ParseDeadRecord reads a dead letter; false for a record that is none. It shares the record's bytes.
func ParseDeadRecord(rec topic.Record) (DeadRecord, bool) {
	d := DeadRecord{Record: rec, Letter: topic.Position{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset}}
	d.Headers, d.Record.Topic, d.Record.Time = nil, "", time.Time{}
	for _, h := range rec.Headers {
		if !strings.HasPrefix(h.Key, deadPrefix) {
			d.Headers = append(d.Headers, h)
			continue
		}
		text := string(h.Value)
		switch h.Key {
		case DeadHeaderQueue:
			d.Queue = text
		case DeadHeaderTopic:
			d.Record.Topic = text
		case DeadHeaderPartition:
			n, _ := strconv.ParseInt(text, 10, 32)
			d.Partition = int32(n)
		case DeadHeaderOffset:
			d.Offset, _ = strconv.ParseInt(text, 10, 64)
		case DeadHeaderTime:
			d.Record.Time = parseTimeText(text)
		case DeadHeaderReason:
			d.Reason = DeadReason(text)
		case DeadHeaderAttempt:
			d.Attempts = append(d.Attempts, parseAttempt(h.Value))
		}
	}
	return d, d.Record.Topic != "" && d.Reason != ""
}

func parseAttempt(text []byte) Attempt {
	number, rest, _ := bytes.Cut(text, []byte(" "))
	at, what, _ := bytes.Cut(rest, []byte(" "))
	n, _ := strconv.Atoi(string(number))
	return Attempt{Number: n, Time: parseTimeText(string(at)), Error: string(what)}
}
