package topic

import (
	"fmt"

	"github.com/quirelog/quire/log/record"
)

// split makes two batches of one that the log found too large: the first and the second half of the
// records, with their callbacks. They inherit its age and its tries. The lane's batches are at most half as large
// as this one from now on, so that not each of them is built to be split. The original's numbers were not used.
func (l *lane) split(b *batch) ([]*batch, error) {
	l.mu.Lock()
	l.limit = min(l.limit, max(b.builder.Buffered()/2, smallestLimit))
	limit := l.limit
	l.mu.Unlock()

	half := b.builder.Count() / 2
	first, second := l.p.takeBatch(0, 0, l.route), l.p.takeBatch(0, 0, l.route)
	if err := divide(b, half, first, second); err != nil {
		return nil, fmt.Errorf("topic: splitting a batch for a limit of %d: %w", limit, err)
	}
	for _, part := range []*batch{first, second} {
		part.born, part.tries, part.last = b.born, b.tries, b.last
	}
	// Flush waits for the mark and Close for the memory: both go with the last part.
	second.mark, second.cost = b.mark, b.cost
	b.mark, b.cost = 0, 0
	l.p.giveBatch(b)
	return []*batch{first, second}, nil
}

const smallestLimit = 512

// divide copies the records of a sealed batch to two others, the first half of them to first.
func divide(b *batch, half int, first, second *batch) error {
	var d record.Decoder
	if err := d.Reset(b.sealed, decodeLimit); err != nil {
		return err
	}
	var r record.Record
	for i := 0; d.Next(&r); i++ {
		to := first
		if i >= half {
			to = second
		}
		if err := to.add(&r, b.calls[i]); err != nil {
			return err
		}
	}
	return d.Err()
}
