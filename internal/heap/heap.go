package heap

// Heap is a binary heap. Make one with [New]; it has one owner at a time.
type Heap[T any] struct {
	list  []T
	less  func(a, b T) bool
	place func(T) *int
}

// New gives an empty heap. place says where an item keeps its place, which is 0 outside the heap.
func New[T any](less func(a, b T) bool, place func(T) *int) Heap[T] {
	return Heap[T]{less: less, place: place}
}

// Len is how many items there are.
func (h *Heap[T]) Len() int { return len(h.list) }

// First is the item that Pop would give. There must be one.
func (h *Heap[T]) First() T { return h.list[0] }

// Less tells whether a comes before b.
func (h *Heap[T]) Less(a, b T) bool { return h.less(a, b) }

// All is the items in no order, borrowed until the next change.
func (h *Heap[T]) All() []T { return h.list }

// Push takes an item in that is outside.
func (h *Heap[T]) Push(x T) {
	h.list = append(h.list, x)
	h.up(len(h.list)-1, x)
}

// Pop takes out the first item. There must be one.
func (h *Heap[T]) Pop() T {
	x := h.list[0]
	h.Remove(x)
	return x
}

// Remove takes out an item that is in.
func (h *Heap[T]) Remove(x T) {
	i, last := *h.place(x)-1, len(h.list)-1
	*h.place(x) = 0
	moved := h.list[last]
	h.list[last] = *new(T)
	h.list = h.list[:last]
	if i < last {
		h.set(i, moved)
		h.Fix(moved)
	}
}

// Fix moves an item whose order has changed.
func (h *Heap[T]) Fix(x T) {
	i := *h.place(x) - 1
	if !h.up(i, x) {
		h.down(i, x)
	}
}

func (h *Heap[T]) set(i int, x T) {
	h.list[i] = x
	*h.place(x) = i + 1
}

// up puts x where it belongs between i and the top. It tells whether that is not i.
func (h *Heap[T]) up(i int, x T) bool {
	from := i
	for i > 0 {
		parent := (i - 1) / 2
		if !h.less(x, h.list[parent]) {
			break
		}
		h.set(i, h.list[parent])
		i = parent
	}
	h.set(i, x)
	return i != from
}

// down puts x where it belongs between i and the bottom.
func (h *Heap[T]) down(i int, x T) {
	for child := 2*i + 1; child < len(h.list); child = 2*i + 1 {
		if right := child + 1; right < len(h.list) && h.less(h.list[right], h.list[child]) {
			child = right
		}
		if !h.less(h.list[child], x) {
			break
		}
		h.set(i, h.list[child])
		i = child
	}
	h.set(i, x)
}
