package vfs

// limitedRing holds the handles whose descriptor may be taken, least recently used
// first as the clock algorithm sees it: a handle used since the hand last came by
// gets another round. It is guarded by the mutex of its Limited.
//
// Those that were found dirty wait apart, so that the choice of a victim costs the
// same however many are dirty: every step of the hand is paid for by a use or a
// write since it last came by.
type limitedRing struct {
	clean, dirty handleList
}

func (r *limitedRing) init() {
	r.clean.init()
	r.dirty.init()
}

// push enters a handle that has its descriptor anew.
func (r *limitedRing) push(h *limitedFile) { r.clean.push(h) }

// remove takes a handle out; one that is not in stays out.
func (r *limitedRing) remove(h *limitedFile) {
	if h.list != nil {
		h.list.remove(h)
	}
}

// synced puts a handle back among the clean.
func (r *limitedRing) synced(h *limitedFile) {
	if h.list == &r.dirty && !h.dirty.Load() {
		r.dirty.remove(h)
		r.clean.push(h)
	}
}

// victim takes the best handle out of the ring and marks it as without descriptor,
// or returns nil when all are in use. A clean one is better than any dirty one.
func (r *limitedRing) victim() *limitedFile {
	if h := r.pick(&r.clean); h != nil {
		return h
	}
	return r.pick(&r.dirty)
}

func (r *limitedRing) pick(from *handleList) *limitedFile {
	soiled := func(h *limitedFile) bool { return from == &r.clean && h.dirty.Load() }
	for range 2 * from.n {
		h := from.first()
		switch {
		case h == nil:
			return nil
		case soiled(h):
			r.soil(h)
		case r.passes(h) || !h.claim():
			from.turn(h)
		// Once the pins are taken no call can write: a mark of dirt seen after
		// that is the last word.
		case soiled(h):
			h.pins.Store(0)
			r.soil(h)
		default:
			from.remove(h)
			return h
		}
	}
	return nil
}

// soil puts a handle among the dirty.
func (r *limitedRing) soil(h *limitedFile) {
	r.clean.remove(h)
	r.dirty.push(h)
}

// passes tells that the hand passes a handle by: it is in use, or was since the
// hand last came by.
func (r *limitedRing) passes(h *limitedFile) bool { return h.used.Swap(false) || h.pins.Load() != 0 }

// claim takes the pins of a handle that is not in use.
func (h *limitedFile) claim() bool { return h.pins.CompareAndSwap(0, closedPins) }

// handleList is a list of handles; one that is in it knows it.
type handleList struct {
	root limitedFile // sentinel
	n    int
}

func (l *handleList) init() { l.root.prev, l.root.next = &l.root, &l.root }

// first is the handle that is longest in the list, nil when it is empty.
func (l *handleList) first() *limitedFile {
	if l.n == 0 {
		return nil
	}
	return l.root.next
}

func (l *handleList) push(h *limitedFile) {
	h.prev, h.next = l.root.prev, &l.root
	h.prev.next, h.next.prev = h, h
	h.list = l
	l.n++
}

func (l *handleList) remove(h *limitedFile) {
	h.prev.next, h.next.prev = h.next, h.prev
	h.prev, h.next, h.list = nil, nil, nil
	l.n--
}

// turn moves a handle to the end.
func (l *handleList) turn(h *limitedFile) {
	l.remove(h)
	l.push(h)
}
