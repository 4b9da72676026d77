package group

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/topic"
)

const (
	// updatesPerSnapshot is Kafka's share.coordinator.snapshot.update.records.per.snapshot.
	updatesPerSnapshot = 500
	// pruneStep is how many records may be pruned before it is worth doing; coldAfter is how old, in records, the snapshot of a partition
	// that nothing happens to may become before it is written again, so that it does not keep all that came later.
	pruneStep = 1000
	coldAfter = 20 * pruneStep
	// appendBytes bounds what is appended in one batch; a record takes less than recordOverhead there beside key and value, and a batch of
	// one less than batchOverhead.
	appendBytes    = 512 << 10
	recordOverhead = 32
	batchOverhead  = 128
)

// shareState is what is stored of one partition of a queue.
type shareState struct {
	start   int64
	runs    runs // at or above start
	stories map[int64]story
	epoch   int32 // of the last snapshot
	created int64
	at      int64 // offset of the last snapshot, -1 if there is none
	updates int   // since then
	// writing is not nil while somebody writes to this state, and closed when that is done. One writer at a time: a record that comes
	// later in the log says something newer.
	writing chan struct{}
}

// apply takes in a change that is stored, and drops the stories of what is finished by it. looked counts the stories it looked at: no more
// than it changes, whatever rests beside them.
func (s *shareState) apply(start int64, changes runs, stories map[int64]story) (looked int) {
	for offset, told := range stories {
		if offset >= start {
			s.stories[offset] = told
		}
	}
	looked = len(stories)
	for _, r := range changes {
		if r.last >= s.start {
			s.runs = s.runs.put(r)
		}
		if r.state.finished() {
			looked += s.forget(r.first, r.last)
		}
	}
	s.start = max(s.start, start)
	s.runs.cut(s.start)
	return looked
}

// forget drops the stories of the offsets first to last.
func (s *shareState) forget(first, last int64) (looked int) {
	if last-first >= int64(len(s.stories)) {
		looked = len(s.stories)
		maps.DeleteFunc(s.stories, func(offset int64, _ story) bool { return first <= offset && offset <= last })
		return looked
	}
	for offset := first; offset <= last; offset++ {
		delete(s.stories, offset)
	}
	return int(last - first + 1)
}

// A stateLog is one partition of ShareStateTopic with what it says.
type stateLog struct {
	part *topic.Partition

	mu     sync.Mutex
	states map[shareKey]*shareState
	pruned int64
}

// loadStateLog reads one.
func loadStateLog(ctx context.Context, t *topic.Topic, n int32) (*stateLog, error) {
	part, err := t.Partition(n)
	if err != nil {
		return nil, err
	}
	l := &stateLog{part: part, states: map[shareKey]*shareState{}}
	for rec, err := range t.Read(ctx, topic.OnPartitions(n), topic.UntilEnd()) {
		if err == nil {
			err = l.replay(rec)
		}
		if err != nil {
			return nil, fmt.Errorf("group: state of queues in %s: %w", part, err)
		}
	}
	return l, bounded.Cause(ctx)
}

func (l *stateLog) replay(rec *topic.Record) error {
	kind, key, offset, err := parseShareKey(rec.Key)
	if err != nil {
		return fmt.Errorf("key at offset %d: %w", rec.Offset, err)
	}
	if err := l.take(kind, key, offset, rec); err != nil {
		return fmt.Errorf("value at offset %d: %w", rec.Offset, err)
	}
	return nil
}

func (l *stateLog) take(kind int16, key shareKey, offset int64, rec *topic.Record) error {
	s := l.states[key]
	switch {
	case kind == shareSnapshotKind && rec.Value == nil:
		delete(l.states, key)
	case kind == shareSnapshotKind:
		v, err := parseShareSnapshot(kind, rec.Value)
		if err != nil {
			return err
		}
		fresh := newShareState(v.start)
		if s != nil {
			s.forget(0, v.start-1)
			fresh.stories = s.stories
		}
		fresh.epoch, fresh.created, fresh.at = v.epoch, v.created, rec.Offset
		fresh.apply(v.start, v.runs, nil)
		l.states[key] = fresh
	case s == nil || rec.Value == nil: // of a state whose snapshot was pruned with it
	case kind == shareUpdateKind:
		v, err := parseShareSnapshot(kind, rec.Value)
		if err != nil {
			return err
		}
		s.updates++
		s.apply(v.start, v.runs, nil)
	case kind == shareStoryKind:
		told, err := parseStory(rec.Value)
		if err != nil {
			return err
		}
		s.stories[offset] = told
	}
	return nil
}

func newShareState(start int64) *shareState {
	return &shareState{start: start, stories: map[int64]story{}, at: -1}
}

// storedState is a state with the log that it is stored in.
type storedState struct {
	log   *stateLog
	state *shareState
}

// begins is where what is not finished begins.
func (s *storedState) begins() int64 {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	return s.state.start
}

// state is what is stored under key, nil if nothing is.
func (l *stateLog) state(key shareKey) *shareState {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.states[key]
}

// claim waits until nothing else writes to s, and keeps others from it until yield.
func (l *stateLog) claim(s *shareState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s.writing != nil {
		busy := s.writing
		l.mu.Unlock()
		<-busy
		l.mu.Lock()
	}
	s.writing = make(chan struct{})
}

func (l *stateLog) yield(s *shareState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(s.writing)
	s.writing = nil
}

// begin stores the first snapshot of a state. What a queue that was never wholly there, or is not wholly gone, has left under key is
// forgotten.
func (l *stateLog) begin(key shareKey, start int64) (*shareState, error) {
	if err := l.remove(key); err != nil {
		return nil, err
	}
	end, err := l.part.End()
	if err != nil {
		return nil, err
	}
	s := newShareState(start)
	s.created, s.at = time.Now().UnixMilli(), end
	l.put(key, s) // before it is stored: pruning spares it from now on
	l.claim(s)
	defer l.yield(s)
	if err := l.snapshot(key, s); err != nil {
		l.put(key, nil)
		return nil, err
	}
	return s, nil
}

func (l *stateLog) put(key shareKey, s *shareState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.states[key] = s; s == nil {
		delete(l.states, key)
	}
}

// remove stores that there is nothing under key any more: a tombstone, as Kafka does.
func (l *stateLog) remove(key shareKey) error {
	s := l.state(key)
	if s == nil {
		return nil
	}
	l.claim(s)
	defer l.yield(s)
	if _, err := l.appendAll([]topic.Record{{Key: key.append(shareSnapshotKind, 0)}}); err != nil {
		return err
	}
	l.put(key, nil)
	return nil
}

// write stores a change of a state that the caller has claimed. At return it is as durable as the topic is: by default on disk. After an
// error it may be stored in parts, which does no harm to writing it again. full says that it is time for a snapshot: there were enough
// updates, and as many as it has stories to repeat.
func (l *stateLog) write(key shareKey, s *shareState, start int64, changes runs, stories map[int64]story) (full bool, err error) {
	recs := append(l.storyRecords(key, stories), l.updateRecords(key, s.epoch, start, changes)...)
	if _, err := l.appendAll(recs); err != nil {
		return false, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.apply(start, changes, stories)
	s.updates++
	return s.updates >= max(updatesPerSnapshot, len(s.stories)), nil
}

// room is how many bytes of records are appended in one batch: half of what the topic takes leaves enough for what a batch has beside them.
func (l *stateLog) room() int {
	return int(min(appendBytes, l.part.Topic().Settings().MaxMessageBytes/2))
}

// storyRecords makes records of stories; one that is longer than the topic takes says no more than when, and whether, the record goes on.
func (l *stateLog) storyRecords(key shareKey, stories map[int64]story) []topic.Record {
	room := l.room()
	recs := make([]topic.Record, 0, len(stories)+1)
	for offset, told := range stories {
		r := topic.Record{Key: key.append(shareStoryKind, offset), Value: told.append()}
		if len(r.Key)+len(r.Value) > room {
			told.attempts = nil
			r.Value = told.append()
		}
		recs = append(recs, r)
	}
	return recs
}

// updateRecords makes updates of changes, as many as the topic asks for; the last one moves start.
func (l *stateLog) updateRecords(key shareKey, epoch int32, start int64, changes runs) (recs []topic.Record) {
	name := key.append(shareUpdateKind, 0)
	most := max(1, (l.room()-len(name)-shareFixedBytes)/stateRunSize)
	for ; len(changes) > most; changes = changes[most:] {
		v := shareSnapshot{epoch: epoch, start: -1, runs: changes[:most]}
		recs = append(recs, topic.Record{Key: name, Value: v.append(shareUpdateKind)})
	}
	v := shareSnapshot{epoch: epoch, start: start, runs: changes}
	return append(recs, topic.Record{Key: name, Value: v.append(shareUpdateKind)})
}

// errStateRoom says that a snapshot is longer than the topic takes. The log says all without it, and is not pruned.
var errStateRoom = errors.New("group: no room for a snapshot of a queue's state")

// snapshot stores all of a state that the caller has claimed.
func (l *stateLog) snapshot(key shareKey, s *shareState) error {
	l.mu.Lock()
	s.forget(0, s.start-1) // of records that were gone before their turn came
	v := shareSnapshot{epoch: s.epoch + 1, start: s.start, created: s.created, written: time.Now().UnixMilli(), runs: s.runs}
	recs := []topic.Record{{Key: key.append(shareSnapshotKind, 0), Value: v.append(shareSnapshotKind)}}
	recs = append(recs, l.storyRecords(key, s.stories)...)
	fits := int64(len(recs[0].Key)+len(recs[0].Value)+batchOverhead) <= l.part.Topic().Settings().MaxMessageBytes
	if !fits {
		s.updates = 0
	}
	l.mu.Unlock()
	if !fits {
		return errStateRoom
	}
	base, err := l.appendAll(recs)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.epoch, s.at, s.updates = v.epoch, base, 0
	return nil
}

// appendAll appends records in batches of moderate size and returns the first offset. It cannot be interrupted: half a change is of no
// use.
func (l *stateLog) appendAll(recs []topic.Record) (base int64, err error) {
	base = -1
	room := l.room()
	for len(recs) > 0 {
		n, size := 0, 0
		for n < len(recs) && (n == 0 || size < room) {
			size += len(recs[n].Key) + len(recs[n].Value) + recordOverhead
			n++
		}
		pos, err := l.part.Append(context.Background(), recs[:n]...)
		if err != nil {
			return -1, err
		}
		if base < 0 {
			base = pos.Offset
		}
		recs = recs[n:]
	}
	return base, nil
}

// prune lets go of what is older than every state's last snapshot. The caller has claimed nothing.
func (l *stateLog) prune() error {
	end, err := l.part.End()
	if err != nil {
		return err
	}
	for {
		key, s, low := l.oldest()
		if s == nil {
			return l.drop(end)
		}
		if end-low < coldAfter {
			return l.drop(low)
		}
		l.claim(s)
		if l.state(key) == s { // not removed meanwhile
			err = l.snapshot(key, s)
		}
		l.yield(s)
		if errors.Is(err, errStateRoom) {
			return l.drop(low)
		}
		if err != nil {
			return err
		}
	}
}

// oldest is the state with the oldest snapshot.
func (l *stateLog) oldest() (key shareKey, s *shareState, at int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, each := range l.states {
		if s == nil || each.at < at {
			key, s, at = k, each, each.at
		}
	}
	return key, s, at
}

func (l *stateLog) drop(below int64) error {
	l.mu.Lock()
	due := below-l.pruned >= pruneStep
	if due {
		l.pruned = below
	}
	l.mu.Unlock()
	if !due {
		return nil
	}
	_, err := l.part.DeleteRecords(context.Background(), below)
	if errors.Is(err, topic.ErrOffsetOutOfRange) {
		return nil
	}
	return err
}
