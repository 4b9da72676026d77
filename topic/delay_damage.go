package topic

import (
	"errors"

	"github.com/quirelog/quire/log"
)

// What cannot be read of the delayed and recurring messages holds up nothing else: readers step over a damaged stretch,
// and so does whoever looks for messages. Those in it are not delivered, and a cancellation in it has not happened. The
// stretch is told once by the event and the log; its bytes stay until what lies around them was delivered.

// passed is the damage that a scan stepped over. It is told when no lock is held.
type passed []*CorruptionError

// damageIn finds the damaged stretch that an error tells of, if reading can go on behind it.
func damageIn(err error, at int64) (*CorruptionError, bool) {
	var damage *CorruptionError
	if errors.As(err, &damage) && damage.NextOffset > at {
		return damage, true
	}
	return nil, false
}

// harmed tells what a scan of a partition stepped over, each stretch once.
func (d *delays) harmed(part *Partition, list passed) {
	for _, damage := range list {
		if d.unheard(part.id, damage.FirstOffset) {
			d.eng.tellDamage(part, damage)
		}
	}
}

// unheard notes a damaged stretch and reports whether it was not known before.
func (d *delays) unheard(part int32, first int64) bool {
	at := [2]int64{int64(part), first}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, known := d.harm[at]; known {
		return false
	}
	if d.harm == nil {
		d.harm = map[[2]int64]struct{}{}
	}
	d.harm[at] = struct{}{}
	return true
}

// tellDamage tells of a damaged stretch, unless the opening of its partition told it.
func (e *Engine) tellDamage(part *Partition, damage *CorruptionError) {
	part.mu.Lock()
	facts := part.opened
	part.mu.Unlock()
	if facts != nil {
		for _, err := range facts.Damage {
			var known *log.CorruptionError
			if errors.As(err, &known) && known.FirstOffset <= damage.FirstOffset && damage.NextOffset <= known.NextOffset {
				return
			}
		}
	}
	err := part.fault(damage)
	e.logger.Error("damage found", "topic", part.topic.name, "partition", part.id, "err", err)
	tell(e, e.events.Damage, DamageFacts{Topic: part.topic.name, Partition: part.id, Err: err})
}
