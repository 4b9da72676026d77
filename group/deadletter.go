package group

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/quirelog/quire/topic"
)

// Headers that a dead letter has behind those of its record. Numbers are decimal, times RFC 3339 with milliseconds. There is one attempt
// header for each delivery, of many for the first and the last ones: "number time error", with "-" for a time that is not known. A record
// that was a dead letter already keeps the headers that it had: those of the last queue begin with the last [DeadHeaderQueue].
const (
	DeadHeaderQueue     = "quire.dead.queue"
	DeadHeaderTopic     = "quire.dead.topic"
	DeadHeaderPartition = "quire.dead.partition"
	DeadHeaderOffset    = "quire.dead.offset"
	DeadHeaderTime      = "quire.dead.time" // the record's own
	DeadHeaderReason    = "quire.dead.reason"
	DeadHeaderAttempt   = "quire.dead.attempt"
	DeadHeaderCount     = "quire.dead.count" // of deliveries
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
	Queue      string
	Reason     DeadReason
	Deliveries int       // how often it was delivered
	Attempts   []Attempt // what became of them; of many, of the first and the last ones
	// Letter is where the dead letter lies.
	Letter topic.Position
}

// bury makes a dead letter of a record that will not be delivered again. A letter that is refused parks it; after another error it is as if
// it had not been taken.
func (q *Queue) bury(ctx context.Context, got *taken) error {
	defer close(got.s.line.mailing)
	ok, err := true, error(nil)
	if q.cfg.dead != "" {
		if ok, err = q.read(ctx, got); ok {
			err = q.mail(ctx, got)
		}
	}
	q.mu.Lock()
	s, now := got.s, time.Now()
	switch {
	case err == nil:
		defer q.mu.Unlock()
		if ok {
			q.stats.Dead++
		} else {
			q.stats.Vanished++
		}
		s.share.finish(s, stateArchived)
		q.forgetLocked(s, now)
		return nil
	case q.end != nil || ctx.Err() != nil || !refuses(err):
		defer q.mu.Unlock()
		if s.share.giveBack(s, time.Time{}) {
			q.line.admit(s, now)
			q.rouseLocked(now)
			return err
		}
		q.stats.Vanished++
		q.forgetLocked(s, now)
		return err
	}
	first := q.parkLocked(s, err, now)
	q.mu.Unlock()
	if first {
		q.tellRefused(got, err)
	}
	return nil
}

// refuses tells whether an error is about this letter or the topic that it goes to, and not about the disk or the engine: then others may
// go on.
func refuses(err error) bool {
	if errors.Is(err, topic.ErrNotFound) { // what of it is unknown went with the topic
		return !errors.Is(err, topic.ErrClosed)
	}
	for _, refusal := range []error{
		context.DeadlineExceeded,
		topic.ErrTooLarge, topic.ErrInvalid, topic.ErrInvalidRecord, topic.ErrInvalidTimestamp, topic.ErrQuota,
		topic.ErrExists, topic.ErrReadOnly, topic.ErrFenced, topic.ErrCorrupt, topic.ErrDataLoss,
	} {
		if errors.Is(err, refusal) {
			return !errors.Is(err, topic.ErrUncertain) && !errors.Is(err, topic.ErrNoSpace) && !errors.Is(err, topic.ErrClosed)
		}
	}
	return false
}

// mailTime is how long a letter waits for room in a topic whose budget blocks appends: it counts as refused then.
const mailTime = 5 * time.Second

// deadHeadroom is how much longer than its record a dead letter may be.
const deadHeadroom = 64 << 10

// deadLetters is the topic of the dead letters; it is made again if it was deleted, with room for what the queue's topic takes and a letter
// has in addition.
func (q *Queue) deadLetters(ctx context.Context) (*topic.Topic, error) {
	t, err := q.hub.topicOf(q.cfg.dead)
	if t != nil || err != nil {
		return t, err
	}
	limit := min(q.topic.Settings().MaxMessageBytes, math.MaxInt32-deadHeadroom) + deadHeadroom
	t, err = q.hub.eng.Topic(ctx, q.cfg.dead, topic.MaxMessageBytes(int(limit)))
	if errors.Is(err, topic.ErrExists) { // made meanwhile, by another and for others
		t, err = q.hub.eng.Topic(ctx, q.cfg.dead)
	}
	return t, err
}

func (q *Queue) mail(ctx context.Context, got *taken) error {
	if n := deaths(got.rec.Headers); n >= mostDeaths {
		return fmt.Errorf("%w: it was a dead letter %d times: queues are each other's dead letters", topic.ErrInvalid, n)
	}
	ctx, stop := context.WithTimeout(ctx, mailTime)
	defer stop()
	t, err := q.deadLetters(ctx)
	if err == nil {
		_, err = t.Append(ctx, q.letter(got))
	}
	return err
}

// mostDeaths is how often a record may become a dead letter on its way from queue to queue.
const mostDeaths = 16

// deaths is how often a record became a dead letter.
func deaths(headers []topic.Header) (n int) {
	for i := range headers {
		if headers[i].Key == DeadHeaderQueue {
			n++
		}
	}
	return n
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
	add(DeadHeaderCount, strconv.Itoa(int(s.count)))
	for _, a := range fullStory(s) {
		add(DeadHeaderAttempt, strconv.Itoa(a.Number)+" "+timeText(a.Time)+" "+a.Error)
	}
	return out
}

// fullStory has an entry for each delivery; of many, for the first and the last ones, and for each gap between what is known.
func fullStory(s *slot) []Attempt {
	var list []Attempt
	next, count := 1, int(s.count)
	gap := func(to int) { // up to it, itself not
		if to-next > 1 && count > 2*keptAttempts {
			list = append(list, Attempt{Number: to - 1, Error: fmt.Sprintf("outcomes from attempt %d on not known, or not kept", next)})
			return
		}
		for n := next; n < to; n++ {
			list = append(list, Attempt{Number: n, Error: notKnown})
		}
	}
	for _, a := range s.story {
		if a.Number > count {
			break
		}
		gap(a.Number)
		list, next = append(list, a), max(next, a.Number+1)
	}
	gap(count + 1)
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
	last := 0 // of the deaths, the one that is told
	for i := range rec.Headers {
		if rec.Headers[i].Key == DeadHeaderQueue {
			last = i
		}
	}
	for i, h := range rec.Headers {
		if i < last || !strings.HasPrefix(h.Key, deadPrefix) {
			d.Headers = append(d.Headers, h)
			continue
		}
		d.header(h.Key, string(h.Value))
	}
	if n := len(d.Attempts); d.Deliveries == 0 && n > 0 { // written before they were counted
		d.Deliveries = d.Attempts[n-1].Number
	}
	return d, d.Record.Topic != "" && d.Reason != ""
}

// header takes in what a header of the letter says.
func (d *DeadRecord) header(key, text string) {
	switch key {
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
	case DeadHeaderCount:
		d.Deliveries, _ = strconv.Atoi(text)
	case DeadHeaderAttempt:
		d.Attempts = append(d.Attempts, parseAttempt(text))
	}
}

func parseAttempt(text string) Attempt {
	number, rest, _ := strings.Cut(text, " ")
	at, what, _ := strings.Cut(rest, " ")
	n, _ := strconv.Atoi(number)
	return Attempt{Number: n, Time: parseTimeText(at), Error: what}
}
