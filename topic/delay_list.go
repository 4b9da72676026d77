package topic

import (
	"context"
	"errors"
	"iter"
	"math"
	"time"

	"github.com/quirelog/quire/log"
)

// Scheduled is a message that waits for its time. Its Partition is the one it will be appended to; it has no Offset
// yet (-1), and Time is its own time, or zero if it will get that of its delivery.
type Scheduled struct {
	Record
	Due      time.Time
	Position Position // its place in [DelayedTopic], by which [Topic.Cancel] finds it
}

// A listing goes on in selections of the soonest messages that are left, of growing size: the first of them come soon, and
// the delayed topic is read few times.
const (
	listedFirst  = 1 << 14
	listedAtOnce = 1 << 18
)

// Scheduled is a loop over the messages of the topic that wait for their time, the soonest first. Each belongs to the
// caller. It shows what waits when the loop gets there. Memory stays bounded, to some 20 MB whatever their number: the
// delayed topic is read about once for every 262,144 of them, and what was stored in the order of due times once. A done context ends the loop without a pair; an error comes
// once, as the last pair. What is damaged is left out, and told by [Events].Damage.
func (t *Topic) Scheduled(ctx context.Context) iter.Seq2[*Scheduled, error] {
	return func(yield func(*Scheduled, error) bool) {
		if t.eng == nil {
			yield(nil, unmade("Topic"))
			return
		}
		if err := t.eng.delays.list(ctx, t, yield); err != nil && ctx.Err() == nil {
			yield(nil, err)
		}
	}
}

func (d *delays) list(ctx context.Context, t *Topic, yield func(*Scheduled, error) bool) error {
	if _, err := d.eng.lookup(DelayedTopic); errors.Is(err, ErrNotFound) {
		return d.eng.usable(ctx)
	}
	if err := d.ready(ctx); err != nil {
		return err
	}
	li := delayListing{d: d, topic: t, most: listedFirst}
	for ctx.Err() == nil {
		sel, err := work(ctx, d.eng, li.next)
		if err != nil {
			return err
		}
		for _, it := range sel.items {
			s, err := d.scheduled(ctx, t, it.delayKey)
			if errors.Is(err, ErrOffsetOutOfRange) || errors.Is(err, ErrCorrupt) {
				continue // delivered meanwhile, or damaged
			}
			if err != nil {
				return err
			}
			if ctx.Err() != nil || !yield(s, nil) {
				return nil
			}
		}
		if sel.cut == endOfTime() {
			return nil
		}
	}
	return nil
}

// delayListing is how far a loop over a topic's messages has come.
type delayListing struct {
	d      *delays
	topic  *Topic
	from   delayKey // what lies below was listed, or has been settled
	most   int      // messages of the next selection
	levels [delayLevels]listedLevel
}

// listedLevel is what a listing knows of a level from its first reading.
type listedLevel struct {
	blocks []listedBlock
	end    int64 // after the last block
}

// listedBlock is a run of records, and between which due times its messages of the topic lie.
type listedBlock struct{ start, end, first, last int64 }

// next selects the messages that come next.
func (li *delayListing) next() (*selection, error) {
	d := li.d
	d.mu.Lock()
	settled := d.settled
	d.mu.Unlock()
	sel := newSelection(li.from, settled, li.most)
	logs, err := d.levelLogs()
	if err != nil {
		return nil, err
	}
	for i, l := range logs {
		if l == nil {
			continue
		}
		part, err := d.topic.partition(levelPart(uint8(i)))
		if err != nil {
			return nil, err
		}
		if err := li.read(part, l, uint8(i), sel); err != nil {
			return nil, part.fault(err)
		}
		sel.shrink()
	}
	li.from, li.most = sel.cut, min(4*li.most, listedAtOnce)
	return sel, nil
}

// read goes through a level: of what it has read before those blocks only that may matter, and then what is new.
func (li *delayListing) read(part *Partition, l *log.Log, level uint8, sel *selection) error {
	lv := &li.levels[level]
	scan := li.d.scanFor(level, l, sel, func(e *envelope) bool { return e.topic == li.topic.id })
	defer func() { li.d.harmed(part, scan.damage) }()
	for _, b := range lv.blocks {
		if b.end <= l.Start() || b.last < sel.from.due || b.first > sel.cut.due {
			continue
		}
		scan.next, scan.until = log.At(max(b.start, l.Start())), b.end
		if err := scan.run(); err != nil {
			return err
		}
	}
	return li.readNew(l, scan, lv)
}

// readNew reads what no block has yet. All of it is decoded, since the headers do not say for which topics it is.
func (li *delayListing) readNew(l *log.Log, scan *delayScan, lv *listedLevel) error {
	var b listedBlock
	begin := func() { b = listedBlock{start: lv.end, first: math.MaxInt64} }
	message, cancelled := scan.message, scan.cancelled
	scan.near = func(_, last int64) bool { return last >= li.from.due }
	scan.message = func(k delayKey, e *envelope) {
		if e.topic == li.topic.id {
			b.first, b.last = min(b.first, k.due), max(b.last, k.due)
			message(k, e)
		}
	}
	scan.cancelled = func(k delayKey) { // whoever's it is
		b.first, b.last = min(b.first, k.due), max(b.last, k.due)
		cancelled(k)
	}
	scan.block = func(end int64) {
		if b.end, lv.end = end, end; b.first <= b.last {
			lv.blocks = append(lv.blocks, b)
		}
		begin()
	}
	lv.end = max(lv.end, l.Start())
	begin()
	scan.next, scan.until = log.At(lv.end), 0
	return scan.run()
}

// scheduled reads one message.
func (d *delays) scheduled(ctx context.Context, t *Topic, k delayKey) (*Scheduled, error) {
	part, err := d.topic.partition(levelPart(k.level))
	if err != nil {
		return nil, err
	}
	rec, err := part.Get(ctx, k.offset)
	if err != nil {
		return nil, err
	}
	e, err := parseEnvelope(rec.Key)
	if err != nil {
		return nil, err
	}
	s := &Scheduled{Record: rec, Due: time.UnixMilli(k.due), Position: part.at(k.offset, -1)}
	s.Topic, s.Partition, s.Offset, s.Key, s.Time = t.name, e.partition, -1, e.key, timeOf(e.time)
	return s, nil
}
