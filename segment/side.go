package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"

	"github.com/quirelog/quire/index"
	"github.com/quirelog/quire/log/vfs"
)

// SideFacts is what a side file says beyond what the segment knows by itself.
type SideFacts struct {
	// TopicID is the identity of the topic, so that a segment that strayed into another directory is noticed.
	TopicID [16]byte
	// Sparse says that offsets may have gaps; a segment that has seen one says so by itself.
	Sparse bool
	// Reach is the offset at which the log goes on behind this segment: every offset below is here or has been removed on purpose. It
	// counts where it lies behind the last batch, as after a compaction; 0 is right for all other segments. Negative: not known.
	Reach int64
}

// The side file <base>.sums describes a segment that nothing is appended to. Big-endian, 136 bytes:
//
//	  0   4  magic "QSUM"
//	  4   2  version, 3
//	  6   2  flags: bit 0 sparse (offsets may have gaps), bit 1 partial (damage was known when this was written: number of batches and
//	         header sum do not cover all of the file); the others are 0
//	  8  16  topic id
//	 24   8  base offset
//	 32   8  next offset
//	 40   8  size of the data file in bytes
//	 48   8  number of batches
//	 56   8  largest timestamp, ms since the epoch, -1 if none
//	 64   8  last offset of the first batch that has it
//	 72   8  largest timestamp of the first batch, -1 if none
//	 80   8  creation time, ms since the epoch
//	 88   4  leader epoch of the last batch, -1 if none
//	 92   4  header sum: CRC-32C over the first 21 bytes of every batch, one after the other
//	 96   4  length of the offset index      100  4  its CRC-32C
//	104   4  length of the time index        108  4  its CRC-32C
//	112   4  length of the aborted index     116  4  its CRC-32C
//	120   8  reach: the base of the segment behind this one, the next offset where there was none yet, -1 if not known
//	128   4  partition, by the name of the directory; -1 if that is not known
//	132   4  CRC-32C of bytes 0 to 131
//
// Version 2 has 132 bytes, without the partition; version 1 has 124, also without the reach.
const (
	sideMagic   = "QSUM"
	sideVersion = 3
	sideSize    = 136
	sideSizeTwo = 132 // of version 2
	sideSizeOne = 124 // of version 1
	sideSparse  = 1
	sidePartial = 2
)

// unknownReach is the reach of a segment of which nobody knows what followed it.
const unknownReach = -1

// Side is what a side file says, for tools that look into a directory; a segment reads and writes its own by
// itself. side.go has the bytes.
type Side struct {
	TopicID                 [16]byte
	Partition               int32 // -1 if it does not say
	Base, Next              int64 // offset of the first record; offset after the last
	Size                    int64 // of the data file, in bytes
	Batches                 int64
	MaxTimestamp, MaxOffset int64 // largest timestamp, ms since the epoch, -1 if none; last offset of the first batch that has it
	FirstTimestamp          int64 // largest timestamp of the first batch, -1 if none
	Created                 int64 // ms since the epoch
	LastEpoch               int32 // leader epoch of the last batch, -1 if none
	// HeaderSum is the CRC-32C over the first 21 bytes of every batch, one after the other.
	HeaderSum uint32
	Sparse    bool // offsets may have gaps
	// Reach is the base of the segment behind this one, Next where there was none yet, -1 if that is not known.
	Reach int64
	// Partial: damage was known when the file was written; Batches and HeaderSum do not cover all of the data.
	Partial bool
	// Offsets, Times and Aborted are the lengths and checksums of the index files.
	Offsets, Times, Aborted index.Sum
}

// DecodeSide reads the bytes of a side file. It takes any bytes; the error says why they are not to be trusted.
func DecodeSide(data []byte) (*Side, error) {
	d, err := decodeSide(data)
	if err != nil {
		return nil, fmt.Errorf("segment: side file: %w", err)
	}
	f := &d.facts
	return &Side{
		TopicID: d.topicID, Partition: d.partition, Base: d.base, Next: f.next, Size: f.size, Batches: f.batches, MaxTimestamp: f.maxTimestamp, MaxOffset: f.maxOffset,
		FirstTimestamp: f.firstTimestamp, Created: f.created, LastEpoch: f.lastEpoch, HeaderSum: f.headerSum, Sparse: f.sparse, Reach: f.reach, Partial: f.partial,
		Offsets: d.tables[index.OffsetKind], Times: d.tables[index.TimeKind], Aborted: d.tables[index.AbortedKind],
	}, nil
}

// side is the contents of a side file.
type side struct {
	base      int64
	topicID   [16]byte
	partition int32
	facts     facts
	tables    [3]index.Sum // by index.Kind
}

func (d *side) encode() []byte {
	f := &d.facts
	flags := uint16(0)
	if f.sparse {
		flags |= sideSparse
	}
	if f.partial {
		flags |= sidePartial
	}
	b := make([]byte, 0, sideSize)
	b = append(b, sideMagic...)
	b = binary.BigEndian.AppendUint16(b, sideVersion)
	b = binary.BigEndian.AppendUint16(b, flags)
	b = append(b, d.topicID[:]...)
	for _, v := range [...]int64{d.base, f.next, f.size, f.batches, f.maxTimestamp, f.maxOffset, f.firstTimestamp, f.created} {
		b = binary.BigEndian.AppendUint64(b, uint64(v))
	}
	b = binary.BigEndian.AppendUint32(b, uint32(f.lastEpoch))
	b = binary.BigEndian.AppendUint32(b, f.headerSum)
	for _, t := range d.tables {
		b = binary.BigEndian.AppendUint32(b, uint32(t.Len))
		b = binary.BigEndian.AppendUint32(b, t.CRC)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(f.reach))
	b = binary.BigEndian.AppendUint32(b, uint32(d.partition))
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeSide takes any bytes.
func decodeSide(b []byte) (*side, error) {
	version, reach, partition := uint16(sideVersion), int64(unknownReach), int32(UnknownPartition)
	switch len(b) {
	case sideSize:
		reach, partition = int64(binary.BigEndian.Uint64(b[120:])), int32(binary.BigEndian.Uint32(b[128:]))
	case sideSizeTwo:
		version, reach = 2, int64(binary.BigEndian.Uint64(b[120:]))
	case sideSizeOne:
		version = 1
	default:
		return nil, fmt.Errorf("%d bytes instead of %d", len(b), sideSize)
	}
	if end := len(b) - 4; string(b[:4]) != sideMagic || binary.BigEndian.Uint32(b[end:]) != crc32.Checksum(b[:end], castagnoli) {
		return nil, errors.New("checksum or magic")
	}
	flags := binary.BigEndian.Uint16(b[6:])
	if binary.BigEndian.Uint16(b[4:]) != version || flags&^(sideSparse|sidePartial) != 0 {
		return nil, fmt.Errorf("version %d flags %#x", binary.BigEndian.Uint16(b[4:]), flags)
	}
	i64 := func(at int) int64 { return int64(binary.BigEndian.Uint64(b[at:])) }
	d := &side{base: i64(24), partition: partition, facts: facts{
		next: i64(32), size: i64(40), batches: i64(48), maxTimestamp: i64(56), maxOffset: i64(64), firstTimestamp: i64(72), created: i64(80),
		lastEpoch: int32(binary.BigEndian.Uint32(b[88:])), headerSum: binary.BigEndian.Uint32(b[92:]), sparse: flags&sideSparse != 0,
		partial: flags&sidePartial != 0, loose: flags&sidePartial != 0, reach: reach,
	}}
	copy(d.topicID[:], b[8:])
	for k := range d.tables {
		at := 96 + 8*k
		d.tables[k] = index.Sum{Len: int64(binary.BigEndian.Uint32(b[at:])), CRC: binary.BigEndian.Uint32(b[at+4:])}
		if d.tables[k].Len%int64(index.Kind(k).Width()) != 0 {
			return nil, errors.New("index length")
		}
	}
	if d.base < 0 || d.facts.next < d.base || reach != unknownReach && reach < d.facts.next || d.facts.size < 0 || d.facts.batches < 0 || partition < UnknownPartition {
		return nil, errors.New("offsets or size")
	}
	return d, nil
}

// readSide reads a side file; every reason not to trust it matches ErrNoSide.
func readSide(fsys vfs.FS, path string) (*side, error) {
	data, err := vfs.ReadFile(fsys, path, sideSize)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, vfs.ErrTooLarge):
		return nil, fmt.Errorf("%w: %w", ErrNoSide, err)
	case err != nil:
		if info, e := fsys.Stat(path); e == nil && info.IsDir {
			err = fmt.Errorf("%w: %w", ErrNoSide, err)
		}
		return nil, err
	}
	d, err := decodeSide(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrNoSide, path, err)
	}
	return d, nil
}

// side composes the side file as of now.
func (s *Segment) side(topicID [16]byte) *side {
	aborted := s.aborted.Sum()
	if s.abortedInvalid.Load() {
		aborted = unfit(aborted.Len)
	}
	return &side{
		base: s.base, topicID: topicID, partition: PartitionOf(s.dir), facts: s.look(),
		tables: [3]index.Sum{s.offsets.Sum(), s.times.Sum(), aborted},
	}
}

// unfit is the sum of an index of aborted transactions that may lack entries: no file of n bytes fits it, so that the first look-up asks for SetAborted.
func unfit(n int64) index.Sum { return index.Sum{Len: n + index.AbortedEntrySize} }

// writeSide puts the side file in place, durably.
func (s *Segment) writeSide(topicID [16]byte) error { return s.putSide(topicID, vfs.WriteFile) }

// putSide puts the side file in place by vfs.WriteFile or vfs.PutFile.
func (s *Segment) putSide(topicID [16]byte, put func(fsys vfs.FS, name string, data []byte) error) error {
	return put(s.fs, s.path(KindSums, s.mark()), s.side(topicID).encode())
}

// TopicID reads the topic's identity from the side file; ErrNoSide if there is none to be trusted.
func (s *Segment) TopicID() ([16]byte, error) {
	d, err := readSide(s.fs, s.path(KindSums, s.mark()))
	if err != nil {
		return [16]byte{}, err
	}
	return d.topicID, nil
}
