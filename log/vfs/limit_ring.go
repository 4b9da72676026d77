package vfs

// limitedRing holds the handles whose descriptor may be taken, least recently used
// first as the clock algorithm sees it: a handle used since the hand last came by
// gets another round. It is guarded by the mutex of its Limited.
type limitedRing struct {
	root limitedFile // sentinel
	n    int
}

func (r *limitedRing) init() { r.root.prev, r.root.next = &r.root, &r.root }

func (r *limitedRing) push(h *limitedFile) {
	h.prev, h.next = r.root.prev, &r.root
	h.prev.next, h.next.prev = h, h
	r.n++
}

// remove takes a handle out; one that is not in stays out.
func (r *limitedRing) remove(h *limitedFile) {
	if h.next == nil {
		return
	}
	h.prev.next, h.next.prev = h.next, h.prev
	h.prev, h.next = nil, nil
	r.n--
}

// victim takes the best handle out of the ring and marks it as without descriptor,
// or returns nil when all are in use. A clean one is better than any dirty one.
func (r *limitedRing) victim() *limitedFile {
	var dirty *limitedFile
	for range 2 * r.n {
		h := r.root.next
		if h.used.Swap(false) || h.pins.Load() != 0 {
			r.turn(h)
			continue
		}
		// Once the pins are taken nobody can write: a mark of dirt seen after
		// that is the last word.
		if !h.dirty.Load() && h.pins.CompareAndSwap(0, closedPins) {
			if !h.dirty.Load() {
				r.remove(h)
				return h
			}
			h.pins.Store(0)
		}
		if dirty == nil {
			dirty = h
		}
		r.turn(h)
	}
	if dirty == nil || !dirty.pins.CompareAndSwap(0, closedPins) {
		return nil
	}
	r.remove(dirty)
	return dirty
}

// turn moves a handle to the end of the ring.
func (r *limitedRing) turn(h *limitedFile) {
	r.remove(h)
	r.push(h)
}
