package topic

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/quirelog/quire/log/record"
)

// DelayedTopic is the internal topic of delayed messages. It is made by the first one.
//
// Partition 0 holds the progress of delivery: each record is a JSON object (delayProgress), the last one counts.
// Partition 1+k holds the messages of level k, one record each, whose timestamp is the due time, whose value and
// headers are the message's own, and whose key is, in big-endian order:
//
//	offset  bytes
//	     0      1  format: 1
//	     1      1  kind: 'S' a scheduled message, 'C' a cancellation
//	            of a scheduled message:
//	     2      1  1 if the message has a key, else 0
//	     3     16  id of the target topic
//	    19      4  target partition
//	    23      8  time of the message in ms since the epoch, -1: that of its delivery
//	    31      2  length n of the target topic's name
//	    33      n  the name
//	  33+n         the message's key
//	            of a cancellation, whose timestamp is the due time of what it cancels:
//	     2      8  offset, in the same partition, of the record that it cancels
const DelayedTopic = "__delayed"

const (
	delayFormat = 1
	// progressFormat is that of a progress with ceilings; one without is written as delayFormat.
	progressFormat = 2
	kindScheduled  = 'S'
	kindCancelled  = 'C'
	envelopeFixed  = 33
)

// envelope is a decoded key of the delayed topic. Its bytes are borrowed.
type envelope struct {
	kind      byte
	cancelled int64 // offset, of a cancellation
	topic     ID
	partition int32
	time      int64
	name      []byte
	key       []byte
}

// appendEnvelope appends the key of a scheduled message.
func appendEnvelope(dst []byte, p *Partition, r *Record, now time.Time) []byte {
	hasKey, at := byte(0), record.NoTimestamp
	if r.Key != nil {
		hasKey = 1
	}
	if !r.Time.IsZero() {
		at = r.timestamp(now)
	}
	dst = append(dst, delayFormat, kindScheduled, hasKey)
	dst = append(dst, p.topic.id[:]...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(p.id))
	dst = binary.BigEndian.AppendUint64(dst, uint64(at))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(p.topic.name)))
	dst = append(dst, p.topic.name...)
	return append(dst, r.Key...)
}

// appendCancellation appends the key of a cancellation.
func appendCancellation(dst []byte, offset int64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, delayFormat, kindCancelled), uint64(offset))
}

// parseEnvelope reads a key. Errors match ErrCorrupt or ErrNewerFormat.
func parseEnvelope(key []byte) (e envelope, err error) {
	bad := func(why string) (envelope, error) {
		return envelope{}, fmt.Errorf("%w: record of %s: %s", ErrCorrupt, DelayedTopic, why)
	}
	switch {
	case len(key) < 2:
		return bad("key too short")
	case key[0] > delayFormat:
		return envelope{}, fmt.Errorf("%w: record of %s has format %d, this version knows %d", ErrNewerFormat, DelayedTopic, key[0], delayFormat)
	}
	e.kind = key[1]
	switch {
	case e.kind == kindCancelled && len(key) == 10:
		e.cancelled = int64(binary.BigEndian.Uint64(key[2:]))
		return e, nil
	case e.kind != kindScheduled || len(key) < envelopeFixed:
		return bad("neither message nor cancellation")
	}
	e.topic = ID(key[3:19])
	e.partition = int32(binary.BigEndian.Uint32(key[19:]))
	e.time = int64(binary.BigEndian.Uint64(key[23:]))
	end := envelopeFixed + int(binary.BigEndian.Uint16(key[31:]))
	if end > len(key) || key[2] > 1 || key[2] == 0 && end != len(key) {
		return bad("lengths do not agree")
	}
	e.name = key[envelopeFixed:end]
	if key[2] == 1 {
		e.key = key[end:]
	}
	return e, nil
}

// delayProgress says how far delivery has come. It is durable before what it names is appended.
type delayProgress struct {
	Format int `json:"format"`
	// Bound is the due time, level and offset below which everything is delivered, but for what the lanes name.
	Bound [3]int64 `json:"bound"`
	// Ceilings, of a clock that was put back: how far delivery had come then. With them the format is 2.
	Ceilings []ceilingState `json:"ceilings,omitempty"`
	Lanes    []laneState    `json:"lanes,omitempty"`
	// Idle is, of each level, the offset below which nothing waits any more, or -1. After a clean stop a level that ends
	// there need not be read, nor opened.
	Idle []int64 `json:"idle,omitempty"`
}

// ceilingState says that what lies below the key Below is delivered, of the records before the offset Ends of each level.
type ceilingState struct {
	Below [3]int64 `json:"below"`
	Ends  []int64  `json:"ends"`
}

// laneState is what is on its way to one partition.
type laneState struct {
	Topic     ID     `json:"topic"`
	Name      string `json:"name"`
	Partition int32  `json:"partition"`
	// Producer and Sequence number the messages in the target log, from the first one named here on.
	Producer int64 `json:"producer"`
	Sequence int32 `json:"sequence"`
	// From is the end of the target before the first one of them was appended.
	From     int64      `json:"from"`
	Messages [][3]int64 `json:"messages,omitempty"` // due time, level and offset of each, in order of delivery
	// Lag, of a partition that refused appends: later messages from here on up to the bound are still to come, but for
	// those of which LagCeilings say that they have.
	Lag         *[3]int64      `json:"lag,omitempty"`
	LagCeilings []ceilingState `json:"lagCeilings,omitempty"`
}

func flatKey(k delayKey) [3]int64 { return [3]int64{k.due, int64(k.level), k.offset} }

func keyOf(f [3]int64) delayKey { return delayKey{due: f[0], level: uint8(f[1]), offset: f[2]} }

// flat is the stored form of a reach.
func (r *reach) flat() (bound [3]int64, ceilings []ceilingState) {
	for _, c := range r.ceilings {
		ceilings = append(ceilings, ceilingState{flatKey(c.key), slices.Clone(c.ends[:])})
	}
	return flatKey(r.bound), ceilings
}

// reachOf is what flat was given.
func reachOf(bound [3]int64, ceilings []ceilingState) reach {
	r := reach{bound: keyOf(bound)}
	for _, c := range ceilings {
		r = r.with(ceiling{keyOf(c.Below), [delayLevels]int64(c.Ends)})
	}
	return r
}

// parseProgress reads a record of the progress partition.
func parseProgress(value []byte) (p delayProgress, err error) {
	if err := json.Unmarshal(value, &p); err != nil {
		return p, fmt.Errorf("%w: progress of %s: %w", ErrCorrupt, DelayedTopic, err)
	}
	if p.Format > progressFormat {
		return p, fmt.Errorf("%w: progress of %s has format %d", ErrNewerFormat, DelayedTopic, p.Format)
	}
	keys, ceilings := [][3]int64{p.Bound}, slices.Clone(p.Ceilings)
	for _, l := range p.Lanes {
		keys = append(keys, l.Messages...)
		if l.Lag != nil {
			keys = append(keys, *l.Lag)
		}
		ceilings = append(ceilings, l.LagCeilings...)
	}
	for _, c := range ceilings {
		if keys = append(keys, c.Below); len(c.Ends) != delayLevels {
			return p, fmt.Errorf("%w: progress of %s has a ceiling of %d levels", ErrCorrupt, DelayedTopic, len(c.Ends))
		}
	}
	for _, k := range keys {
		if k[1] < 0 || k[1] >= delayLevels {
			return p, fmt.Errorf("%w: progress of %s names level %d", ErrCorrupt, DelayedTopic, k[1])
		}
	}
	return p, nil
}
