package group

import (
	"math"
	"strconv"
	"time"

	"github.com/quirelog/quire/internal/wire"
	"github.com/quirelog/quire/topic"
)

// ShareStateTopic is the internal topic that holds the state of queues. It is pruned, not compacted, as Kafka's is: an update says only what
// changed since the snapshot before it.
const ShareStateTopic = "__share_group_state"

// ShareStatePartitions is how many partitions it has in a Kafka cluster; an engine makes fewer, see [topic.InternalPartitions].
const ShareStatePartitions = 50

// Kinds of its records, in front of their keys: Kafka's ShareSnapshot and ShareUpdate (KIP-932, layout of Kafka 4.2), and one of our own,
// which Kafka's readers pass over: what became of the deliveries of a record that has failed.
const (
	shareSnapshotKind int16 = 0
	shareUpdateKind   int16 = 1
	shareStoryKind    int16 = 0x5151
)

// shareKey names a partition of a queue.
type shareKey struct {
	queue     string
	topic     topic.ID
	partition int32
}

// home is the partition of ShareStateTopic that holds its state: Kafka's rule.
func (k shareKey) home(partitions int32) int32 {
	return PartitionFor(k.queue+":"+k.topic.String()+":"+strconv.Itoa(int(k.partition)), partitions)
}

// append writes the key of a record of a kind; a story's has the record's offset in addition.
func (k shareKey) append(kind int16, offset int64) []byte {
	var e wire.Encoder
	e.Int16(kind)
	e.String(k.queue)
	e.UUID(k.topic)
	e.Int32(k.partition)
	if kind == shareStoryKind {
		e.Int64(offset)
	}
	return e.Buf
}

func parseShareKey(p []byte) (kind int16, k shareKey, offset int64, err error) {
	d := wire.Decoder{Rest: p}
	kind = d.Int16()
	if d.Err == nil && kind != shareSnapshotKind && kind != shareUpdateKind && kind != shareStoryKind {
		return kind, k, 0, nil // of a newer version: passed over
	}
	k = shareKey{queue: d.String(), topic: d.UUID(), partition: d.Int32()}
	if kind == shareStoryKind {
		offset = d.Int64()
	}
	return kind, k, offset, d.Err
}

// shareSnapshot is the value of a snapshot; as an update it has no stateEpoch and no times, and start may be -1.
type shareSnapshot struct {
	epoch, stateEpoch, leaderEpoch int32
	start                          int64
	created, written               int64 // ms
	runs                           runs
}

func (s *shareSnapshot) append(kind int16) []byte {
	e := wire.Encoder{Flexible: true}
	e.Int16(0)
	e.Int32(s.epoch)
	if kind == shareSnapshotKind {
		e.Int32(s.stateEpoch)
	}
	e.Int32(s.leaderEpoch)
	e.Int64(s.start)
	if kind == shareSnapshotKind {
		e.Int64(s.created)
		e.Int64(s.written)
	}
	e.Length(len(s.runs), true)
	for _, r := range s.runs {
		e.Int64(r.first)
		e.Int64(r.last)
		e.Int8(int8(r.state))
		e.Int16(r.count)
		e.NoTags()
	}
	e.NoTags()
	return e.Buf
}

const (
	// stateRunSize is the bytes of a run with no tagged fields, shareFixedBytes more than what a snapshot has beside its runs.
	stateRunSize    = 8 + 8 + 1 + 2 + 1
	shareFixedBytes = 64
)

func parseShareSnapshot(kind int16, p []byte) (*shareSnapshot, error) {
	d := wire.Decoder{Rest: p, Flexible: true}
	if v := d.Int16(); v != 0 {
		d.Fail("version " + strconv.Itoa(int(v)) + " of a queue's state")
	}
	s := &shareSnapshot{epoch: d.Int32()}
	if kind == shareSnapshotKind {
		s.stateEpoch = d.Int32()
	}
	s.leaderEpoch, s.start = d.Int32(), d.Int64()
	if kind == shareSnapshotKind {
		s.created, s.written = d.Int64(), d.Int64()
	}
	n := d.Count(stateRunSize)
	s.runs = make(runs, 0, n)
	for range n {
		r := stateRun{d.Int64(), d.Int64(), recordState(d.Int8()), d.Int16()}
		d.Tags(nil)
		if d.Err == nil && (r.first < 0 || r.last < r.first || r.count < 0 || r.state != stateAvailable && !r.state.finished()) {
			d.Fail("impossible state of a record")
		}
		s.runs = append(s.runs, r)
	}
	d.Tags(nil)
	if s.start < -1 || s.start < 0 && kind == shareSnapshotKind {
		d.Fail("negative start")
	}
	return s, d.Err
}

// story is what became of the deliveries of a record that is not finished.
type story struct {
	attempts []Attempt // the first and the last
	known    int16     // deliveries whose end was seen
	due      time.Time // not before, zero if at once
	dead     deadCause
}

const (
	// storyErrorBytes is how much of an error's text is kept; keptAttempts how many attempts are, of the first ones and of the last ones.
	storyErrorBytes = 512
	keptAttempts    = 5
	// storyVersion: 0 had all attempts, and known was their number.
	storyVersion = 1
)

// remember adds an attempt; of many, the first and the last stay.
func remember(list []Attempt, a Attempt) []Attempt {
	if len(list) < 2*keptAttempts {
		return append(list, a)
	}
	copy(list[keptAttempts:], list[keptAttempts+1:])
	list[len(list)-1] = a
	return list
}

func (s *story) append() []byte {
	var e wire.Encoder
	e.Int16(storyVersion)
	e.Int8(int8(s.dead))
	e.Int64(millis(s.due))
	e.Int16(s.known)
	e.Int32(int32(len(s.attempts)))
	for i := range s.attempts {
		a := &s.attempts[i]
		e.Int16(int16(a.Number))
		e.Int64(millis(a.Time))
		e.String(a.Error)
	}
	return e.Buf
}

func parseStory(p []byte) (story, error) {
	d := wire.Decoder{Rest: p}
	version := d.Int16()
	if version < 0 || version > storyVersion {
		d.Fail("version " + strconv.Itoa(int(version)) + " of a record's attempts")
	}
	s := story{dead: deadCause(d.Int8()), due: fromMillis(d.Int64())}
	if s.dead < deadNot || s.dead > deadRejected {
		d.Fail("unknown reason")
	}
	if version > 0 {
		s.known = d.Int16()
	}
	n := d.Count(2 + 8 + 2)
	for range n {
		s.attempts = remember(s.attempts, Attempt{Number: int(d.Int16()), Time: fromMillis(d.Int64()), Error: d.String()})
	}
	if version == 0 {
		s.known = int16(min(n, math.MaxInt16))
	}
	if s.known < 0 {
		d.Fail("negative number of attempts")
	}
	return s, d.Err
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return -1
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms < 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}
