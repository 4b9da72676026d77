package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/segment"
)

// ForeignError says that a file is not where it was written; it matches [ErrCorrupt].
type ForeignError = segment.ForeignError

// encodeHome fills the bytes behind the note.
func (st *slotState) encodeHome(b []byte, sequence uint64) {
	b = b[:slotHomeSize]
	clear(b)
	if st.partition < 0 {
		return
	}
	be := binary.BigEndian
	be.PutUint32(b, uint32(st.partition))
	be.PutUint32(b[4:], uint32(sequence))
	be.PutUint32(b[8:], crc32c(b[:8]))
}

// readHome is the inverse of encodeHome.
func (st *slotState) readHome(b []byte, sequence uint64) {
	be := binary.BigEndian
	if len(b) >= slotHomeSize && be.Uint32(b[4:]) == uint32(sequence) && be.Uint32(b[8:]) == crc32c(b[:8]) && int32(be.Uint32(b)) >= 0 {
		st.partition = int32(be.Uint32(b))
	}
}

// foreignSlot holds a slot against the directory that it lies in.
func foreignSlot(dir string, st *slotState) error {
	own := segment.PartitionOf(dir)
	if own == segment.UnknownPartition || st.partition == segment.UnknownPartition || st.partition == own {
		return nil
	}
	return &ForeignError{Path: filepath.Join(dir, SlotFile), First: noOffset, Next: noOffset, Reason: fmt.Sprintf("of partition %d", st.partition)}
}

// foreignFiles holds the segments at bases against the directory that they lie in, and tells of each that is foreign. st is
// what the slot says, nil if there is none.
func foreignFiles(fsys vfs.FS, dir string, bases []int64, id TopicID, st *slotState, tell func(*ForeignError)) error {
	missing := int64(noOffset)
	if st != nil && st.durable > st.segmentBase && !slices.Contains(bases, st.segmentBase) {
		missing = st.segmentBase
	}
	for _, base := range bases {
		err := segment.CheckPlace(fsys, dir, base, id, missing)
		var foreign *ForeignError
		switch {
		case errors.As(err, &foreign):
			tell(foreign)
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	return nil
}

// checkHome refuses a directory, or a segment, that was written for another place: what it holds are other records than
// the caller asks for. Nothing has been changed: files that were moved back are as they were.
func (o *opener) checkHome() error {
	var faults []error
	var st *slotState
	if o.haveSlot {
		st = &o.slot
		faults = append(faults, foreignSlot(o.l.dir, st))
	}
	err := foreignFiles(o.l.fs, o.l.dir, o.bases, sealedFor(o.cfg.TopicID, o.ledElsewhere()), st, func(f *ForeignError) { faults = append(faults, f) })
	return errors.Join(append(faults, err)...)
}

// checkHome tells of the same.
func (v *verifier) checkHome() error {
	tell := func(f *ForeignError) {
		fault := fileFault(FaultIdentity, f.Path, f)
		fault.FirstOffset, fault.NextOffset = f.First, f.Next
		v.out.Faults = append(v.out.Faults, fault)
	}
	var foreign *ForeignError
	var st *slotState
	if v.haveSlot {
		st = &v.slot
		if errors.As(foreignSlot(v.dir, st), &foreign) {
			tell(foreign)
		}
	}
	return foreignFiles(v.fs, v.dir, v.bases, sealedFor(v.opt.TopicID, v.led), st, tell)
}

// sealedFor is the topic id that seals are held against, zero for any: a broker that led the partition has given it the id of its own topic, which
// the seals do not know.
func sealedFor(id TopicID, ledElsewhere bool) TopicID {
	if ledElsewhere {
		return TopicID{}
	}
	return id
}
