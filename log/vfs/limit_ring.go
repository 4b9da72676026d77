package vfs

// limitedRing holds the handles whose descriptor may be taken, least recently used
// first as the clock algorithm sees it: a handle used since the hand last came by
// gets another round. It is guarded by the mutex of its Limited.
//
// Those that were found dirty where files have no witness wait apart, so that the choice
// of a victim costs the same however many they are: every step of the hand is paid for by
// a use or a write since it last came by.
type limitedRing struct {
	clean, dirty limitedFile // sentinels
	n            int
	steps        int // of the hand, ever: what choices cost, counted for tests
}

func (r *limitedRing) init() {
	for _, list := range []*limitedFile{&r.clean, &r.dirty} {
		list.prev, list.next = list, list
	}
}

// push enters a handle that has its descriptor anew.
func (r *limitedRing) push(h *limitedFile) {
	r.enter(h, &r.clean)
	r.n++
}

// remove takes a handle out; one that is not in stays out.
func (r *limitedRing) remove(h *limitedFile) {
	if h.next != nil {
		h.leave()
		r.n--
	}
}

// synced puts a handle back among the clean.
func (r *limitedRing) synced(h *limitedFile) {
	if h.soiled {
		h.leave()
		r.enter(h, &r.clean)
	}
}

// yield puts a handle at the front.
func (r *limitedRing) yield(h *limitedFile) {
	if h.next != nil {
		h.leave()
		r.enter(h, r.clean.next)
		h.used.Store(false)
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

func (r *limitedRing) pick(from *limitedFile) *limitedFile {
	for range 2 * r.n {
		r.steps++
		h := from.next
		switch {
		case h == from:
			return nil
		case !h.soiled && h.costly():
			r.soil(h)
		case h.used.Swap(false) || !h.pins.CompareAndSwap(0, closedPins):
			h.leave()
			r.enter(h, from)
		// Once the pins are taken no call can write: a mark of dirt seen after
		// that is the last word.
		case !h.soiled && h.costly():
			h.pins.Store(0)
			r.soil(h)
		default:
			r.remove(h)
			return h
		}
	}
	return nil
}

// soil puts a handle among the dirty.
func (r *limitedRing) soil(h *limitedFile) {
	h.leave()
	r.enter(h, &r.dirty)
}

// enter puts a handle before another one: at the end of the list if that is a sentinel.
func (r *limitedRing) enter(h, at *limitedFile) {
	h.prev, h.next = at.prev, at
	h.prev.next, at.prev = h, h
	h.soiled = at == &r.dirty
}

// leave takes a handle out of its list.
func (h *limitedFile) leave() {
	h.prev.next, h.next.prev = h.next, h.prev
	h.prev, h.next, h.soiled = nil, nil, false
}
