package topic

import "slices"

// fifo is a queue that keeps its memory.
type fifo[T any] struct {
	list []T
	head int
}

func (q *fifo[T]) len() int { return len(q.list) - q.head }

// all is what is in it, oldest first, until the next change.
func (q *fifo[T]) all() []T { return q.list[q.head:] }

func (q *fifo[T]) push(v T) {
	if q.head > len(q.list)/2 {
		n := copy(q.list, q.list[q.head:])
		clear(q.list[n:])
		q.list, q.head = q.list[:n], 0
	}
	q.list = append(q.list, v)
}

// pop takes the oldest out; the zero value if there is none.
func (q *fifo[T]) pop() (v T) {
	if q.len() > 0 {
		v = q.list[q.head]
		q.drop(1)
	}
	return v
}

// drop takes the n oldest out.
func (q *fifo[T]) drop(n int) {
	clear(q.list[q.head : q.head+n])
	q.head += n
}

// putBack puts others before the oldest.
func (q *fifo[T]) putBack(others ...T) {
	if n := len(others); n <= q.head {
		q.head -= n
		copy(q.list[q.head:], others)
		return
	}
	q.list, q.head = slices.Insert(q.list[q.head:], 0, others...), 0
}
