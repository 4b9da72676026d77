package group

import (
	"maps"
	"slices"
	"time"
)

// recordState is where a record of a share partition stands; the numbers are Kafka's (KIP-932).
//
//	              acquire                        accept
//	Available ---------------> Acquired --------------------> Acknowledged
//	    ^                       |    |
//	    +-----------------------+    |  reject, or released with no delivery left
//	       release, lease ends       +-----------> Archiving ---> Archived
//
// Archiving is a record on its way to the dead letters. Only Available, Acknowledged and Archived are stored.
type recordState int8

const (
	stateAvailable    recordState = 0
	stateAcquired     recordState = 1
	stateAcknowledged recordState = 2
	stateArchiving    recordState = 3
	stateArchived     recordState = 4
)

func (s recordState) finished() bool { return s == stateAcknowledged || s == stateArchived }

// slot is one record of the window of a share partition.
type slot struct {
	share  *share
	offset int64
	state  recordState
	count  int16     // deliveries begun, this one included
	known  int16     // of them, those whose end was seen: a crash leaves the others
	lock   uint64    // of the delivery that holds it
	until  time.Time // acquired: the lease's end, zero while it is held without one
	due    time.Time // available: not before
	dead   deadCause // why it is to be archived
	story  []Attempt // what failed: the first and the last of it

	refusal  error // why its dead letter was refused the last time; nil unless it is parked
	refusals int

	line lineFields
}

// deadCause says why a record will not be delivered again.
type deadCause int8

const (
	deadNot deadCause = iota
	deadAttempts
	deadRejected
)

// keptFinished is how many finished records may lie between unfinished ones before they are let go of.
const keptFinished = 64

// A share is one partition of a queue as a pure machine: which records are in the window, who holds them, how often they were delivered.
//
//	       start (SPSO)                    end (SPEO)
//	         |                              |
//	---------+------------------------------+------------
//	finished   slots, and finished between    not looked at
//
//	S1  Everything below start is finished, and start is a slot's offset, or end.
//	S2  An offset of [start, end) without a slot is finished: acknowledged, archived, or no record.
//	S3  Start and end only rise.
//	S4  A slot is held by at most one delivery; an answer that does not name its lock changes nothing.
//	S5  count rises with every delivery and a slot with most deliveries is never delivered again.
//	S6  A parked slot is dead, and waits for its dead letter to be taken. It counts as unfinished, and not against the window.
type share struct {
	most       int16 // deliveries
	start, end int64
	floor      int64 // the log's start: below it records are gone
	slots      map[int64]*slot
	order      []*slot // by offset; finished ones stay until they are first
	past       runs    // what was stored of offsets at or after end
	stories    map[int64]story
	locks      uint64
	parked     int
}

func newShare(most int16, stored *shareState) *share {
	return &share{
		most: most, start: stored.start, end: stored.start, slots: map[int64]*slot{},
		past: slices.Clone(stored.runs), stories: maps.Clone(stored.stories),
	}
}

// fill takes the record at offset into the window; what lies between end and offset holds no record. nil: the record is finished.
func (p *share) fill(offset int64) *slot {
	if offset < p.end {
		return nil
	}
	p.end = offset + 1
	state, count := p.past.at(offset)
	p.past.cut(p.end)
	if state.finished() || offset < p.floor {
		delete(p.stories, offset)
		p.rise()
		return nil
	}
	s := &slot{share: p, offset: offset, count: count}
	if told, ok := p.stories[offset]; ok {
		s.story, s.due, s.dead, s.known = told.attempts, told.due, told.dead, min(told.known, count)
		delete(p.stories, offset)
	}
	if s.dead == deadNot && s.count >= p.most {
		s.dead = deadAttempts
	}
	p.slots[offset] = s
	p.order = append(p.order, s)
	p.rise()
	return s
}

// rise moves start over what is finished, and lets go of what is finished behind it once that is most.
func (p *share) rise() {
	for len(p.order) > 0 && p.order[0].state.finished() {
		p.order[0] = nil
		p.order = p.order[1:]
	}
	if len(p.order) > 2*len(p.slots)+keptFinished {
		p.order = p.open()
	}
	to := p.end
	if len(p.order) > 0 {
		to = p.order[0].offset
	}
	p.start = max(p.start, to)
}

// acquire gives the record to a delivery, which holds it until the given time, or without limit if that is zero. A record that is to be
// archived is not counted as delivered.
func (p *share) acquire(s *slot, until time.Time) {
	p.locks++
	s.lock, s.until = p.locks, until
	if s.dead != deadNot {
		s.state = stateArchiving
		return
	}
	s.state = stateAcquired
	s.count++
}

// holds tells whether the delivery with this lock still holds the record at time now.
func (s *slot) holds(lock uint64, now time.Time) bool {
	return (s.state == stateAcquired || s.state == stateArchiving) && s.lock == lock && (s.until.IsZero() || now.Before(s.until))
}

// finish ends a record.
func (p *share) finish(s *slot, state recordState) {
	p.unpark(s)
	s.state, s.story, s.until = state, nil, time.Time{}
	delete(p.slots, s.offset)
	p.rise()
}

// release ends a delivery and gives the record back, to be delivered again at due; with no delivery left it is to be archived. A record that
// is gone from the log is archived at once: then release reports false. One that was delivered alone has shown that it ends no process.
func (p *share) release(s *slot, due time.Time) bool {
	if s.known++; s.line.alone {
		s.known = s.count
	}
	return p.giveBack(s, due)
}

func (p *share) giveBack(s *slot, due time.Time) bool {
	if s.offset < p.floor {
		p.finish(s, stateArchived)
		return false
	}
	s.state, s.due, s.until = stateAvailable, due, time.Time{}
	if s.dead == deadNot && s.count >= p.most {
		s.dead = deadAttempts
	}
	if s.dead != deadNot {
		s.due = time.Time{}
	}
	return true
}

// undo gives a record back as if it had not been delivered.
func (p *share) undo(s *slot) bool {
	if s.state == stateAcquired {
		s.count--
	}
	return p.giveBack(s, s.due)
}

// park gives a dead record back whose dead letter was refused; false as release.
func (p *share) park(s *slot, refusal error) bool {
	if s.refusal == nil {
		p.parked++
	}
	s.refusal = refusal
	s.refusals++
	return p.giveBack(s, time.Time{})
}

func (p *share) unpark(s *slot) {
	if s.refusal != nil {
		p.parked--
	}
	s.refusal, s.refusals = nil, 0
}

// revive makes a parked record one that was never delivered.
func (p *share) revive(s *slot) {
	p.unpark(s)
	s.dead, s.count, s.known, s.story, s.due = deadNot, 0, 0, nil, time.Time{}
}

// suspect tells whether a record is to be delivered alone, so that it takes no others along if it ends the process: deliveries of it ended
// with their process, and it has used up half of those it may have, as where Kafka begins to thin what it delivers together (KAFKA-17541).
func (p *share) suspect(s *slot) bool {
	return s.dead == deadNot && s.count > s.known && int(s.count) >= (int(p.most)+1)/2
}

// raise learns that the log begins at offset: records below that nobody holds are archived. It returns those.
func (p *share) raise(offset int64) (gone []*slot) {
	if offset <= p.floor {
		return nil
	}
	p.floor = offset
	for _, s := range p.order {
		if s.offset >= offset {
			break
		}
		if s.state == stateAvailable {
			gone = append(gone, s)
		}
	}
	for _, s := range gone {
		p.finish(s, stateArchived)
	}
	return gone
}

// first is the oldest record that is not finished, nil if there is none.
func (p *share) first() *slot {
	if len(p.order) == 0 {
		return nil
	}
	return p.order[0]
}

// open lists the records that are not finished, by offset.
func (p *share) open() []*slot {
	list := make([]*slot, 0, len(p.slots))
	for _, s := range p.order {
		if !s.state.finished() {
			list = append(list, s)
		}
	}
	return list
}

// unfinished is how many records are not finished.
func (p *share) unfinished() int { return len(p.slots) }

// inWindow is how many of them count against the window: parked ones do not, up to the largest window.
func (p *share) inWindow() int { return len(p.slots) - min(p.parked, mostWindow) }

// skip passes over what is finished from end on, if that is more than so many offsets; end is where reading goes on.
func (p *share) skip(more int64) bool {
	if len(p.past) == 0 || p.past[0].first > p.end || !p.past[0].state.finished() || p.past[0].last-p.end < more {
		return false
	}
	p.end = p.past[0].last + 1
	return true
}
