package fetch

import (
	"cmp"
	"context"
	"slices"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
)

// abortFilter leaves out the batches of aborted transactions, as a reader at ReadCommitted must (Kafka's
// rule): a transaction of the list counts from its first offset until its producer's next abort marker.
type abortFilter[R any] struct {
	list   []abortedFrom // by first offset, those not yet reached
	active []int64       // producers inside an aborted transaction; few
}

type abortedFrom struct{ producerID, first int64 }

// begin prepares for the batches from the cursor's position to the given offset.
func (f *abortFilter[R]) begin(ctx context.Context, c *Cursor[R], to int64) error {
	f.list, f.active = f.list[:0], f.active[:0]
	l, from := c.log, c.Pos
	txns, _, err := bounded.Do(ctx, c.src.Calls(), 0, func() ([]log.Aborted, error) { return l.AbortedIn(from, to) })
	if err != nil {
		return err
	}
	for _, txn := range txns {
		f.list = append(f.list, abortedFrom{txn.ProducerID, txn.First})
	}
	f.sort()
	return nil
}

func (f *abortFilter[R]) sort() {
	slices.SortFunc(f.list, func(a, b abortedFrom) int { return cmp.Compare(a.first, b.first) })
}

// keep tells whether a batch is to be shown. Batches must come in order.
func (f *abortFilter[R]) keep(b record.Batch) (bool, error) {
	if b.ProducerID() < 0 || len(f.list) == 0 && len(f.active) == 0 {
		return true, nil
	}
	last := b.LastOffset()
	for len(f.list) > 0 && f.list[0].first <= last {
		if id := f.list[0].producerID; !slices.Contains(f.active, id) {
			f.active = append(f.active, id)
		}
		f.list = f.list[1:]
	}
	if b.Control() {
		return false, f.marker(b)
	}
	return !b.Transactional() || !slices.Contains(f.active, b.ProducerID()), nil
}

// marker ends the transaction that an abort marker belongs to.
func (f *abortFilter[R]) marker(b record.Batch) error {
	kind, _, err := record.ParseControl(b)
	if err != nil {
		return err
	}
	if kind != record.Abort {
		return nil
	}
	if i := slices.Index(f.active, b.ProducerID()); i >= 0 {
		f.active = slices.Delete(f.active, i, i+1)
	}
	return nil
}
