package segment

import (
	"errors"
	"hash/crc32"
	"slices"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
)

// The checksum of a batch does not cover its first 17 bytes: base offset, length, leader epoch and magic. Damage there loses nothing: what
// lies around the batch says what they were, and the checksum of the rest, the batch behind and the sum in the side file say whether it is so.

// repairBytes bounds the damage that is looked through for batches with a damaged header.
const repairBytes = 64 << 20

// repaired gives the whole batches that damaged bytes turn out to be once their headers are put right; nil when they are not. They hold the
// offsets from first on, and end at next.
func repaired(data []byte, first, next int64) []byte {
	whole := make([]byte, 0, len(data))
	for len(whole) < len(data) && !(len(whole) > 0 && allZero(data[len(whole):])) { // zeros behind it were written ahead
		b := repairedBatch(data[len(whole):], first)
		if b == nil {
			return nil
		}
		first = b.NextOffset()
		whole = append(whole, b...)
	}
	if first != next {
		return nil
	}
	return whole
}

// repairedBatch puts the header of the batch at the beginning of data right.
func repairedBatch(data []byte, first int64) record.Batch {
	if len(data) < record.HeaderSize {
		return nil
	}
	for _, n := range lengths(data) {
		if b := withHeader(data[:n], first); b != nil {
			return b
		}
	}
	return nil
}

// rewrite is a Salvage in progress: the data file as it will be, one piece after the other.
type rewrite struct {
	s       *Segment // of the damaged files
	opt     SalvageOptions
	checked *Checked
	side    *side // nil when there is no sound one
	f       vfs.File
	out     *Salvaged
	pieces  []piece
	// epochOf, if set, says which leader epochs the batches get.
	epochOf epochLookup
}

// piece is a stretch of the new data file: bytes [pos, end) of the old one, or those in data that take their place.
type piece struct {
	pos, end int64
	data     []byte // nil: as they are; empty: left out
}

// plan decides what becomes of each stretch.
func (r *rewrite) plan() error {
	at := int64(0)
	for i := range r.checked.Faults {
		f := &r.checked.Faults[i]
		if f.Kind != FaultData {
			if f.Kind == FaultGap {
				r.lose(*f)
			}
			continue
		}
		r.pieces = append(r.pieces, piece{pos: at, end: f.Pos})
		data, err := r.repair(f)
		if err != nil {
			return err
		}
		if data == nil {
			data = []byte{}
			r.lose(*f)
		} else {
			r.out.Mended = append(r.out.Mended, *f)
		}
		r.pieces = append(r.pieces, piece{f.Pos, f.End, data})
		at = f.End
	}
	r.pieces = append(r.pieces, piece{pos: at, end: r.checked.Size})
	return r.settleHeaders()
}

func (r *rewrite) lose(f Fault) { r.out.Lost = append(r.out.Lost, f) }

// repair tries to put right what a fault covers.
func (r *rewrite) repair(f *Fault) ([]byte, error) {
	var records *badRecords
	if n := f.End - f.Pos; n <= 0 || n > repairBytes || errors.As(f.Err, &records) {
		return nil, nil
	}
	data := make([]byte, f.End-f.Pos)
	if n, err := r.f.ReadAt(data, f.Pos); n < len(data) {
		return nil, err
	}
	return repaired(data, f.FirstOffset, f.NextOffset), nil
}

// settleHeaders compares the headers as they will be with the sum in the side file: as they are, and with the leader epochs put right by
// their history, or by the batches around them.
func (r *rewrite) settleHeaders() error {
	if r.opt.Stamp {
		r.epochOf = r.opt.Epoch
		r.out.Mended = append(r.out.Mended, r.headers(errEpochs))
		return nil
	}
	if r.side == nil || r.side.facts.partial || len(r.out.Lost) > 0 {
		return nil
	}
	for _, guess := range [...]func() (epochLookup, error){r.asTheyAre, r.byHistory, r.byNeighbours} {
		of, err := guess()
		if err != nil {
			return err
		}
		r.epochOf = of
		if sum, err := r.headerSum(); err != nil {
			return err
		} else if sum == r.side.facts.headerSum {
			if of != nil {
				r.out.Mended = append(r.out.Mended, r.headers(errEpochs))
			}
			return nil
		}
	}
	r.epochOf = nil
	r.lose(r.headers(errors.New("batch headers do not match the sum in the side file, and nothing tells which")))
	return nil
}

// epochLookup tells which leader epoch wrote an offset.
type epochLookup = func(offset int64) (epoch int32, ok bool)

func (r *rewrite) asTheyAre() (epochLookup, error) { return nil, nil }
func (r *rewrite) byHistory() (epochLookup, error) { return r.opt.Epoch, nil }

// byNeighbours takes an epoch that falls, or that the batch behind falls back from, for a damaged one: epochs of a log only rise.
func (r *rewrite) byNeighbours() (epochLookup, error) {
	r.epochOf = nil
	var bases []int64
	var epochs []int32
	err := r.each(func(b record.Batch) error {
		bases, epochs = append(bases, b.BaseOffset()), append(epochs, b.LeaderEpoch())
		return nil
	})
	before := int32(-1)
	for i, epoch := range epochs {
		if i+1 < len(epochs) && epoch > epochs[i+1] && before <= epochs[i+1] || epoch < before {
			if i == 0 {
				before = epochs[1]
			}
			epochs[i] = before
		}
		before = epochs[i]
	}
	return func(offset int64) (int32, bool) {
		i, found := slices.BinarySearch(bases, offset)
		if !found {
			return 0, false
		}
		return epochs[i], true
	}, err
}

func (r *rewrite) headerSum() (sum uint32, err error) {
	err = r.each(func(b record.Batch) error {
		sum = crc32.Update(sum, castagnoli, b[:headerSumBytes])
		return nil
	})
	return sum, err
}

var errEpochs = errors.New("leader epochs differ from their history")

func (r *rewrite) headers(err error) Fault {
	return Fault{Kind: FaultHeaders, Path: r.s.Path(), End: r.checked.Size, FirstOffset: r.checked.Base, NextOffset: r.checked.Next, Err: err}
}

// each gives the batches of the new data file in order; each is good during the call.
func (r *rewrite) each(f func(b record.Batch) error) error {
	for _, p := range r.pieces {
		var err error
		if p.data != nil {
			err = r.eachOf(p.data, f)
		} else {
			err = r.eachIn(p.pos, p.end, f)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *rewrite) eachOf(data []byte, f func(b record.Batch) error) error {
	for b, err := range record.Batches(data) {
		if err == nil {
			err = f(r.stamped(b))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *rewrite) eachIn(pos, end int64, f func(b record.Batch) error) error {
	for c := newScanner(r.f, pos, end); c.pos < end; {
		b, err := c.next()
		if err == nil {
			err = f(r.stamped(b))
		}
		if err != nil {
			return err
		}
		c.skip(len(b))
	}
	return nil
}

// stamped is the batch with the leader epoch that it should have.
func (r *rewrite) stamped(b record.Batch) record.Batch {
	if r.epochOf == nil {
		return b
	}
	epoch, ok := r.epochOf(b.BaseOffset())
	if !ok || epoch == b.LeaderEpoch() {
		return b
	}
	b = append(record.Batch(nil), b...)
	b.SetLeaderEpoch(epoch)
	return b
}
