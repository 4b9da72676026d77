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
	lock   uint64    // of the delivery that holds it
	until  time.Time // acquired: the lease's end, zero while it is held without one
	due    time.Time // available: not before
	dead   deadCause // why it is to be archived
	story  []Attempt // what failed

	line lineFields
}

// deadCause says why a record will not be delivered again.
type deadCause int8

const (
	deadNot deadCause = iota
	deadAttempts
	deadRejected
)

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
type share struct {
	most       int16 // deliveries
	start, end int64
	floor      int64 // the log's start: below it records are gone
	slots      map[int64]*slot
	order      []*slot // by offset; finished ones stay until they are first
	past       runs    // what was stored of offsets at or after end
	stories    map[int64]story
	locks      uint64
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
		s.story, s.due, s.dead = told.attempts, told.due, told.dead
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

// rise moves start over what is finished.
func (p *share) rise() {
	for len(p.order) > 0 && p.order[0].state.finished() {
		p.order[0] = nil
		p.order = p.order[1:]
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
	s.state, s.story, s.until = state, nil, time.Time{}
	delete(p.slots, s.offset)
	p.rise()
}

// release gives a record back, to be delivered again at due; with no delivery left it is to be archived. A record that is gone from the
// log is archived at once: then release reports false.
func (p *share) release(s *slot, due time.Time) bool {
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
	return p.release(s, s.due)
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

// unfinished is how many records of the window are not finished.
func (p *share) unfinished() int { return len(p.slots) }
