package group

import (
	"context"
	"errors"
	"slices"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/topic"
)

// readyLocked puts batches where they are handed out from, behind the others of their partition.
func (c *Consumer) readyLocked(h *holding, list ...*Batch) {
	c.touchLocked(h.tp)
	h.ready = append(h.ready, list...)
	if !h.inLine && len(h.ready) > 0 && c.hold[h.tp] == h {
		h.inLine = true
		h.class.line = append(h.class.line, h)
		h.class.enter()
	}
}

// pickLocked takes the batch whose turn it is: partitions of a class take turns, classes as their ranks and weights say.
func (c *Consumer) pickLocked() *Batch {
	cl := c.turns.next(c.costLocked)
	if cl == nil {
		return nil
	}
	at := c.headLocked(cl)
	h := cl.line[at]
	c.touchLocked(h.tp)
	b := h.ready[0]
	h.ready[0] = nil
	h.ready = h.ready[1:]
	cl.line = slices.Delete(cl.line, at, at+1)
	if h.inLine = false; len(h.ready) > 0 {
		c.readyLocked(h)
	}
	return b
}

// costLocked is what the next batch of a class costs, 0 if there is none.
func (c *Consumer) costLocked(cl *class) int64 {
	at := c.headLocked(cl)
	if at < 0 {
		return 0
	}
	return c.cfg.order.cost(cl.line[at].ready[0])
}

// headLocked finds the first partition in a class's line of which a batch may be handed out, -1 if there is none.
func (c *Consumer) headLocked(cl *class) int {
	for at := 0; at < len(cl.line); {
		h := cl.line[at]
		switch {
		case len(h.ready) == 0 || c.hold[h.tp] != h: // withdrawn, or sought elsewhere
			h.inLine = false
			cl.line = slices.Delete(cl.line, at, at+1)
		case c.freeLocked(h):
			return at
		default:
			at++
		}
	}
	return -1
}

// anyHeadLocked tells whether there is a batch to hand out.
func (c *Consumer) anyHeadLocked() bool {
	if c.closing || c.late {
		return false
	}
	for _, r := range c.turns.ranks {
		if c.headsLocked(r) > 0 {
			return true
		}
	}
	return false
}

// headsLocked is how many classes of a rank have a batch to hand out.
func (c *Consumer) headsLocked(r *rank) (n int) {
	c.looked += len(r.ring)
	for _, cl := range r.ring {
		if c.headLocked(cl) >= 0 {
			n++
		}
	}
	return n
}

// freeLocked tells whether order allows that a ready batch is handed out. By key it is the window that keeps order, among the batches of
// one stay: what was out before a Seek, or before the partition was lost and came back, is waited for.
func (c *Consumer) freeLocked(h *holding) bool {
	if h.window == nil {
		return c.busy[h.tp] == 0 && !c.paused[h.tp]
	}
	return c.busy[h.tp] == h.out && !c.paused[h.tp]
}

// thirstyLocked tells whether more of a partition is to be read.
func (c *Consumer) thirstyLocked(h *holding) bool {
	switch {
	case c.paused[h.tp]:
		return false
	case h.window != nil:
		return h.window.size() < c.cfg.inFlight
	}
	return c.busy[h.tp] == 0 && len(h.ready) == 0
}

// classifyLocked puts the member's partitions into their classes.
func (c *Consumer) classifyLocked(parts []topic.TopicPartition) {
	for _, r := range c.turns.ranks {
		for _, cl := range r.classes {
			cl.parts = 0
		}
	}
	for _, tp := range parts {
		h := c.hold[tp]
		if h.class == nil {
			h.class = c.turns.class(c.cfg.order.class(tp))
		}
		h.class.parts++
	}
	c.turns.keep()
}

// topUp reads, without waiting, for the classes that have nothing to hand out, as far down as it matters who has something. An error of one is
// told when none has: it comes again.
func (c *Consumer) topUp(ctx context.Context) (fault error) {
	var wanted map[*rank][]*thirst
	for _, r := range c.turns.ranks {
		c.mu.Lock()
		heads := c.headsLocked(r)
		c.mu.Unlock()
		if heads < len(r.classes) && wanted == nil {
			var err error
			if wanted, err = c.thirsts(); err != nil {
				return err
			}
		}
		some := heads > 0
		for _, w := range wanted[r] {
			if c.has(w.class) {
				continue
			}
			recs, err := c.src.PollFromWithin(ctx, w.parts...)
			if failed := c.took(ctx, recs, err); failed != nil {
				fault = errors.Join(fault, failed)
				continue
			}
			if err != nil { // of a topic that is gone, as its partitions are now
				return c.topUp(ctx)
			}
			some = some || len(recs) > 0
		}
		if some {
			return bounded.Cause(ctx)
		}
	}
	return fault
}

// has tells whether a class has something to hand out.
func (c *Consumer) has(cl *class) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.headLocked(cl) >= 0
}

// thirst is the partitions of a class that may have something to read, and of which more is wanted, in the order of their turns.
type thirst struct {
	class *class
	parts []topic.TopicPartition
}

// thirsts finds the thirst of each class, by rank.
func (c *Consumer) thirsts() (map[*rank][]*thirst, error) {
	if err := c.pauseSource(); err != nil {
		return nil, err
	}
	list, err := c.src.Ready()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	of, byRank := map[*class]*thirst{}, map[*rank][]*thirst{}
	for _, tp := range list {
		h := c.hold[tp]
		if h == nil || !c.thirstyLocked(h) {
			continue
		}
		w := of[h.class]
		if w == nil {
			w = &thirst{class: h.class}
			of[h.class] = w
			byRank[h.class.rank] = append(byRank[h.class.rank], w)
		}
		w.parts = append(w.parts, tp)
	}
	return byRank, nil
}
