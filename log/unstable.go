package log

// Which transactions hold the last stable offset back. Two lists without
// pointers, so that begin, complete and first allocate only when a list grows.

import (
	"cmp"
	"slices"
)

// completedTxn is a transaction that a marker ended; an aborted one becomes an
// entry of the transaction index.
type completedTxn struct {
	producerID int64
	first      int64 // offset of its first batch
	last       int64 // offset of its marker
	stable     int64 // first offset of the earliest other open transaction, else last+1
	aborted    bool
}

// unstable is the transactions that are open, or ended by a marker that the
// high watermark has not passed.
type unstable struct {
	// open ascends by first offset.
	open []openTxn
	// ended ascends by marker and by first offset. A transaction that began after, and
	// ended before, another of the list never decides anything and is not kept.
	ended []endedTxn
}

type openTxn struct{ first, producerID int64 }

type endedTxn struct{ first, marker int64 }

// begin notes that a transaction is open from offset first on. Usually that is
// beyond all others; a snapshot lists them in any order.
func (u *unstable) begin(producerID, first int64) {
	txn := openTxn{first, producerID}
	i, _ := slices.BinarySearchFunc(u.open, txn, compareOpen)
	u.open = slices.Insert(u.open, i, txn)
}

func compareOpen(a, b openTxn) int {
	return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(a.producerID, b.producerID))
}

// complete notes the marker of an open transaction and returns the last stable
// offset as the transaction index states it.
func (u *unstable) complete(producerID, first, marker int64) (stable int64) {
	if i, found := slices.BinarySearchFunc(u.open, openTxn{first, producerID}, compareOpen); found {
		u.open = slices.Delete(u.open, i, i+1)
	}
	for n := len(u.ended); n > 0 && u.ended[n-1].first >= first; n-- {
		u.ended = u.ended[:n-1]
	}
	u.ended = append(u.ended, endedTxn{first, marker})
	if len(u.open) > 0 {
		return u.open[0].first
	}
	return marker + 1
}

// first drops the ended transactions whose marker is below high and returns the
// least first offset of those that remain.
func (u *unstable) first(high int64) (offset int64, ok bool) {
	passed := 0
	for passed < len(u.ended) && u.ended[passed].marker < high {
		passed++
	}
	if passed > 0 {
		u.ended = slices.Delete(u.ended, 0, passed)
	}
	switch {
	case len(u.open) > 0 && len(u.ended) > 0:
		return min(u.open[0].first, u.ended[0].first), true
	case len(u.open) > 0:
		return u.open[0].first, true
	case len(u.ended) > 0:
		return u.ended[0].first, true
	}
	return 0, false
}
