package segment

import (
	"errors"
	"fmt"

	"github.com/quirelog/quire/index"
)

// meet compares the next entries of the indexes with the batch at pos, which the facts have counted.
func (x *checker) meet(pos, lastOffset int64) {
	offsets, times := &x.tables[index.OffsetKind], &x.tables[index.TimeKind]
	for len(offsets.rest) >= index.OffsetEntrySize && !allZero(offsets.rest) {
		offset, at := index.ParseOffset(offsets.rest, x.s.base)
		if at > pos {
			break
		}
		if at < pos || offset != lastOffset {
			x.checkTable(FaultIndex, KindIndex, fmt.Errorf("the entry (%d, %d) is not where a batch begins and what it ends with", offset, at))
			offsets.rest = nil
			break
		}
		offsets.rest = offsets.rest[index.OffsetEntrySize:]
	}
	for len(times.rest) >= index.TimeEntrySize && !allZero(times.rest) {
		ts, offset := index.ParseTime(times.rest, x.s.base)
		if offset > lastOffset {
			break
		}
		if ts != x.facts.maxTimestamp {
			x.checkTable(FaultIndex, KindTimeIndex, fmt.Errorf("the entry (%d, %d), where the largest time is %d", ts, offset, x.facts.maxTimestamp))
			times.rest = nil
			break
		}
		times.rest = times.rest[index.TimeEntrySize:]
	}
}

// checkTables checks the index files as a whole: entries that rise, none beyond the data.
func (x *checker) checkTables() {
	size := max(x.end, 1)
	for k, sound := range [3]int{
		index.OffsetKind:  index.CheckOffsets(x.tables[index.OffsetKind].data, x.s.base, x.next, size),
		index.TimeKind:    index.CheckTimes(x.tables[index.TimeKind].data, x.s.base, x.next),
		index.AbortedKind: index.CheckAborted(x.tables[index.AbortedKind].data, x.s.base, x.next),
	} {
		if rest := x.tables[k].data[sound:]; !allZero(rest) {
			x.checkTable(tableFault(index.Kind(k)), tableFile(index.Kind(k)), fmt.Errorf("the last %d bytes are no sound entries for offsets below %d", len(rest), x.next))
		}
	}
}

func tableFault(k index.Kind) FaultKind {
	if k == index.AbortedKind {
		return FaultAborted
	}
	return FaultIndex
}

// checkSide compares the side file with the data and the index files.
func (x *checker) checkSide() {
	if x.side == nil {
		return
	}
	for k, t := range x.tables {
		if got, want := index.SumOf(t.data), x.side.tables[k]; got != want {
			x.fault(tableFault(index.Kind(k)), tableFile(index.Kind(k)),
				fmt.Errorf("%d bytes with checksum %08x, the side file says %d with %08x", got.Len, got.CRC, want.Len, want.CRC))
		}
	}
	if x.damaged {
		return
	}
	got, want := &x.facts, &x.side.facts
	switch {
	case got.size != want.size || got.next != want.next || got.maxTimestamp != want.maxTimestamp || !want.partial && got.batches != want.batches:
		x.fault(FaultSide, KindSums, fmt.Errorf("says offsets [%d, %d), %d batches in %d bytes, largest time %d; the data has [%d, %d), %d in %d, %d",
			x.s.base, want.next, want.batches, want.size, want.maxTimestamp, x.s.base, got.next, got.batches, got.size, got.maxTimestamp))
	case !want.partial && got.headerSum != want.headerSum:
		x.out.Faults = append(x.out.Faults, Fault{Kind: FaultHeaders, Path: x.s.path(KindLog, 0), Pos: 0, End: x.size,
			FirstOffset: x.s.base, NextOffset: got.next, Err: errors.New("batch headers do not match the sum in the side file")})
	}
}
