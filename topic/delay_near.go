package topic

import (
	"math"
	"slices"
	"time"

	"github.com/quirelog/quire/timingwheel"
)

// nearEntry is a message that lies in memory until it is due; the wheel's ticks are milliseconds since the epoch.
type nearEntry = timingwheel.Entry[nearMessage]

type nearMessage struct {
	offset int64
	target uint32
}

// delayLevel is the messages of one level: the soonest in memory, all of them in the level's partition.
//
// Everything of a lower key than horizon is in memory, or settled; nothing else is in memory.
type delayLevel struct {
	number  uint8
	wheel   *timingwheel.Wheel[nearMessage]
	head    *nearEntry // taken out of the wheel to be looked at
	horizon delayKey   // zero: nothing was loaded yet
	loading bool
	retry   time.Time    // not to be loaded before, after a failure
	chunks  []delayChunk // in order of offset; known once something was loaded
	end     int64        // offset after the last record that chunks count
}

// delayChunk is a run of records of a level that ends before the offset end.
type delayChunk struct{ end, first, latest int64 }

func (l *delayLevel) loaded() bool { return l.horizon != delayKey{} }

// near is how many messages are in memory.
func (l *delayLevel) near() int {
	n := 0
	if l.wheel != nil {
		n = l.wheel.Len()
	}
	if l.head != nil {
		n++
	}
	return n
}

// partial tells whether there may be messages that are on disk only.
func (l *delayLevel) partial() bool { return l.horizon != endOfTime() }

// count notes records up to the offset end whose latest due time is given.
func (l *delayLevel) count(end, latest int64) {
	if end <= l.end {
		return
	}
	if n := len(l.chunks); n > 0 && end-l.chunks[n-1].first <= chunkRecords {
		c := &l.chunks[n-1]
		c.end, c.latest = end, max(c.latest, latest)
	} else {
		l.chunks = append(l.chunks, delayChunk{end: end, first: l.end, latest: latest})
	}
	l.end = end
}

// put takes a message into memory.
func (d *delays) put(l *delayLevel, it delayItem) {
	if l.wheel == nil {
		l.wheel = timingwheel.New[nearMessage](min(it.due, d.clock()))
	}
	e := d.takeEntry()
	e.Value = nearMessage{it.offset, it.target}
	l.wheel.Add(e, it.due)
	d.stats.inMemory.Add(1)
}

// first is the next message of a level that is due at now, still in memory; ok is false when there is none.
func (l *delayLevel) first(now int64) (it delayItem, ok bool) {
	if l.head == nil && l.wheel != nil {
		l.head = l.wheel.Pop(now)
	}
	if l.head == nil {
		return it, false
	}
	return l.item(l.head), true
}

func (l *delayLevel) item(e *nearEntry) delayItem {
	return delayItem{delayKey{due: e.Due(), offset: e.Value.offset, level: l.number}, e.Value.target}
}

// next tells when the level's memory is to be looked at again.
func (l *delayLevel) next() (due int64, ok bool) {
	if l.head != nil {
		return l.head.Due(), true
	}
	if l.wheel == nil {
		return 0, false
	}
	return l.wheel.Next()
}

// shed gives up the later part of what a level has in memory, when that is too much. It is on disk.
func (d *delays) shed(l *delayLevel) {
	if l.near() <= 2*d.nearMost {
		return
	}
	items := d.empty(l)
	if len(items) > d.nearMost {
		l.horizon = items[d.nearMost].delayKey
		items = slices.Clip(items[:d.nearMost])
	}
	for _, it := range items {
		d.put(l, it)
	}
}

// empty takes everything out of a level's memory, in order.
func (d *delays) empty(l *delayLevel) []delayItem {
	items := make([]delayItem, 0, l.near())
	for it, ok := l.first(math.MaxInt64); ok; it, ok = l.first(math.MaxInt64) {
		d.dropHead(l)
		if _, gone := d.cancelled[it.delayKey]; gone {
			delete(d.cancelled, it.delayKey)
			continue
		}
		items = append(items, it)
	}
	l.wheel = nil
	sortItems(items)
	return items
}

// dropHead gives the entry at the head back.
func (d *delays) dropHead(l *delayLevel) {
	d.giveEntry(l.head)
	l.head = nil
	d.stats.inMemory.Add(-1)
}

// entrySlab is how many entries are allocated at once.
const entrySlab = 256

func (d *delays) takeEntry() *nearEntry {
	if len(d.spare) == 0 {
		slab := make([]nearEntry, entrySlab)
		for i := range slab {
			d.spare = append(d.spare, &slab[i])
		}
	}
	e := d.spare[len(d.spare)-1]
	d.spare = d.spare[:len(d.spare)-1]
	return e
}

func (d *delays) giveEntry(e *nearEntry) { d.spare = append(d.spare, e) }
