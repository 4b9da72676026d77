package log

// The producer snapshot: Apache Kafka's file of producer state at an offset,
// byte for byte. All integers are big-endian.
//
//	 0  2  version, 1
//	 2  4  CRC-32C of everything after this field
//	 6  4  number of entries
//	10 46  each entry:
//	        0  8  producer id
//	        8  2  epoch
//	       10  4  last sequence of the last batch, -1 none
//	       14  8  last offset of that batch, -1 none
//	       22  4  last minus first offset of that batch
//	       26  8  last timestamp, ms
//	       34  4  coordinator epoch, -1 none
//	       38  8  first offset of the open transaction, -1 none
//
// Only the last batch of a producer is kept, so after a restart only that one
// is recognised as a duplicate.
//
// The name is the state's end offset in 20 digits and ".snapshot". The file is
// derived from the batches: one that cannot be used costs a longer replay.
//
//	p.save(fs, dir, offset)                 durable and atomic at return
//	snapshotOffsets(names)                  which there are
//	p.loadSnapshot(fs, dir, offsets, w)     the newest usable one within a window
//	dropSnapshots(fs, dir, offsets, drop)   removes those that are of no use

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/quirelog/quire/log/vfs"
)

const (
	snapshotVersion    = 1
	snapshotCRCEnd     = 6
	snapshotHeaderSize = 10
	snapshotEntrySize  = 46
	// maxSnapshotBytes is the largest snapshot read: 23 million producers.
	maxSnapshotBytes = 1 << 30

	snapshotSuffix   = ".snapshot"
	snapshotNameSize = 20 + len(snapshotSuffix)
)

// SnapshotError tells why a producer snapshot cannot be used. It matches
// [ErrCorrupt], or [ErrNewerFormat] when only the version is unknown.
type SnapshotError struct {
	Path   string // empty when bytes were decoded that are no file
	Reason string
	newer  bool
}

func (e *SnapshotError) Error() string {
	return "log: producer snapshot" + named(e.Path) + ": " + e.Reason
}

// named puts a path, if there is one, behind the word before it.
func named(path string) string {
	if path == "" {
		return ""
	}
	return " " + path
}

// Is reports whether target is [ErrCorrupt] or [ErrNewerFormat], whichever applies.
func (e *SnapshotError) Is(target error) bool {
	if e.newer {
		return target == ErrNewerFormat
	}
	return target == ErrCorrupt
}

// crc32c is the checksum of Kafka's files and of our own.
func crc32c(data []byte) uint32 { return crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)) }

// EncodeProducerSnapshot appends a snapshot file with these entries to dst.
func EncodeProducerSnapshot(dst []byte, states []ProducerState) []byte {
	start := len(dst)
	dst = slices.Grow(dst, snapshotHeaderSize+len(states)*snapshotEntrySize)
	dst = binary.BigEndian.AppendUint16(dst, snapshotVersion)
	dst = binary.BigEndian.AppendUint32(dst, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(states)))
	for i := range states {
		dst = appendSnapshotEntry(dst, &states[i])
	}
	file := dst[start:]
	binary.BigEndian.PutUint32(file[2:], crc32c(file[snapshotCRCEnd:]))
	return dst
}

func appendSnapshotEntry(dst []byte, s *ProducerState) []byte {
	be := binary.BigEndian
	dst = be.AppendUint64(dst, uint64(s.ProducerID))
	dst = be.AppendUint16(dst, uint16(s.Epoch))
	dst = be.AppendUint32(dst, uint32(s.LastSequence))
	dst = be.AppendUint64(dst, uint64(s.LastOffset))
	dst = be.AppendUint32(dst, uint32(s.OffsetDelta))
	dst = be.AppendUint64(dst, uint64(s.LastTimestamp))
	dst = be.AppendUint32(dst, uint32(s.CoordinatorEpoch))
	return be.AppendUint64(dst, uint64(s.TxnStart))
}

// DecodeProducerSnapshot reads a snapshot file. The error is a [*SnapshotError];
// nothing is allocated for bytes that are not there.
func DecodeProducerSnapshot(data []byte) ([]ProducerState, error) {
	count, reason := snapshotCount(data)
	if reason != "" {
		return nil, &SnapshotError{Reason: reason}
	}
	if v := binary.BigEndian.Uint16(data); v != snapshotVersion {
		return nil, &SnapshotError{Reason: fmt.Sprintf("version %d", v), newer: int16(v) > snapshotVersion}
	}
	states := make([]ProducerState, count)
	for i := range states {
		s := &states[i]
		readSnapshotEntry(data[snapshotHeaderSize+i*snapshotEntrySize:], s)
		if reason := s.fault(); reason != "" {
			return nil, &SnapshotError{Reason: fmt.Sprintf("entry %d: %s", i, reason)}
		}
	}
	if id, twice := repeatedProducer(states); twice {
		return nil, &SnapshotError{Reason: fmt.Sprintf("producer %d twice", id)}
	}
	return states, nil
}

// snapshotCount checks header, checksum and length and returns the number of
// entries. A file of another version passes only if it has this one's frame.
func snapshotCount(data []byte) (count int, reason string) {
	switch {
	case len(data) == 0:
		return 0, "empty"
	case len(data) < snapshotHeaderSize:
		return 0, fmt.Sprintf("%d bytes, shorter than its header", len(data))
	case binary.BigEndian.Uint32(data[2:]) != crc32c(data[snapshotCRCEnd:]):
		return 0, "checksum mismatch"
	}
	n := int64(int32(binary.BigEndian.Uint32(data[snapshotCRCEnd:])))
	known := binary.BigEndian.Uint16(data) == snapshotVersion
	if known && n*snapshotEntrySize != int64(len(data)-snapshotHeaderSize) {
		return 0, fmt.Sprintf("%d entries do not fill %d bytes", n, len(data))
	}
	return int(n), ""
}

func readSnapshotEntry(b []byte, s *ProducerState) {
	be := binary.BigEndian
	*s = ProducerState{
		ProducerID:       int64(be.Uint64(b)),
		Epoch:            int16(be.Uint16(b[8:])),
		LastSequence:     int32(be.Uint32(b[10:])),
		LastOffset:       int64(be.Uint64(b[14:])),
		OffsetDelta:      int32(be.Uint32(b[22:])),
		LastTimestamp:    int64(be.Uint64(b[26:])),
		CoordinatorEpoch: int32(be.Uint32(b[34:])),
		TxnStart:         int64(be.Uint64(b[38:])),
	}
}

// fault names the field that no writer would have written.
func (s *ProducerState) fault() string {
	switch {
	case s.ProducerID < 0:
		return fmt.Sprintf("producer id %d", s.ProducerID)
	case s.Epoch < noEpoch:
		return fmt.Sprintf("epoch %d", s.Epoch)
	case s.LastSequence < noSequence:
		return fmt.Sprintf("last sequence %d", s.LastSequence)
	case s.LastOffset < noOffset || s.LastOffset == math.MaxInt64:
		return fmt.Sprintf("last offset %d", s.LastOffset)
	case s.OffsetDelta < 0 || s.LastOffset >= 0 && int64(s.OffsetDelta) > s.LastOffset:
		return fmt.Sprintf("offset delta %d of last offset %d", s.OffsetDelta, s.LastOffset)
	case s.CoordinatorEpoch < noEpoch:
		return fmt.Sprintf("coordinator epoch %d", s.CoordinatorEpoch)
	case s.TxnStart < noOffset:
		return fmt.Sprintf("transaction start %d", s.TxnStart)
	}
	return ""
}

// repeatedProducer finds an id that occurs twice. Our files ascend by id, Kafka's do not.
func repeatedProducer(states []ProducerState) (id int64, twice bool) {
	ids := make([]int64, len(states))
	for i := range states {
		ids[i] = states[i].ProducerID
	}
	slices.Sort(ids)
	for i := 1; i < len(ids); i++ {
		if ids[i] == ids[i-1] {
			return ids[i], true
		}
	}
	return 0, false
}

// snapshotName is the file name of the snapshot at offset, which is not negative.
func snapshotName(offset int64) string { return fmt.Sprintf("%020d%s", offset, snapshotSuffix) }

// parseSnapshotName is the inverse of snapshotName; ok is false for any other name.
func parseSnapshotName(name string) (offset int64, ok bool) {
	digits, found := strings.CutSuffix(name, snapshotSuffix)
	if !found || len(name) != snapshotNameSize {
		return 0, false
	}
	return parseDigits(digits, math.MaxInt64)
}

// snapshotOffsets picks the snapshots out of a directory's names, ascending.
func snapshotOffsets(names []string) []int64 {
	var offsets []int64
	for _, name := range names {
		if offset, ok := parseSnapshotName(name); ok {
			offsets = append(offsets, offset)
		}
	}
	slices.Sort(offsets)
	return offsets
}

// save stores the state as the one at offset, the log's end, durably and
// atomically. It writes nothing when the newest snapshot is the one at offset,
// and leaves a log that has never known a producer without any.
func (p *producers) save(fsys vfs.FS, dir string, offset int64) error {
	if p.snapped && p.saved == offset || !p.snapped && len(p.known) == 0 {
		return nil
	}
	data := EncodeProducerSnapshot(nil, p.list())
	if err := vfs.WriteFile(fsys, filepath.Join(dir, snapshotName(offset)), data); err != nil {
		return err
	}
	p.snapped, p.saved = true, offset
	return nil
}

// snapshotWindow says which snapshots may be loaded, after < offset <= upTo, and
// which entries have expired, in ms.
type snapshotWindow struct {
	after, upTo int64
	now, ttl    int64
}

// snapshotLoad is what loadSnapshot did.
type snapshotLoad struct {
	offset int64 // the state is the one at this offset; replay from here
	found  bool  // false: the state is empty, replay from the log's start
	// skipped holds one error for each newer snapshot that was of no use. The files
	// of damaged ones are gone, those that could not be read or are of a newer format stay.
	skipped []error
}

// loadSnapshot replaces the state by the newest usable snapshot in the window.
// offsets is what snapshotOffsets returned. An error means that too many files
// are open; any other trouble only makes an older snapshot do.
func (p *producers) loadSnapshot(fsys vfs.FS, dir string, offsets []int64, w snapshotWindow) (snapshotLoad, error) {
	var load snapshotLoad
	p.reset()
	for _, offset := range slices.Backward(offsets) {
		if offset <= w.after || offset > w.upTo {
			continue
		}
		path := filepath.Join(dir, snapshotName(offset))
		states, seen, err := readSnapshot(fsys, path)
		if err == nil {
			p.restore(states, offset, seen, w.now, w.ttl)
			load.offset, load.found = offset, true
			return load, nil
		}
		if vfs.IsTooManyFiles(err) {
			return load, err
		}
		load.skipped = append(load.skipped, err)
		if errors.Is(err, ErrCorrupt) {
			removeDamaged(fsys, path, &load)
		}
	}
	return load, nil
}

// removeDamaged removes a damaged snapshot so that it is met only once. That it
// may fail, as on a read-only file system, does no harm.
func removeDamaged(fsys vfs.FS, path string, load *snapshotLoad) {
	if err := fsys.Remove(path); err != nil && !errors.Is(err, vfs.ErrReadOnly) {
		load.skipped = append(load.skipped, err)
	}
}

// readSnapshot reads one file and the time it was written, ms since the epoch.
func readSnapshot(fsys vfs.FS, path string) ([]ProducerState, int64, error) {
	info, err := fsys.Stat(path)
	if err != nil {
		return nil, 0, err
	}
	data, err := vfs.ReadFile(fsys, path, maxSnapshotBytes)
	if err != nil {
		return nil, 0, err
	}
	states, err := DecodeProducerSnapshot(data)
	if bad := (*SnapshotError)(nil); errors.As(err, &bad) {
		bad.Path = path
	}
	return states, info.ModTime.UnixMilli(), err
}

// dropSnapshots removes the snapshots for which drop is true. Their removal need
// not be durable: one that comes back is judged again.
func dropSnapshots(fsys vfs.FS, dir string, offsets []int64, drop func(offset int64) bool) error {
	var faults []error
	for _, offset := range offsets {
		if !drop(offset) {
			continue
		}
		err := fsys.Remove(filepath.Join(dir, snapshotName(offset)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}
