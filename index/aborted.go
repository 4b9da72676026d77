package index

import (
	"encoding/binary"
	"fmt"
)

// Aborted lists aborted transactions by the offset of their abort marker: Kafka's .txnindex. Its file exists only once there is an entry.
type Aborted struct{ Table }

// AbortedTxn is one aborted transaction: the producer's records in [FirstOffset, LastOffset] are not to be shown to readers of committed
// records. LastOffset is the abort marker's. LastStable is the last stable offset at the time the marker was written.
type AbortedTxn struct {
	ProducerID, FirstOffset, LastOffset, LastStable int64
}

// Init makes the index active and empty.
func (a *Aborted) Init(home Home) { a.init(home, AbortedKind) }

// InitSealed makes the index a sealed one with these contents; nothing is read before the first look-up.
func (a *Aborted) InitSealed(home Home, sum Sum) { a.initSealed(home, AbortedKind, sum) }

func abortedKey(entry []byte) int64 { return int64(binary.BigEndian.Uint64(entry[18:])) }

func floorAborted(entries []byte, target int64) int {
	return floor64(entries, AbortedEntrySize, 18, target)
}

// Add appends a transaction. ErrOrder if its marker does not lie behind the last one's.
func (a *Aborted) Add(txn AbortedTxn) error {
	if last := a.Bytes(); len(last) > 0 && txn.LastOffset <= abortedKey(last[len(last)-AbortedEntrySize:]) {
		return fmt.Errorf("%w: aborted transaction ending at %d", ErrOrder, txn.LastOffset)
	}
	a.add(AppendAborted(make([]byte, 0, AbortedEntrySize), txn))
	return nil
}

// AppendAborted appends the 34 bytes of an entry to dst.
func AppendAborted(dst []byte, txn AbortedTxn) []byte {
	dst = binary.BigEndian.AppendUint16(dst, 0)
	dst = binary.BigEndian.AppendUint64(dst, uint64(txn.ProducerID))
	dst = binary.BigEndian.AppendUint64(dst, uint64(txn.FirstOffset))
	dst = binary.BigEndian.AppendUint64(dst, uint64(txn.LastOffset))
	return binary.BigEndian.AppendUint64(dst, uint64(txn.LastStable))
}

// ParseAborted reads the first 34 bytes of entry, which must have as many.
func ParseAborted(entry []byte) AbortedTxn {
	_ = entry[AbortedEntrySize-1]
	return AbortedTxn{
		ProducerID:  int64(binary.BigEndian.Uint64(entry[2:])),
		FirstOffset: int64(binary.BigEndian.Uint64(entry[10:])),
		LastOffset:  int64(binary.BigEndian.Uint64(entry[18:])),
		LastStable:  int64(binary.BigEndian.Uint64(entry[26:])),
	}
}

// Collect appends to dst the transactions that concern offsets in [from, to). complete says that later segments have none: a transaction
// may end far behind the data read.
func (a *Aborted) Collect(dst []AbortedTxn, from, to int64) (list []AbortedTxn, complete bool, err error) {
	for at := from; ; {
		stretch, i, err := a.entries(at-1, order{abortedKey, floorAborted})
		if err != nil {
			return dst, false, err
		}
		next := (i + 1) * AbortedEntrySize
		if next >= len(stretch) {
			return dst, false, nil
		}
		for ; next < len(stretch); next += AbortedEntrySize {
			txn := ParseAborted(stretch[next:])
			if txn.FirstOffset < to {
				dst = append(dst, txn)
			}
			if txn.LastStable >= to {
				return dst, true, nil
			}
			at = txn.LastOffset + 1
		}
	}
}

// Truncate drops the entries of an active index whose marker lies at or above offset.
func (a *Aborted) Truncate(offset int64) {
	a.cut(int64(floorAborted(a.Bytes(), offset-1)+1) * AbortedEntrySize)
}
