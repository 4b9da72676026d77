package log

// The watermark slot: quire's own file beside a log's segments, "quire.slot". It
// says how far the log was on disk when it was last written, which tells a torn
// tail (above) from rot (below), and whether the log was closed in order.
//
// The file has 1024 bytes: two sectors of 512 bytes with a slot of 80 bytes at
// the beginning of each, the rest zeros that nobody reads. All integers are big-endian.
//
//	 0  4  magic "QSLT"
//	 4  2  version, 1
//	 6  2  flags: bit 0 clean stop, bit 1 the active segment's offsets may have gaps,
//	       bit 2 a truncation to durable is under way, bit 3 no producer id below durable,
//	       bit 4 no transaction below durable
//	 8  8  sequence: one more for each write; the greater of two whole slots holds
//	16  8  durable: every offset below is on disk
//	24  8  base offset of the segment that holds durable, durable itself at its start
//	32  4  position in that segment's file that belongs to durable
//	36  4  checksum of the leader-epoch-checkpoint file (its CRC-32C, 1 for 0); 0: not told
//	40  8  log start offset
//	48  8  high watermark
//	56  4  leader epoch, -1 none
//	60 16  topic id, zeros for none
//	76  4  CRC-32C of bytes 0 to 75
//
// Behind each slot, in the same sector and written with it, stands what the active
// segment's index files held, so that a recovery can tell whether to trust them:
//
//	80  4  length of the offset index    84  4  its CRC-32C
//	88  4  length of the time index      92  4  its CRC-32C
//	96  8  sequence of the slot
//
//	104 4  CRC-32C of bytes 80 to 103; damaged or zero: the indexes are made again
//
// and behind that, of which partition the log is, by the name of its directory:
//
//	108 4  partition    112 4  the lower half of the slot's sequence
//	116 4  CRC-32C of bytes 108 to 115; damaged or zero: not told
//
// Magic, version and checksum stay where they are in every later version, so
// that an older program knows a newer slot from a damaged one.
//
// A write is one pwrite into one sector. Until the next sync all writes go to the
// same sector, so the other one always holds a state that is on disk: a power
// cut can tear one slot, never both.
//
// Calls, all under one mutex:
//
//	s.open(fs, dir)   reads the newer whole slot; creates and changes nothing
//	s.write(state)    one pwrite, no sync (but see settle)
//	s.sync()          makes the last write durable, and at first the file's name
//	s.close()         gives the descriptor back; write and sync open it again
//
// After open, s.damage tells of slots that were there but broken.

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path/filepath"

	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/segment"
)

// SlotFile is the name of the watermark slot's file in a partition's directory.
const SlotFile = "quire.slot"

const (
	slotVersion  = 1
	slotSize     = 80
	slotSector   = 512
	slotFileSize = 2 * slotSector
	slotNoteSize = 28 // the note on the indexes behind it
	slotHomeSize = 12 // the note on the partition behind that
	slotSumAt    = 76
	slotMagic    = 0x51534c54 // "QSLT"

	slotClean  = 1 << 0
	slotSparse = 1 << 1
	slotCut    = 1 << 2

	slotAnonymous = 1 << 3
	slotPlain     = 1 << 4
	slotFlags     = slotClean | slotSparse | slotCut | slotAnonymous | slotPlain
)

// ErrNewerFormat: a file was written by a newer version of this program, or
// of Kafka; nothing was changed.
var ErrNewerFormat = errors.New("log: file of a newer format")

// slotState is what a slot says.
type slotState struct {
	durable     int64  // every offset below is on disk; with truncating, the log's end to be
	segmentBase int64  // of the segment that durable lies in
	position    int64  // of durable in that segment's file, below 4 GiB
	start       int64  // log start offset
	high        int64  // high watermark
	leaderEpoch int32  // -1 none
	epochSum    uint32 // epochs.sum of the saved history; 0: not told
	topicID     [16]byte
	partition   int32              // -1 not told
	clean       bool               // the log was closed in order and nothing was written since
	sparse      bool               // offsets of the active segment may have gaps
	anonymous   bool               // no batch below durable has a producer id: nothing to replay there
	plain       bool               // no batch below durable is part of a transaction
	indexes     *segment.IndexSums // what the index files of the segment hold; nil: not known
	truncating  bool               // a truncation to durable is under way and has to be done again
}

// fault names the field that cannot be.
func (st *slotState) fault() string {
	switch {
	case st.durable < 0:
		return fmt.Sprintf("durable offset %d", st.durable)
	case st.segmentBase < 0:
		return fmt.Sprintf("segment base %d", st.segmentBase)
	case st.position < 0 || st.position > math.MaxUint32:
		return fmt.Sprintf("position %d", st.position)
	case st.start < 0 || st.high < 0:
		return fmt.Sprintf("log start %d, high watermark %d", st.start, st.high)
	case st.leaderEpoch < noEpoch:
		return fmt.Sprintf("leader epoch %d", st.leaderEpoch)
	}
	return ""
}

func (st *slotState) flags() (flags uint16) {
	if st.clean {
		flags |= slotClean
	}
	if st.anonymous {
		flags |= slotAnonymous
	}
	if st.plain {
		flags |= slotPlain
	}
	if st.sparse {
		flags |= slotSparse
	}
	if st.truncating {
		flags |= slotCut
	}
	return flags
}

// encode fills the 80 bytes of b.
func (st *slotState) encode(b []byte, sequence uint64) {
	be := binary.BigEndian
	be.PutUint32(b, slotMagic)
	be.PutUint16(b[4:], slotVersion)
	be.PutUint16(b[6:], st.flags())
	be.PutUint64(b[8:], sequence)
	be.PutUint64(b[16:], uint64(st.durable))
	be.PutUint64(b[24:], uint64(st.segmentBase))
	be.PutUint32(b[32:], uint32(st.position))
	be.PutUint32(b[36:], st.epochSum)
	be.PutUint64(b[40:], uint64(st.start))
	be.PutUint64(b[48:], uint64(st.high))
	be.PutUint32(b[56:], uint32(st.leaderEpoch))
	copy(b[60:slotSumAt], st.topicID[:])
	be.PutUint32(b[slotSumAt:], crc32c(b[:slotSumAt]))
}

// read is the inverse of encode for bytes whose frame is known to be whole.
func (st *slotState) read(b []byte) (sequence uint64) {
	be := binary.BigEndian
	flags := be.Uint16(b[6:])
	*st = slotState{
		durable: int64(be.Uint64(b[16:])), segmentBase: int64(be.Uint64(b[24:])),
		position: int64(be.Uint32(b[32:])), epochSum: be.Uint32(b[36:]),
		start: int64(be.Uint64(b[40:])), high: int64(be.Uint64(b[48:])),
		leaderEpoch: int32(be.Uint32(b[56:])), topicID: [16]byte(b[60:slotSumAt]), partition: segment.UnknownPartition,
		anonymous: flags&slotAnonymous != 0, plain: flags&slotPlain != 0,
		clean: flags&slotClean != 0, sparse: flags&slotSparse != 0, truncating: flags&slotCut != 0,
	}
	return be.Uint64(b[8:])
}

// encodeExtra fills the bytes behind the slot.
func (st *slotState) encodeExtra(b []byte, sequence uint64) {
	b = b[:slotNoteSize]
	clear(b)
	w := st.indexes
	if w == nil {
		return
	}
	be := binary.BigEndian
	be.PutUint32(b, uint32(w.OffsetsLen))
	be.PutUint32(b[4:], w.OffsetsCRC)
	be.PutUint32(b[8:], uint32(w.TimesLen))
	be.PutUint32(b[12:], w.TimesCRC)
	be.PutUint64(b[16:], sequence)
	be.PutUint32(b[24:], crc32c(b[:24]))
}

// readExtra is the inverse of encodeExtra; a note that is damaged or belongs to another
// slot is no note.
func (st *slotState) readExtra(b []byte, sequence uint64) {
	be := binary.BigEndian
	if len(b) < slotNoteSize || be.Uint64(b[16:]) != sequence || be.Uint32(b[24:]) != crc32c(b[:24]) {
		return
	}
	st.indexes = &segment.IndexSums{
		OffsetsLen: int64(be.Uint32(b)), OffsetsCRC: be.Uint32(b[4:]),
		TimesLen: int64(be.Uint32(b[8:])), TimesCRC: be.Uint32(b[12:]),
	}
}

// decodeSlot reads a slot. A sequence of 0 without an error means that it was
// never written. The error matches ErrNewerFormat for a whole slot of a later
// version or with an unknown flag.
func decodeSlot(b []byte) (st slotState, sequence uint64, err error) {
	if len(b) < slotSize {
		return st, 0, fmt.Errorf("%d bytes of %d", len(b), slotSize)
	}
	b = b[:slotSize]
	if allZero(b) {
		return st, 0, nil
	}
	if err := checkSlotFrame(b); err != nil {
		return st, 0, err
	}
	sequence = st.read(b)
	reason := st.fault()
	if sequence == 0 || sequence == math.MaxUint64 { // no write has the one, none can follow the other
		reason = fmt.Sprintf("sequence %d", sequence)
	}
	if reason != "" {
		return slotState{}, 0, errors.New(reason)
	}
	return st, sequence, nil
}

// checkSlotFrame checks magic and checksum, then version and flags.
func checkSlotFrame(b []byte) error {
	be := binary.BigEndian
	if be.Uint32(b) != slotMagic {
		return errors.New("wrong magic")
	}
	if be.Uint32(b[slotSumAt:]) != crc32c(b[:slotSumAt]) {
		return errors.New("checksum mismatch")
	}
	version, flags := be.Uint16(b[4:]), be.Uint16(b[6:])
	switch {
	case version > slotVersion || version == slotVersion && flags&^slotFlags != 0:
		return fmt.Errorf("%w: version %d, flags %#x", ErrNewerFormat, version, flags)
	case version != slotVersion:
		return fmt.Errorf("version %d", version)
	}
	return nil
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// SlotError tells what is wrong with a watermark slot; it matches [ErrCorrupt]
// or [ErrNewerFormat].
type SlotError struct {
	Path  string
	Slot  int // 0 or 1
	Cause error
}

func (e *SlotError) Error() string {
	return fmt.Sprintf("log: %s: slot %d: %v", e.Path, e.Slot, e.Cause)
}

// Is reports whether target is [ErrCorrupt]; a newer format is no corruption.
func (e *SlotError) Is(target error) bool {
	return target == ErrCorrupt && !errors.Is(e.Cause, ErrNewerFormat)
}

// Unwrap returns what is wrong.
func (e *SlotError) Unwrap() error { return e.Cause }

// slot is a log's watermark slot. The zero value wants open.
type slot struct {
	fs   vfs.FS
	dir  string
	file vfs.File // nil while closed
	buf  []byte   // of one write, kept while file is open

	sequence uint64 // the greatest written or read
	target   int    // the slot that writes go to
	exists   bool   // the file is there
	unnamed  bool   // its directory entry may not be durable, as after a kill
	unsynced bool   // the newest slot may not be on disk
	settled  bool   // the slot that is not the target is on disk, or there is none
	damage   error  // what open found broken, nil if nothing
	failed   error  // a sync failed: what is on disk is unknown for good
}

// open reads the newer whole slot. ok is false when there is none: a new log,
// one that Kafka wrote, or two broken slots (s.damage is set then). One broken
// slot beside a whole one is what a power cut leaves; s.damage tells of it. An
// error that matches ErrNewerFormat must keep the log from being opened.
func (s *slot) open(fsys vfs.FS, dir string) (state slotState, ok bool, err error) {
	*s = slot{fs: fsys, dir: dir, settled: true}
	data, err := readSlots(fsys, s.path())
	if errors.Is(err, fs.ErrNotExist) {
		return slotState{}, false, nil
	}
	if err != nil {
		return slotState{}, false, err
	}
	s.exists = true
	if len(data) == 0 { // created, and nothing written before the end
		return slotState{}, false, nil
	}
	for i := range 2 {
		st, sequence, err := decodeSlot(data[min(i*slotSector, len(data)):])
		if errors.Is(err, ErrNewerFormat) {
			return slotState{}, false, &SlotError{s.path(), i, err}
		}
		if err != nil {
			s.damage = errors.Join(s.damage, &SlotError{s.path(), i, err})
			continue
		}
		if sequence > s.sequence {
			state, ok = st, true
			state.readExtra(data[min(i*slotSector+slotSize, len(data)):], sequence)
			state.readHome(data[min(i*slotSector+slotSize+slotNoteSize, len(data)):], sequence)
			s.sequence, s.target, s.settled, s.unnamed = sequence, 1-i, false, !st.clean
		}
	}
	return state, ok, nil
}

func (s *slot) path() string { return filepath.Join(s.dir, SlotFile) }

// readSlots reads at most the two sectors.
func readSlots(fsys vfs.FS, path string) ([]byte, error) {
	file, err := fsys.OpenRead(path)
	if err != nil {
		return nil, err
	}
	data, err := readHead(file, slotFileSize)
	return data, errors.Join(err, file.Close())
}

func readHead(file vfs.File, limit int64) ([]byte, error) {
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	data := make([]byte, min(size, limit))
	n, err := file.ReadAt(data, 0)
	if n == len(data) || errors.Is(err, io.EOF) {
		return data[:n], nil
	}
	return nil, err
}

// write replaces the older slot, or the one written since the last sync, by one
// pwrite. It does not wait for the disk, but for the first write after an open
// that found a slot, which settles that one. After an error the state on disk is
// still whole and write may be tried again, unless a sync failed.
func (s *slot) write(state slotState) error {
	if s.failed != nil {
		return s.failed
	}
	if reason := state.fault(); reason != "" {
		return errors.New("log: watermark slot: " + reason)
	}
	if err := s.attach(); err != nil {
		return err
	}
	if err := s.settle(); err != nil {
		return err
	}
	at := s.target * slotSector
	state.encode(s.buf, s.sequence+1)
	state.encodeExtra(s.buf[slotSize:], s.sequence+1)
	state.encodeHome(s.buf[slotSize+slotNoteSize:], s.sequence+1)
	if _, err := s.file.WriteAt(s.buf, int64(at)); err != nil {
		return err
	}
	s.sequence++
	s.unsynced = true
	vfs.Yield(s.file) // a partition that is appended to holds the descriptor of its data
	return nil
}

// settle makes sure that the slot read by open is on disk before the other one
// is overwritten: after a kill it may have been in the page cache only.
func (s *slot) settle() error {
	if s.settled {
		return nil
	}
	if err := s.flush(); err != nil {
		return err
	}
	s.settled = true
	return nil
}

// sync makes the last write durable; the next write goes to the other slot. It
// does nothing when there is nothing to do. A failed sync is final: later calls
// of write and sync return its error.
func (s *slot) sync() error {
	if s.failed != nil || !s.unsynced && !s.unnamed {
		return s.failed
	}
	if err := s.attach(); err != nil {
		return err
	}
	if err := s.flush(); err != nil {
		return err
	}
	if s.unnamed {
		if err := s.fs.SyncDir(s.dir); err != nil {
			s.failed = err
			return err
		}
		s.unnamed = false
	}
	if s.unsynced {
		s.unsynced, s.settled, s.target = false, true, 1-s.target
	}
	return nil
}

func (s *slot) flush() error {
	if err := s.file.Sync(); err != nil {
		s.failed = err
		return err
	}
	return nil
}

// attach opens the file, and creates it when there is none.
func (s *slot) attach() error {
	if s.file != nil {
		return nil
	}
	file, err := s.openFile()
	if err != nil {
		return err
	}
	s.file = file
	if s.buf == nil {
		s.buf = make([]byte, slotSize+slotNoteSize+slotHomeSize)
	}
	return nil
}

func (s *slot) openFile() (vfs.File, error) {
	if s.exists {
		return s.fs.Open(s.path())
	}
	file, err := s.fs.Create(s.path())
	if errors.Is(err, fs.ErrExist) {
		file, err = s.fs.Open(s.path())
	}
	if err != nil {
		return nil, err
	}
	s.exists, s.unnamed = true, true
	// Its full size from the start, so that later syncs have no new size to store.
	if _, err := file.WriteAt(make([]byte, slotFileSize), 0); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// close gives the descriptor back. It does not sync.
func (s *slot) close() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file, s.buf = nil, nil
	return err
}
