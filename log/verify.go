package log

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/segment"
)

// What [Verify] finds beside the faults of segments.
const (
	// FaultMissing: segments, or all that led up to the durable watermark, are gone.
	FaultMissing segment.FaultKind = "missing"
	// FaultSlot: neither half of the watermark slot is whole: what was durable and where the log began is not known. A power
	// cut may leave it so soon after the log was first written to; the next open takes what is there for durable. Derived.
	FaultSlot segment.FaultKind = "slot"
	// FaultEpochs: the history of leader epochs is damaged or does not fit the batches. Derived.
	FaultEpochs segment.FaultKind = "epochs"
	// FaultSnapshot: a snapshot of producer state is damaged. Derived.
	FaultSnapshot segment.FaultKind = "snapshot"
	// FaultIdentity: the directory does not say whose it is, or that it is another topic's.
	FaultIdentity segment.FaultKind = "identity"
	// NoteSaved: bytes that a recovery or a repair cut out and kept aside. No fault.
	NoteSaved segment.FaultKind = "saved"
	// NoteSwap: a compaction was interrupted; the next open finishes it or takes it back. No fault.
	NoteSwap segment.FaultKind = "swap"
)

// VerifyOptions are what a log's files are held against.
type VerifyOptions struct {
	// TopicID is the topic that the directory should be of; zero: any.
	TopicID TopicID
	// Gaps says that offsets may have gaps, as after compaction.
	Gaps bool
	// From is the base offset of the first segment to read; those below it are left out. One behind them all is of a log that was here before:
	// then none is.
	From int64
	// Shallow leaves the records alone and checks what the checksums cover.
	Shallow bool
	// Begin, if set, is called before a segment is read. Its error ends the run.
	Begin func(base int64) error
	// Step, if set, is called as bytes of data files are passed, n at a time. Its error ends the run.
	Step func(n int64) error
}

// Verified is what [Verify] found.
type Verified struct {
	Dir        string
	Start, End int64 // offsets [Start, End) are there, but for the faults
	Segments   []segment.Checked
	Batches    int64
	Records    int64
	Bytes      int64
	Clean      bool            // the log was stopped in order
	Faults     []segment.Fault // everything that is wrong, file by file
	Notes      []segment.Fault // what is no damage: a torn tail, and derived files that do not fit the data
}

// Verify reads every file of a log's directory and holds each against the others. It changes nothing, goes on behind damage, needs no open
// log and may run beside one that is written: what changes meanwhile is looked at again. The error is one of the disk or of opt.Step, never
// damage.
func Verify(fsys vfs.FS, dir string, cfg *Config, opt VerifyOptions) (*Verified, error) {
	var v *verifier
	for range looks {
		v = &verifier{fs: fsys, dir: dir, cfg: cfg, opt: opt, out: &Verified{Dir: dir}}
		err := v.run()
		moved := false
		if err == nil && len(v.out.Faults) > 0 {
			moved, err = v.moved()
		}
		if err != nil {
			return nil, fmt.Errorf("verify %s: %w", dir, err)
		}
		if !moved {
			v.out.addDerived()
			return v.out, nil
		}
	}
	// Segments come and go faster than they are read: what seems missing may have been in any of them.
	v.out.Faults = slices.DeleteFunc(v.out.Faults, func(f segment.Fault) bool { return f.Kind == FaultMissing })
	v.out.addDerived()
	return v.out, nil
}

// ErrDerived is in the chain of notes about derived files that do not fit the data, or cannot be read.
var ErrDerived = errors.New("made anew from the data when it is needed")

// addDerived makes notes of what is wrong with derived files: as a power cut may leave them, they are no damage.
func (v *Verified) addDerived() {
	v.Faults = slices.DeleteFunc(v.Faults, func(f segment.Fault) bool {
		if !derived(&f) {
			return false
		}
		f.Err = fmt.Errorf("%w: %w", ErrDerived, f.Err)
		v.Notes = append(v.Notes, f)
		return true
	})
}

// derived tells faults of files that can be made again from sound data.
// A seal that is whole and contradicts the data is none: the data is not what was sealed.
func derived(f *Fault) bool {
	if f.Kind == segment.FaultSide && !errors.Is(f.Err, segment.ErrNoSide) {
		return false
	}
	return f.Derived() || f.Kind == FaultSlot || f.Kind == FaultEpochs || f.Kind == FaultSnapshot
}

// moved tells whether segments that were there have gone, or others have taken their places, since the directory was
// listed: retention, compaction and truncation do that. What is begun behind the last one does not count.
func (v *verifier) moved() (bool, error) {
	now := &verifier{fs: v.fs, dir: v.dir}
	if err := now.list(); err != nil {
		return false, err
	}
	if err := v.readSlotAgain(); err != nil {
		return false, err
	}
	return v.vanished || v.latest.start != v.slot.start || v.latest.durable < v.slot.durable || !slices.Equal(v.placed(v.bases), now.placed(v.bases)), nil
}

// placed is the names of the files of segments, marked ones too, up to the last of bases.
func (v *verifier) placed(bases []int64) (list []string) {
	for _, name := range v.names {
		if base, _, ok := segment.ParseName(name); ok && (len(bases) == 0 || base <= bases[len(bases)-1]) {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// verifier is a Verify in progress.
type verifier struct {
	fs        vfs.FS
	dir       string
	cfg       *Config
	opt       VerifyOptions
	out       *Verified
	names     []string
	bases     []int64
	swaps     []int64   // bases of segments that are about to take their places
	slot      slotState // as it was before the directory was listed
	latest    slotState // as it was when a segment was looked at last
	haveSlot  bool
	epochs    epochs
	haveFile  bool  // of epochs
	trusted   bool  // the history is what the slot says was saved
	led       bool  // another program may have led the partition, and
	returned  bool  // may have changed more than the last segment
	vanished  bool  // a segment had gone when its turn came
	strayed   int64 // offset of the first batch whose epoch is not in the history, -1 if none, and
	strayedTo int64 // behind the last such batch
}

func (v *verifier) run() error {
	for _, step := range []func() error{v.readSlot, v.list, v.readSmall, v.takeBack, v.checkHome, v.readSegments, v.chain} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// looks is how often a file that changed under the reader is looked at before what was found counts.
const looks = 4

func (v *verifier) list() (err error) {
	if v.names, err = v.fs.List(v.dir); err != nil {
		return err
	}
	for _, name := range v.names {
		switch base, kind, ok := segment.ParseName(name); {
		case ok && kind == segment.KindLog:
			v.bases = append(v.bases, base)
		case ok && kind == segment.KindLog|segment.Swap:
			v.swaps = append(v.swaps, base)
		}
	}
	slices.Sort(v.bases)
	if n := len(v.bases); n > 0 && v.opt.From > v.bases[n-1] {
		v.opt.From = 0
	}
	return nil
}

// readSlot reads the watermark. A write of it may be under way: damage is looked at again.
func (v *verifier) readSlot() error {
	var s slot
	for range looks {
		state, ok, err := s.open(v.fs, v.dir)
		if err != nil {
			return err
		}
		v.slot, v.latest, v.haveSlot = state, state, ok
		if s.damage == nil {
			break
		}
	}
	v.out.Clean = v.haveSlot && v.slot.clean
	switch {
	case s.damage == nil:
	case v.haveSlot:
		v.addFault(FaultSlot, SlotFile, fmt.Errorf("%w; the other half is whole", s.damage))
	default:
		v.fault(FaultSlot, SlotFile, s.damage)
	}
	return nil
}

func (v *verifier) fault(kind segment.FaultKind, name string, err error) {
	v.out.Faults = append(v.out.Faults, fileFault(kind, filepath.Join(v.dir, name), err))
}

func (v *verifier) addFault(kind segment.FaultKind, name string, err error) {
	v.out.Notes = append(v.out.Notes, fileFault(kind, filepath.Join(v.dir, name), err))
}

// fileFault is a fault of a file as a whole.
func fileFault(kind segment.FaultKind, path string, err error) segment.Fault {
	return segment.Fault{Kind: kind, Path: path, FirstOffset: noOffset, NextOffset: noOffset, Err: err}
}

// readSmall checks the files that are not data.
func (v *verifier) readSmall() error {
	identified := false
	for _, name := range v.names {
		_, kind, ok := segment.ParseName(name)
		var err error
		switch {
		case ok && kind == segment.KindSnapshot:
			err = v.decode(FaultSnapshot, name, func(data []byte) error {
				_, err := DecodeProducerSnapshot(data)
				return err
			})
		case ok && kind.Mark() == segment.Swap:
			v.addFault(NoteSwap, name, errors.New("a swap was interrupted; the next open finishes it"))
		case name == LeaderEpochFile:
			err = v.decode(FaultEpochs, name, v.takeEpochs)
		case name == PartitionMetadataFile:
			identified = true
			err = v.decode(FaultIdentity, name, v.takeIdentity)
		case strings.Contains(name, ".log.cut-"):
			v.addFault(NoteSaved, name, errors.New("bytes that a recovery cut off and saved aside"))
		}
		if err != nil {
			return err
		}
	}
	ours := slices.Contains(v.names, SlotFile) // another program's directory gets its name when it is first opened
	if !identified && ours && !v.opt.TopicID.IsZero() && len(v.bases) > 0 {
		v.fault(FaultIdentity, PartitionMetadataFile, fs.ErrNotExist)
	}
	return nil
}

// decode reads a small file and judges it. One that is gone meanwhile is no fault.
func (v *verifier) decode(kind segment.FaultKind, name string, judge func(data []byte) error) error {
	data, err := vfs.ReadFile(v.fs, filepath.Join(v.dir, name), maxSnapshotBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, vfs.ErrTooLarge):
		v.fault(kind, name, err)
		return nil
	case err != nil:
		return err
	}
	if err := judge(data); err != nil {
		v.fault(kind, name, err)
	}
	return nil
}

// takeEpochs takes the history of leader epochs in, after a clean stop only if it is what was saved.
func (v *verifier) takeEpochs(data []byte) error {
	list, err := DecodeLeaderEpochs(data)
	if err != nil {
		return err
	}
	var history []epochEntry
	for _, entry := range list {
		history = append(history, epochEntry{entry.Epoch, entry.Start})
	}
	sum := max(crc32c(data), 1)
	if v.slot.clean && v.slot.epochSum != 0 && sum != v.slot.epochSum && !v.slot.ledElsewhere(history) {
		return fmt.Errorf("checksum %08x, the slot has %08x", sum, v.slot.epochSum)
	}
	v.trusted = v.haveSlot && sum == v.slot.epochSum
	v.epochs.entries = history
	v.haveFile = true
	return nil
}

func (v *verifier) takeIdentity(data []byte) error {
	id, err := DecodePartitionMetadata(data)
	if err == nil && !v.opt.TopicID.IsZero() && id != v.opt.TopicID {
		err = fmt.Errorf("topic id %v, not %v", id, v.opt.TopicID)
	}
	return err
}
