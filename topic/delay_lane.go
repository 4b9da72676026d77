package topic

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
)

// delayLane is the way of due messages to one target. It belongs to the goroutine that delivers.
type delayLane struct {
	target delayTarget
	number uint32

	producer int64
	sequence int32      // of ids[0] in the target log
	from     int64      // end of the target log before the first of ids was appended
	ids      []delayKey // due, and not known to be in the target; in order of delivery
	unsure   bool       // some of them may be in the target
	doubt    doubt      // while they are
	renumber bool       // the target refuses the numbers: it is to be given others
	single   bool       // a batch of several was refused: append one by one

	lagging bool  // settled messages outside of past were left on disk
	past    reach // empty while not lagging
	tries   int
	retry   time.Time // not before; zero when nothing stands in the way

	log  *log.Log // of the append under way
	part *Partition
	end  int64 // offset after it
	sent int   // how many of ids are appended and not known to be on disk
}

func (d *delays) lane(number uint32) *delayLane {
	n := d.lanes[number]
	if n == nil {
		n = &delayLane{target: d.targets.get(number), number: number, producer: d.producer}
		d.lanes[number] = n
	}
	return n
}

// blocked tells whether the lane waits before it tries again.
func (n *delayLane) blocked(now time.Time) bool { return now.Before(n.retry) }

// refuse notes a failure that may pass.
func (d *delays) refuse(n *delayLane, err error) {
	wait := min(delayBackoff<<min(n.tries, 20), delayPatience)
	n.tries++
	n.retry = time.Now().Add(wait)
	n.sent = 0
	if errors.Is(err, ErrOutOfOrderSequence) || errors.Is(err, ErrProducerFenced) {
		n.renumber = true
	}
	if n.unsure = n.unsure || n.renumber || errors.Is(err, ErrUncertain); n.unsure {
		n.doubt.raise(d.eng, n.target)
	}
	if n.tries == 1 && !d.eng.isClosed() {
		d.eng.logger.Warn("delayed messages wait for a partition", "topic", n.target.name, "partition", n.target.partition,
			"messages", len(n.ids), "err", err)
	}
}

// settled notes that the first of ids need no more attention.
func (n *delayLane) settled(count int) {
	n.sequence = record.AddSequence(n.sequence, int32(count))
	n.ids = n.ids[count:]
	if len(n.ids) == 0 {
		n.ids, n.single = nil, false
	}
}

// drop gives up the message at the head of the lane, or all of them.
func (d *delays) drop(n *delayLane, count int, err error) {
	d.stats.dropped.Add(int64(count))
	var damage *CorruptionError
	if part, e := d.topic.partition(levelPart(n.ids[0].level)); errors.As(err, &damage) && e == nil {
		d.harmed(part, passed{damage})
	}
	d.eng.logger.Error("delayed messages dropped", "topic", n.target.name, "partition", n.target.partition, "messages", count, "err", err)
	d.stale = true
	n.ids = n.ids[count:] // their sequence numbers go to the next
}

// prepare finds the lane's partition and, if that is open, which of its messages are there already.
func (d *delays) prepare(n *delayLane) error {
	part, err := n.target.find(d.eng)
	if errors.Is(err, ErrNotFound) {
		if len(n.ids) > 0 {
			d.drop(n, len(n.ids), err)
		}
		n.lagging, n.past, n.unsure, n.renumber = false, reach{}, false, false
		n.doubt.clear()
		return nil
	}
	if err != nil {
		return err
	}
	l, err := part.open()
	if err != nil {
		return err
	}
	n.part, n.log = part, l
	if n.unsure {
		if err := d.resolve(n); err != nil {
			return err
		}
	}
	n.from = l.End()
	return nil
}

// resolve finds out which of the lane's messages are in the target already.
func (d *delays) resolve(n *delayLane) error {
	// What is found must be on disk before it counts as delivered.
	if err := n.log.Flush(context.Background()); err != nil {
		return err
	}
	there, err := n.delivered(n.log)
	if err != nil {
		return err
	}
	d.stats.delivered.Add(int64(there))
	d.stale = d.stale || there > 0
	n.settled(there)
	if n.renumber {
		if n.producer, err = d.eng.nextProducerID(); err != nil {
			return err
		}
		n.sequence = 0
	}
	n.unsure, n.renumber = false, false
	n.doubt.clear()
	return nil
}

// delivered counts the messages of the lane that are in the target log, by their numbers: from what the log knows of the
// producer, or, if it has forgotten that one, from the batches since the first of them can have been appended.
func (n *delayLane) delivered(l *log.Log) (int, error) {
	for _, p := range l.Producers() {
		if p.ProducerID == n.producer && p.LastSequence >= 0 {
			return n.upTo(p.LastSequence), nil
		}
	}
	count := 0
	err := eachBatch(l, log.At(n.from), func(b record.Batch) {
		if b.ProducerID() == n.producer {
			count = max(count, n.upTo(b.LastSequence()))
		}
	})
	return count, err
}

// upTo is how many of the lane's messages have numbers up to last.
func (n *delayLane) upTo(last int32) int {
	count := int(int64(last)-int64(n.sequence)+1) & (1<<31 - 1)
	if count > len(n.ids) {
		return 0 // last lies before the first of them
	}
	return count
}

// append hands the lane's messages to the target log, batch by batch, not waiting for the disk.
func (d *delays) append(n *delayLane) error {
	for n.sent < len(n.ids) {
		b, count, err := d.packDue(n)
		if err == nil {
			var a log.Appended
			a, err = n.part.appendSealed(context.Background(), n.log, b.batch, log.AppendOptions{Trusted: true, NoWait: true})
			d.eng.putBuilder(b)
			n.end = a.Last + 1
		}
		switch {
		case err == nil:
			n.sent += count
		case !refusedForGood(err):
			return err
		case n.sent > 0:
			return nil // the rest comes once what was sent is on disk
		case count > 1:
			n.single = true
		default:
			// The numbers of those behind it change: they must be named anew before they are appended.
			d.drop(n, 1, err)
			return nil
		}
	}
	return nil
}

// refusedForGood tells errors that the same record would meet again: the topic does not take it, or its bytes cannot
// be read.
func refusedForGood(err error) bool {
	for _, e := range []error{ErrTooLarge, ErrInvalidTimestamp, ErrInvalidRecord, ErrInvalid, ErrCorrupt, ErrNewerFormat, ErrNoRecord} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// packDue builds a batch of the next messages of a lane. The builder must be put back.
func (d *delays) packDue(n *delayLane) (*builder, int, error) {
	t := n.part.topic
	codec, level := t.compression()
	b := d.eng.takeBuilder()
	b.now = time.Now()
	b.Reset(record.BuilderConfig{
		Codec: codec, Level: level, LimitBytes: int(min(t.state.Load().settings.MaxMessageBytes, 1<<20)),
		HasProducer: true, ProducerID: n.producer, BaseSequence: record.AddSequence(n.sequence, int32(n.sent)),
	})
	count := 0
	for _, k := range n.ids[n.sent:] {
		err := d.view(k, func(r *record.Record, e *envelope) error {
			if b.rec = (record.Record{Timestamp: e.time, Key: e.key, Value: r.Value, Headers: r.Headers}); e.time == record.NoTimestamp {
				b.rec.Timestamp = b.now.UnixMilli()
			}
			if err := b.Add(&b.rec); err != nil {
				return packFault(err, b.rec.Timestamp)
			}
			return nil
		})
		if err != nil && count > 0 {
			break // full, or the next one cannot be read: it will be the first of a batch
		}
		if err != nil {
			d.eng.putBuilder(b)
			return nil, 1, err // what the disk says may pass: only what the topic refuses is dropped
		}
		if count++; n.single {
			break
		}
	}
	if err := b.seal(n.part); err != nil {
		return nil, count, err
	}
	return b, count, nil
}

// view looks at a scheduled message on disk.
func (d *delays) view(k delayKey, look func(r *record.Record, e *envelope) error) error {
	part, err := d.topic.partition(levelPart(k.level))
	if err != nil {
		return err
	}
	return part.View(context.Background(), k.offset, func(r *record.Record) error {
		e, err := parseEnvelope(r.Key)
		if err == nil && e.kind != kindScheduled {
			err = fmt.Errorf("%w: %s@%d is no scheduled message", ErrCorrupt, part, k.offset)
		}
		if err != nil {
			return err
		}
		return look(r, &e)
	})
}

// settle waits until what was appended is on disk.
func (d *delays) settle(n *delayLane) error {
	if n.sent == 0 {
		return nil
	}
	err := n.log.Commit(context.Background(), n.end)
	if err == nil && n.log.Durable() < n.end {
		err = n.log.Flush(context.Background())
	}
	if err != nil {
		n.unsure = true
		return err
	}
	now := time.Now()
	for _, k := range n.ids[:n.sent] {
		d.stats.lateness.observe(now.Sub(time.UnixMilli(k.due)))
	}
	d.stats.delivered.Add(int64(n.sent))
	d.stale = true
	n.settled(n.sent)
	n.sent, n.tries, n.retry = 0, 0, time.Time{}
	return nil
}
