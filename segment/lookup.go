package segment

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/quirelog/quire/index"
	"github.com/quirelog/quire/log/vfs"
)

// tableBytes bounds what is read of an index file.
const tableBytes = 1 << 30

func readTable(fsys vfs.FS, path string) ([]byte, error) { return vfs.ReadFile(fsys, path, tableBytes) }

// around looks an offset up in the offset index, which is made again if it is damaged.
func (s *Segment) around(offset int64) (index.Around, error) {
	a, err := s.offsets.Around(offset)
	if err != nil {
		if err = s.reindex(err); err == nil {
			a, err = s.offsets.Around(offset)
		}
	}
	return a, err
}

// atPos looks a position up in the offset index.
func (s *Segment) atPos(pos int64) (index.Around, error) {
	a, err := s.offsets.AtPos(pos)
	if err != nil {
		if err = s.reindex(err); err == nil {
			a, err = s.offsets.AtPos(pos)
		}
	}
	return a, err
}

// timeFloor looks a timestamp up in the time index.
func (s *Segment) timeFloor(ts int64) (offset int64, err error) {
	_, offset, err = s.times.Floor(ts)
	if err != nil {
		if err = s.reindex(err); err == nil {
			_, offset, err = s.times.Floor(ts)
		}
	}
	return offset, err
}

// strayed notes that an index entry led nowhere although the data is sound. A sealed segment's indexes are made again at once, an active
// one's when it is sealed; until then reads that meet the entry start from the file's beginning.
func (s *Segment) strayed() {
	s.stray.Store(true)
	if s.sealed.Load() {
		_ = s.reindex(index.ErrCorrupt)
	}
}

// checkSparse compares the batch headers of a sealed segment whose offsets have gaps with the side file's header sum, once per open: where
// offsets may jump, a damaged base offset shows in no other way.
func (s *Segment) checkSparse() error {
	if s.checked.Load() {
		return nil
	}
	s.repair.Lock()
	defer s.repair.Unlock()
	f := s.look()
	if s.checked.Load() || f.partial {
		return nil
	}
	out, err := s.scan(f.size, headersOnly)
	if err != nil {
		return err
	}
	// A base offset that is too large makes the batch behind it look misplaced: which of the two is wrong only the sum could tell.
	if errors.Is(out.damage, errOutOfOrder) || out.damage == nil && (out.facts.headerSum != f.headerSum || out.facts.batches != f.batches) {
		return s.headersDiffer(&f)
	}
	// Other damage has a place and is told by whoever reads there.
	s.checked.Store(true)
	return nil
}

// AbortedTxn is one aborted transaction, see package index.
type AbortedTxn = index.AbortedTxn

// IndexBudget bounds the memory of sealed indexes, see package index.
type IndexBudget = index.Budget

// NewIndexBudget makes a budget of so many bytes.
func NewIndexBudget(bytes int64) *IndexBudget { return index.NewBudget(bytes) }

// ErrIndexCorrupt is matched by the error of Aborted when the index has to be made again by SetAborted.
var ErrIndexCorrupt = index.ErrCorrupt

// AddAborted notes an aborted transaction: the producer's records in [first, last] with its abort marker, which lies in this segment, at
// last; stable is the last stable offset then. The writer calls it in the order of the markers.
func (s *Segment) AddAborted(producerID, first, last, stable int64) error {
	return s.aborted.Add(AbortedTxn{ProducerID: producerID, FirstOffset: first, LastOffset: last, LastStable: stable})
}

// InvalidateAborted says that the index of aborted transactions may lack entries. Until SetAborted makes it anew, [Segment.Aborted] asks for that,
// also after the segment was sealed and opened again.
func (s *Segment) InvalidateAborted() { s.abortedInvalid.Store(true) }

// AbortedInvalid reports whether InvalidateAborted was called, or Unseal found the index damaged, and SetAborted was not called since.
func (s *Segment) AbortedInvalid() bool { return s.abortedInvalid.Load() }

// Aborted appends to dst the aborted transactions that concern offsets in [from, to), as far as this segment's index knows. complete says
// that no later segment knows more. An error that matches [ErrIndexCorrupt] asks for SetAborted: the segment alone cannot make this index
// again.
func (s *Segment) Aborted(dst []AbortedTxn, from, to int64) (list []AbortedTxn, complete bool, err error) {
	if err := s.ready(); err != nil {
		return dst, false, err
	}
	if s.abortedInvalid.Load() {
		return dst, false, fmt.Errorf("%w: %s may lack entries", ErrIndexCorrupt, s.path(KindTxnIndex, s.mark()))
	}
	return s.aborted.Collect(dst, from, to)
}

// SetAborted replaces the aborted-transaction index, for instance after a recovery, whose Visit tells the markers. The entries are in the
// order of their markers.
func (s *Segment) SetAborted(list []AbortedTxn) error {
	if err := s.ready(); err != nil {
		return err
	}
	var data []byte
	for _, txn := range list {
		data = index.AppendAborted(data, txn)
	}
	if n := index.CheckAborted(data, s.base, s.Next()); n < len(data) {
		return index.ErrOrder
	}
	if !s.sealed.Load() {
		return s.replaceAborted(data, false)
	}
	s.repair.Lock()
	defer s.repair.Unlock()
	if s.parting() {
		return s.replaceAborted(data, false)
	}
	id, err := s.TopicID()
	if err != nil && !errors.Is(err, ErrNoSide) && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := s.replaceAborted(data, true); err != nil {
		return err
	}
	return s.writeSide(id)
}

func (s *Segment) replaceAborted(data []byte, write bool) error {
	err := s.aborted.Replace(data, write)
	s.abortedInvalid.Store(false) // in memory it is whole
	return err
}
