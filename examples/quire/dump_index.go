package main

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/quirelog/quire/index"
)

// offsetFact is an entry of an offset index.
type offsetFact struct {
	Kind   string `json:"kind"`
	Offset int64  `json:"offset"`
	Pos    int64  `json:"pos"`
}

func (e offsetFact) String() string { return fmt.Sprintf("offset %d at %d", e.Offset, e.Pos) }

func readOffset(base int64, entry []byte) offsetFact {
	be := binary.BigEndian
	return offsetFact{"offset", base + int64(int32(be.Uint32(entry))), int64(int32(be.Uint32(entry[4:])))}
}

// timeFact is an entry of a time index.
type timeFact struct {
	Kind      string `json:"kind"`
	Timestamp int64  `json:"timestamp"`
	Offset    int64  `json:"offset"`
}

func (e timeFact) String() string {
	return fmt.Sprintf("timestamp %d (%s) offset %d", e.Timestamp, showMillis(e.Timestamp), e.Offset)
}

func readTime(base int64, entry []byte) timeFact {
	be := binary.BigEndian
	return timeFact{"time", int64(be.Uint64(entry)), base + int64(int32(be.Uint32(entry[8:])))}
}

// abortedFact is an entry of an aborted-transaction index.
type abortedFact struct {
	Kind        string `json:"kind"`
	ProducerID  int64  `json:"producerId"`
	FirstOffset int64  `json:"firstOffset"`
	LastOffset  int64  `json:"lastOffset"`
	LastStable  int64  `json:"lastStable"`
}

func (e abortedFact) String() string {
	return fmt.Sprintf("producer %d aborted offsets %d-%d, last stable offset %d", e.ProducerID, e.FirstOffset, e.LastOffset, e.LastStable)
}

// used is the length of an index file without the zeros that Kafka leaves behind the entries of an active one.
func used(data []byte, width int) int {
	n := len(data)
	for n >= width && n%width == 0 && allZero(data[n-width:n]) {
		n -= width
	}
	return n
}

func (d *dumper) offsetIndex(base int64) error {
	return d.table(index.OffsetEntrySize, func(entry []byte) fmt.Stringer { return readOffset(base, entry) })
}

func (d *dumper) timeIndex(base int64) error {
	return d.table(index.TimeEntrySize, func(entry []byte) fmt.Stringer { return readTime(base, entry) })
}

func (d *dumper) abortedIndex() error {
	return d.table(index.AbortedEntrySize, func(entry []byte) fmt.Stringer {
		a := index.ParseAborted(entry)
		return abortedFact{"aborted", a.ProducerID, a.FirstOffset, a.LastOffset, a.LastStable}
	})
}

// table prints a file of entries of one width.
func (d *dumper) table(width int, read func(entry []byte) fmt.Stringer) error {
	data, err := d.small()
	if err != nil {
		return err
	}
	end := used(data, width)
	at := 0
	for ; at+width <= end; at += width {
		if err := d.show(read(data[at : at+width])); err != nil {
			return err
		}
	}
	if at < end {
		return d.damage(int64(at), int64(end-at), errors.New("half an entry"))
	}
	if at < len(data) {
		return d.show(tailFact{"zeros", int64(at), int64(len(data) - at)})
	}
	return nil
}
