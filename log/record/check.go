package record

import (
	"fmt"
	"math"

	"github.com/quirelog/quire/compress"
)

// Check tells whether the batch is valid: CheckHeader, then the checksum. It
// does not look into the records. Errors are *CorruptError.
func (b Batch) Check() error {
	if err := b.CheckHeader(); err != nil {
		return err
	}
	if want := b.checksum(); want != b.CRC() {
		return b.corrupt(posCRC, fmt.Sprintf("checksum is %08x, bytes have %08x", b.CRC(), want))
	}
	return nil
}

// CheckHeader tells whether the header is one that a log may hold, without
// reading past it: length, version, attributes, offsets, counts and producer
// fields each in range and in agreement. Errors are *CorruptError.
func (b Batch) CheckHeader() error {
	if len(b) < HeaderSize {
		return &CorruptError{BaseOffset: -1, Reason: fmt.Sprintf("%d bytes are less than a header", len(b))}
	}
	if length := int64(be32(b, posLength)); length != int64(len(b))-LogOverhead {
		return b.corrupt(posLength, fmt.Sprintf("length %d in a batch of %d bytes", length, len(b)))
	}
	if b.Magic() != Magic {
		return b.corrupt(posMagic, fmt.Sprintf("magic %d instead of %d", b.Magic(), Magic))
	}
	if err := b.checkAttributes(); err != nil {
		return err
	}
	if err := b.checkOffsets(); err != nil {
		return err
	}
	return b.checkProducer()
}

func (b Batch) checkAttributes() error {
	if b.Attributes()&attrUnused != 0 {
		return b.corrupt(posAttributes, fmt.Sprintf("unknown attributes %#04x", uint16(b.Attributes())))
	}
	if !b.Codec().Valid() {
		return b.corrupt(posAttributes, fmt.Sprintf("unknown compression %d", int8(b.Codec())))
	}
	return nil
}

func (b Batch) checkOffsets() error {
	base, delta, count := b.BaseOffset(), b.LastOffsetDelta(), b.Count()
	switch {
	case base < 0:
		return b.corrupt(posBaseOffset, "negative base offset")
	case delta < 0:
		return b.corrupt(posLastDelta, fmt.Sprintf("negative last offset delta %d", delta))
	case base > math.MaxInt64-1-int64(delta):
		return b.corrupt(posLastDelta, "last offset beyond the largest offset")
	case count < 0:
		return b.corrupt(posCount, fmt.Sprintf("negative record count %d", count))
	case int64(count) > int64(delta)+1:
		return b.corrupt(posCount, fmt.Sprintf("%d records in %d offsets", count, int64(delta)+1))
	case b.Codec() == compress.None && count > len(b.Records())/minRecordSize:
		return b.corrupt(posCount, fmt.Sprintf("%d records in %d bytes", count, len(b.Records())))
	case b.Codec() == compress.None && count == 0 && len(b) > HeaderSize:
		return b.corrupt(posCount, "bytes in a batch without records")
	}
	return nil
}

func (b Batch) checkProducer() error {
	switch {
	case b.ProducerID() < NoProducer:
		return b.corrupt(posProducerID, fmt.Sprintf("producer id %d", b.ProducerID()))
	case b.ProducerEpoch() < NoProducerEpoch:
		return b.corrupt(posProducerEpoch, fmt.Sprintf("producer epoch %d", b.ProducerEpoch()))
	case b.BaseSequence() < NoSequence:
		return b.corrupt(posBaseSequence, fmt.Sprintf("base sequence %d", b.BaseSequence()))
	case b.ProducerID() >= 0 && b.ProducerEpoch() < 0:
		return b.corrupt(posProducerEpoch, "producer id without epoch")
	}
	return nil
}

// corrupt makes the error for a fault at byte pos of the header.
func (b Batch) corrupt(pos int, reason string) error {
	return &CorruptError{BaseOffset: b.BaseOffset(), Pos: pos, Reason: reason}
}

// CheckClient tells whether a client may append the batch, as far as its header
// says, after Check: a base offset of 0, at least one record and no gap, no
// control batch, a sequence number and no missing producer where one is needed, and
// no delete horizon. Errors match ErrInvalid. (Kafka's leader checks the same; keys,
// timestamps and sizes depend on the topic's settings: see CheckRecords.)
func (b Batch) CheckClient() error {
	count := int64(b.Count())
	switch {
	case b.BaseOffset() != 0:
		return invalid("base offset %d instead of 0", b.BaseOffset())
	case count == 0:
		return invalid("a batch without records")
	case count != int64(b.LastOffsetDelta())+1:
		return invalid("%d records in %d offsets", count, int64(b.LastOffsetDelta())+1)
	case b.Control():
		return invalid("a control batch")
	case b.ProducerID() >= 0 && b.BaseSequence() < 0:
		return invalid("producer %d without a sequence number", b.ProducerID())
	case b.Transactional() && b.ProducerID() < 0:
		return invalid("a transaction without a producer")
	case b.HasDeleteHorizon():
		return invalid("a delete horizon")
	}
	return nil
}
