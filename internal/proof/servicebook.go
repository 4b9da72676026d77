package main

import (
	"bufio"
	"slices"
	"sync"
	"time"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/topic"
)

// jobTold is what was told of one job. Moments count the lines of all that was told.
type jobTold struct {
	attempt  int64 // of the last try
	firstTry int64
	lastTry  int64
	acked    bool // the last answer was an ack
	ended    bool // it was an ack, a rejection, or the last attempt's failure
	known    bool // it is known to be on disk
}

// serviceBook is what a service told, over all its lives.
type serviceBook struct {
	mu        sync.Mutex // of what is told; what is compared is one goroutine's
	moment    int64
	jobs      map[int64]*jobTold
	sent      map[int64]bool // acknowledged appends
	later     map[int64]bool // messages that are to come
	cancelled map[int64]bool
	read      map[int64][][2]int64     // stretches by partition
	committed map[int64]int64          // by partition
	handled   map[int64]map[int64]bool // by partition and offset
	eventEnds map[int64]int64
	dead      map[int64]group.DeadReason
	present   map[int64]bool // jobs in the topic
	err       error
}

func newServiceBook() *serviceBook {
	return &serviceBook{
		jobs: map[int64]*jobTold{}, sent: map[int64]bool{}, later: map[int64]bool{}, cancelled: map[int64]bool{},
		read: map[int64][][2]int64{}, handled: map[int64]map[int64]bool{}, committed: map[int64]int64{}, dead: map[int64]group.DeadReason{}, present: map[int64]bool{},
	}
}

// write writes down what a child tells until it is dead; a last line cut short was not told.
func (b *serviceBook) write(lines *bufio.Reader) error {
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return b.err
		}
		verb, n, err := parseTold(line)
		if err != nil {
			return err
		}
		b.hear(verb, n)
	}
}

// hear notes one line.
func (b *serviceBook) hear(verb string, n [3]int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.moment++
	switch verb {
	case "job":
		b.sent[n[0]] = true
	case "later":
		b.later[n[0]] = true
	case "cancelling":
		delete(b.later, n[0]) // it may come or not
	case "cancelled":
		b.cancelled[n[0]] = true
	case "read":
		b.read[n[0]] = append(b.read[n[0]], [2]int64{n[1], n[2]})
	case "committed":
		b.committed[n[0]] = max(b.committed[n[0]], n[1])
	case "handled":
		if b.handled[n[0]] == nil {
			b.handled[n[0]] = map[int64]bool{}
		}
		b.handled[n[0]][n[1]] = true
	case "kept":
		if upTo := b.handledTo(n[0]); n[1] > upTo {
			b.fault(faultf(lost, "partition %d was committed up to %d, event %d was not handled", n[0], n[1], upTo))
		}
	case "try":
		b.fault(b.try(n[0], n[1]))
	case "ack", "fail", "reject":
		b.jobs[n[0]].answer(verb)
	case "known":
		if j := b.jobs[n[0]]; j.attempt == n[1] {
			j.known = true
		}
	}
}

func (b *serviceBook) fault(err error) {
	if b.err == nil {
		b.err = err
	}
}

// try notes a delivery: never of what is known to be done, and each time a later attempt.
func (b *serviceBook) try(id, attempt int64) error {
	j := b.jobs[id]
	if j == nil {
		j = &jobTold{firstTry: b.moment}
		b.jobs[id] = j
	}
	j.lastTry = b.moment
	switch {
	case j.ended && j.known:
		return faultf(wrong, "job %d was delivered again after its end was known", id)
	case attempt <= j.attempt:
		return faultf(wrong, "attempt %d of job %d after attempt %d", attempt, id, j.attempt)
	case attempt > serviceAttempts:
		return faultf(wrong, "attempt %d of job %d", attempt, id)
	}
	*j = jobTold{attempt: attempt, firstTry: j.firstTry, lastTry: j.lastTry}
	return nil
}

func (j *jobTold) answer(verb string) {
	j.acked = verb == "ack"
	j.ended = verb != "fail" || j.attempt == serviceAttempts
}

// compare compares the directory with the book.
func (b *serviceBook) compare(s *service) error {
	for _, look := range []func(*service) error{b.compareDead, b.compareJobs, b.compareLater, b.compareCommits} {
		if err := look(s); err != nil {
			return err
		}
	}
	return b.err
}

// compareDead notes the dead letters: who is there must have been rejected, or tried to the end.
func (b *serviceBook) compareDead(s *service) error {
	if ok, err := s.hasTopic(deadTopic); !ok {
		return err
	}
	return recordsOf(s.eng, deadTopic, func(rec *topic.Record) error {
		d, ok := group.ParseDeadRecord(*rec)
		if !ok {
			return faultf(wrong, "a dead letter that is none: %q", rec.Value)
		}
		id := numbersIn(d.Value)[0]
		if want := jobRecord(id); string(want.Value) != string(d.Value) || string(want.Key) != string(d.Key) {
			return faultf(wrong, "dead letter of job %d is %q", id, d.Value)
		}
		if f := fateOf(id); d.Reason != group.MaxAttemptsReached && f != rejected {
			return faultf(wrong, "job %d is dead because of %s", id, d.Reason)
		}
		b.dead[id] = d.Reason
		return nil
	})
}

func (s *service) hasTopic(name string) (bool, error) {
	list, err := s.eng.Topics(ctx())
	return slices.ContainsFunc(list, func(t *topic.Topic) bool { return t.Name() == name }), err
}

// compareJobs looks that all jobs are there, and that of a key no job was tried before
// the one ahead of it was tried for the last time.
func (b *serviceBook) compareJobs(s *service) error {
	type place struct {
		partition int32
		key       string
	}
	ahead := map[place]int64{}
	clear(b.present)
	err := recordsOf(s.eng, jobsTopic, func(rec *topic.Record) error {
		id := numbersIn(rec.Value)[0]
		b.present[id] = true
		at := place{rec.Partition, string(rec.Key)}
		if before, ok := ahead[at]; ok && b.jobs[id] != nil {
			j := b.jobs[before]
			switch {
			case j == nil && b.dead[before] == "":
				return faultf(wrong, "job %d of %s was tried, and %d before it never", id, at.key, before)
			case j != nil && j.lastTry > b.jobs[id].firstTry:
				return faultf(wrong, "job %d of %s was tried before %d had ended", id, at.key, before)
			}
		}
		ahead[at] = id
		return nil
	})
	for id := range b.sent {
		if err == nil && !b.present[id] {
			return faultf(lost, "job %d", id)
		}
	}
	return err
}

// compareLater looks at the messages that wait and those that have come: once each, none
// early, none that was cancelled. What is just being delivered is for a moment neither.
func (b *serviceBook) compareLater(s *service) error {
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		missing, err := b.missingLater(s)
		if err != nil || len(missing) == 0 {
			return err
		}
		if time.Since(began) > openPatient {
			return faultf(lost, "%d delayed messages, one of them %d", len(missing), missing[0])
		}
	}
}

func (b *serviceBook) missingLater(s *service) (missing []int64, err error) {
	t, err := s.eng.Topic(ctx(), laterTopic)
	if err != nil {
		return nil, err
	}
	waiting, come := map[int64]bool{}, map[int64]bool{}
	for m, err := range t.Scheduled(ctx()) { // first: what waits now may have come when the topic is read
		if err != nil {
			return nil, err
		}
		waiting[numbersIn(m.Value)[0]] = true
	}
	err = recordsOf(s.eng, laterTopic, func(rec *topic.Record) error {
		id, due := numbersIn(rec.Value)[0], numbersIn(rec.Value)[1]
		switch {
		case come[id]:
			return faultf(wrong, "delayed message %d came twice", id)
		case b.cancelled[id]:
			return faultf(wrong, "delayed message %d came although it was cancelled", id)
		case rec.Time.UnixMilli() < due:
			return faultf(wrong, "delayed message %d came %d ms early", id, due-rec.Time.UnixMilli())
		}
		come[id] = true
		return nil
	})
	for id := range b.later {
		if err == nil && !come[id] && !waiting[id] {
			missing = append(missing, id)
		}
	}
	return missing, err
}

// compareCommits looks that no commit went back.
func (b *serviceBook) compareCommits(s *service) error {
	groups, err := group.On(s.eng)
	if err != nil {
		return err
	}
	list, err := groups.Offsets(ctx(), serviceGroup)
	if err != nil {
		return err
	}
	found := map[int64]int64{}
	for _, o := range list {
		found[int64(o.Partition)] = o.Offset
	}
	for p, offset := range b.committed {
		if found[p] < offset {
			return faultf(lost, "commit of partition %d is %d, was told to be %d", p, found[p], offset)
		}
	}
	return nil
}

// jobsEnded reports whether nothing more is to be expected of the queue: each job is done,
// or has its dead letter.
func (b *serviceBook) jobsEnded() bool {
	for id := range b.present {
		if j := b.jobs[id]; b.dead[id] == "" && (j == nil || !j.acked) {
			return false
		}
	}
	return true
}

// eventsRead reports whether every event was read by some member at some time.
func (b *serviceBook) eventsRead() bool {
	for p, end := range b.eventEnds {
		slices.SortFunc(b.read[p], func(x, y [2]int64) int { return int(x[0] - y[0]) })
		var next int64
		for _, stretch := range b.read[p] {
			if stretch[0] > next {
				return false
			}
			next = max(next, stretch[1])
		}
		if next < end {
			return false
		}
	}
	return true
}

// handledTo is the first event of a partition that was not handled.
func (b *serviceBook) handledTo(partition int64) (next int64) {
	for b.handled[partition][next] {
		next++
	}
	return next
}

// eventsHandled reports whether every event was handled.
func (b *serviceBook) eventsHandled() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for p, end := range b.eventEnds {
		if b.handledTo(p) < end {
			return false
		}
	}
	return true
}

// compareCopies reports whether every event has a copy. Of one source partition copies stand
// in their order wherever they are, but for those that are there again.
func (b *serviceBook) compareCopies(s *service) (whole bool, err error) {
	type way struct{ from, to int32 }
	last := map[way]int64{}
	copied := map[int64]map[int64]bool{}
	err = recordsOf(s.eng, copiesTopic, func(rec *topic.Record) error {
		r, ok := group.ParseRouted(*rec)
		if !ok || r.Source.Topic != eventsTopic {
			return faultf(wrong, "a copy that is none: %q", rec.Value)
		}
		from := int64(r.Source.Partition)
		if copied[from] == nil {
			copied[from] = map[int64]bool{}
		}
		w := way{r.Source.Partition, rec.Partition}
		switch {
		case copied[from][r.Source.Offset]: // again
		case last[w] > r.Source.Offset:
			return faultf(wrong, "%v was copied behind %d of its partition", r.Source, last[w])
		default:
			last[w] = r.Source.Offset
		}
		copied[from][r.Source.Offset] = true
		return nil
	})
	for p, end := range b.eventEnds {
		for at := range end {
			if !copied[p][at] {
				return false, err
			}
		}
	}
	return true, err
}

// finished looks that each job ended as it had to.
func (b *serviceBook) finished() error {
	for id := range b.present {
		j, reason := b.jobs[id], b.dead[id]
		switch f := fateOf(id); {
		case reason == "" && (j == nil || !j.acked):
			return faultf(lost, "job %d never ended", id)
		case reason != "" && j != nil && j.acked && j.known && f != rejected && f != fails:
			return faultf(wrong, "job %d is dead and done", id)
		}
	}
	if !b.eventsRead() {
		return faultf(hole, "events were never read: stretches %v, ends %v", b.read, b.eventEnds)
	}
	return nil
}
