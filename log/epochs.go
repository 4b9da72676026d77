package log

// The history of leader epochs: which leader wrote from which offset on. Two
// copies of a log find with it where they part (KIP-101, KIP-279). On disk it
// is Apache Kafka's leader-epoch-checkpoint (checkpointfile.go has the format),
// epochs and start offsets strictly ascending.
//
// Calls, all under the log's mutex; true means "changed, save it":
//
//	e.assign(epoch, start)     epoch writes from start on
//	e.truncateEnd(end)         the log was cut back
//	e.truncateFront(start)     the log's start was raised
//	e.endOffsetFor(epoch, end) where an epoch ended
//	e.latest()                 the newest epoch
//	e.save(fs, dir)            durable and atomic at return
//	e.load(fs, dir)
//
// entries is never changed in place: a reader may keep the slice it was given.
// The file can be saved after a truncation at leisure, since loading a log cuts
// its history to [start, end) again; after assign it must be saved first.

import (
	"errors"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"sort"
	"strconv"

	"github.com/quirelog/quire/log/vfs"
)

// LeaderEpochFile is the name of the history's file in a partition's directory.
const LeaderEpochFile = "leader-epoch-checkpoint"

// LeaderEpoch is one entry of the file: the leader of Epoch wrote from offset Start on.
type LeaderEpoch struct {
	Epoch int32
	Start int64
}

// epochEntry is one entry of a history.
type epochEntry struct {
	epoch int32
	start int64
}

// epochs is the history of one log. The zero value is empty.
type epochs struct {
	entries []epochEntry // both fields strictly ascending; shared with readers
}

// latest returns the newest epoch, -1 if there is none.
func (e *epochs) latest() int32 {
	if len(e.entries) == 0 {
		return noEpoch
	}
	return e.entries[len(e.entries)-1].epoch
}

// copyEntries returns the entries as they are now, for readers. Nobody may
// change them; later changes of the history do not touch them.
func (e *epochs) copyEntries() []epochEntry { return e.entries }

// assign notes that epoch writes from start on. Entries that contradict it,
// those of the same or a later epoch and those that begin at start or later, go.
// Nothing changes when epoch is the latest and began at or before start, or
// when either is negative, which means none.
func (e *epochs) assign(epoch int32, start int64) (changed bool) {
	if epoch < 0 || start < 0 {
		return false
	}
	n := len(e.entries)
	if n > 0 && e.entries[n-1].epoch == epoch && start >= e.entries[n-1].start {
		return false
	}
	for n > 0 && (e.entries[n-1].epoch >= epoch || e.entries[n-1].start >= start) {
		n--
	}
	grown := make([]epochEntry, n+1)
	copy(grown, e.entries[:n])
	grown[n] = epochEntry{epoch, start}
	e.entries = grown
	return true
}

// truncateEnd removes the epochs that begin at or after end, the log's new end.
func (e *epochs) truncateEnd(end int64) (changed bool) {
	n := e.startingBelow(end)
	if n == len(e.entries) {
		return false
	}
	e.entries = slices.Clip(e.entries[:n])
	if n == 0 {
		e.entries = nil
	}
	return true
}

// truncateFront removes the epochs that ended at or before start, the log's new
// start. The one that holds start begins there from now on.
func (e *epochs) truncateFront(start int64) (changed bool) {
	n := sort.Search(len(e.entries), func(i int) bool { return e.entries[i].start > start })
	if n == 0 || n == 1 && e.entries[0].start == start {
		return false
	}
	kept := slices.Clone(e.entries[n-1:])
	kept[0].start = start
	e.entries = kept
	return true
}

// clear forgets everything, as when the log is truncated fully.
func (e *epochs) clear() (changed bool) {
	changed = len(e.entries) > 0
	e.entries = nil
	return changed
}

// startingBelow counts the entries that begin below offset.
func (e *epochs) startingBelow(offset int64) int {
	return sort.Search(len(e.entries), func(i int) bool { return e.entries[i].start >= offset })
}

// epochAt returns the epoch that wrote offset; ok is false if that is not known.
func epochAt(entries []epochEntry, offset int64) (epoch int32, ok bool) {
	n := sort.Search(len(entries), func(i int) bool { return entries[i].start > offset })
	if n == 0 {
		return noEpoch, false
	}
	return entries[n-1].epoch, true
}

// endOffsetFor answers where an epoch ended: the largest known epoch at most the
// asked one, and the first offset after it, which is logEnd for the latest. An
// epoch older than all known ended before the first of them began. -1 and -1
// when the asked epoch is negative or newer than all known.
func (e *epochs) endOffsetFor(epoch int32, logEnd int64) (found int32, end int64) {
	switch last := e.latest(); {
	case epoch < 0 || epoch > last:
		return noEpoch, noOffset
	case epoch == last:
		return epoch, logEnd
	}
	next := sort.Search(len(e.entries), func(i int) bool { return e.entries[i].epoch > epoch })
	if next == 0 {
		return epoch, e.entries[0].start
	}
	return e.entries[next-1].epoch, e.entries[next].start
}

// EncodeLeaderEpochs returns the file's bytes.
func EncodeLeaderEpochs(entries []LeaderEpoch) []byte {
	data := appendTableHead(nil, len(entries))
	for _, entry := range entries {
		data = append(strconv.AppendInt(data, int64(entry.Epoch), 10), ' ')
		data = append(strconv.AppendInt(data, entry.Start, 10), '\n')
	}
	return data
}

// DecodeLeaderEpochs reads such bytes. The error is a [*CheckpointError];
// entries that do not ascend are one.
func DecodeLeaderEpochs(data []byte) ([]LeaderEpoch, error) {
	var entries []LeaderEpoch
	err := parseTable(data, 2, func(f [][]byte) string {
		epoch, ok1 := parseNumber(f[0], math.MaxInt32)
		start, ok2 := parseNumber(f[1], math.MaxInt64)
		if !ok1 || !ok2 {
			return "not an epoch and an offset"
		}
		entry := LeaderEpoch{int32(epoch), start}
		if n := len(entries); n > 0 && (entries[n-1].Epoch >= entry.Epoch || entries[n-1].Start >= entry.Start) {
			return "not above the line before"
		}
		entries = append(entries, entry)
		return ""
	})
	if err != nil {
		return nil, err
	}
	return entries, nil
}

// encode returns the bytes of the file.
func (e *epochs) encode() []byte {
	entries := make([]LeaderEpoch, len(e.entries))
	for i, entry := range e.entries {
		entries[i] = LeaderEpoch{entry.epoch, entry.start}
	}
	return EncodeLeaderEpochs(entries)
}

// sum is the checksum of the file as save writes it, never 0. The file itself
// has none; the watermark slot has room for it.
func (e *epochs) sum() uint32 { return LeaderEpochSum(e.encode()) }

// save replaces the file durably and atomically.
func (e *epochs) save(fsys vfs.FS, dir string) error {
	return vfs.WriteFile(fsys, filepath.Join(dir, LeaderEpochFile), e.encode())
}

// saveUnnamed is save without the sync of the directory, which the caller does.
func (e *epochs) saveUnnamed(fsys vfs.FS, dir string) error {
	return vfs.ReplaceFile(fsys, filepath.Join(dir, LeaderEpochFile), e.encode())
}

// load replaces the history by the file's. A missing file is an empty history;
// a damaged one gives a [*CheckpointError] and an empty history, to be rebuilt
// from the batches.
func (e *epochs) load(fsys vfs.FS, dir string) error {
	e.entries = nil
	path := filepath.Join(dir, LeaderEpochFile)
	data, err := vfs.ReadFile(fsys, path, maxCheckpointBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	entries, err := DecodeLeaderEpochs(data)
	if err != nil {
		return atPath(err, path)
	}
	for _, entry := range entries {
		e.entries = append(e.entries, epochEntry{entry.Epoch, entry.Start})
	}
	return nil
}
