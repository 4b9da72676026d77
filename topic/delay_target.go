package topic

import (
	"fmt"
	"sync"
)

// delayTarget is a partition that delayed messages are for.
type delayTarget struct {
	topic     ID
	name      string
	partition int32
}

// delayTargets numbers the targets, so that a message in memory needs four bytes for its own.
type delayTargets struct {
	mu      sync.Mutex
	list    []delayTarget
	numbers map[delayTarget]uint32
	last    uint32 // looked up last
}

func (t *delayTargets) number(want delayTarget) uint32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.numberLocked(want)
}

func (t *delayTargets) numberLocked(want delayTarget) uint32 {
	n, ok := t.numbers[want]
	if !ok {
		n = uint32(len(t.list))
		t.list = append(t.list, want)
		t.numbers[want] = n
	}
	t.last = n
	return n
}

// of is the number of a message's target.
func (t *delayTargets) of(e *envelope) uint32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.list) > 0 {
		if l := &t.list[t.last]; l.topic == e.topic && l.partition == e.partition {
			return t.last
		}
	}
	return t.numberLocked(delayTarget{e.topic, string(e.name), e.partition})
}

func (t *delayTargets) get(n uint32) delayTarget {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.list[n]
}

// find gives the partition, if it still exists: a topic that was made anew under the name is another one.
func (t delayTarget) find(e *Engine) (*Partition, error) {
	topic, err := e.lookup(t.name)
	if err != nil {
		return nil, err
	}
	if topic.id != t.topic {
		return nil, fmt.Errorf("%w: topic %q of id %v was deleted", ErrNotFound, t.name, t.topic)
	}
	return topic.partition(t.partition)
}
