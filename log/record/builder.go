package record

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/quirelog/quire/compress"
)

// BuilderConfig says what kind of batch a Builder makes. The zero value makes
// uncompressed batches of a plain producer without a size limit.
type BuilderConfig struct {
	// Codec compresses the records when the batch is sealed.
	Codec compress.Codec
	// Level is the codec's level. Zero means compress.DefaultLevel (zstd's level
	// 0 is its default as well, and no other codec has a level 0).
	Level int
	// LimitBytes bounds Len: a record that would pass it gives ErrFull, except the
	// first of a batch. Zero means no limit but the format's.
	LimitBytes int
	// HasProducer says that the producer fields below count. A ProducerID above
	// zero says so too, since only the id 0 is in doubt.
	HasProducer   bool
	ProducerID    int64
	ProducerEpoch int16
	// BaseSequence is the first record's sequence number (ignored for Control).
	BaseSequence int32
	// Transactional marks the batch as part of a transaction.
	Transactional bool
	// Control marks the batch as one that holds a control record: it is never
	// compressed and has no sequence numbers.
	Control bool
	// TimestampType and AppendTime: with LogAppendTime the batch's maximum
	// timestamp is AppendTime; the records keep theirs.
	TimestampType TimestampType
	AppendTime    int64
	// DeleteHorizon, when above zero, becomes the base timestamp and sets the
	// attribute that says so. For compaction only.
	DeleteHorizon int64
}

// Builder encodes records into a batch. Records are written once, straight to
// their place behind the header; a compressed batch is then written once more,
// into a second buffer. Both buffers stay for the next batch, so that in a steady
// state nothing is allocated. One goroutine at a time. The zero value builds as the
// zero BuilderConfig says.
type Builder struct {
	cfg  BuilderConfig
	buf  []byte // header room and encoded records
	out  []byte // the compressed batch
	full Batch  // after Seal

	maxBuf    int // the most buf may hold, the first record excepted; 0 before Reset
	count     int32
	nextDelta int64
	lastDelta int32
	baseTime  int64
	maxTime   int64
}

// NewBuilder returns a builder for batches as cfg says.
func NewBuilder(cfg BuilderConfig) *Builder {
	b := new(Builder)
	b.Reset(cfg)
	return b
}

// Reset begins a new batch as cfg says. The batch that Seal returned before is
// overwritten by the next records.
func (b *Builder) Reset(cfg BuilderConfig) {
	if cfg.Control {
		cfg.Codec = compress.None
		cfg.BaseSequence = NoSequence
	}
	if cfg.Level == 0 {
		cfg.Level = compress.DefaultLevel
	}
	same := cfg.Codec == b.cfg.Codec && cfg.LimitBytes == b.cfg.LimitBytes
	b.cfg = cfg
	if !same || b.maxBuf == 0 {
		b.setLimit()
	}
	b.buf = slices.Grow(b.buf[:0], HeaderSize)[:HeaderSize]
	b.full = nil
	b.count, b.nextDelta, b.lastDelta = 0, 0, 0
	b.baseTime, b.maxTime = NoTimestamp, NoTimestamp
	if cfg.DeleteHorizon > 0 {
		b.baseTime = cfg.DeleteHorizon
	}
}

// UseBuffer makes the builder go on in buf, whose capacity should hold what was added so far, and returns the buffer
// that it used before. Not between Seal and Reset: the batch lies in the buffer.
func (b *Builder) UseBuffer(buf []byte) (before []byte) {
	before = b.buf
	b.buf = append(buf[:0], before...)
	return before[:0]
}

// TakeBuffer returns the builder's buffer, which is the caller's from now on, and with it the batch that Seal
// returned. The builder needs a Reset.
func (b *Builder) TakeBuffer() []byte {
	buf := b.buf
	b.buf, b.full = nil, nil
	return buf[:0]
}

// Count is the number of records added.
func (b *Builder) Count() int { return int(b.count) }

// Len is an upper bound of the size of the batch if it were sealed now.
func (b *Builder) Len() int {
	return HeaderSize + compress.MaxSize(b.cfg.Codec, len(b.buf)-HeaderSize)
}

// Codec is the codec of the batch.
func (b *Builder) Codec() Codec { return b.cfg.Codec }

// Buffered is the size of the header and the encoded records before compression.
func (b *Builder) Buffered() int { return len(b.buf) }

// Add appends r at the next offset. r's bytes are copied. Errors: ErrFull when
// the batch would pass LimitBytes, ErrTooLarge when the format cannot express the
// size, ErrInvalid for a negative timestamp other than NoTimestamp, ErrSealed. The
// builder is unchanged by an Add that fails.
func (b *Builder) Add(r *Record) error { return b.add(b.nextDelta, r) }

// AddAt is Add at a given distance from the batch's base offset, which must be
// above that of the record before: for batches that compaction has thinned out.
func (b *Builder) AddAt(delta int32, r *Record) error {
	if int64(delta) < b.nextDelta {
		return invalid("offset delta %d, at least %d expected", delta, b.nextDelta)
	}
	return b.add(int64(delta), r)
}

func (b *Builder) add(delta int64, r *Record) error {
	if b.full != nil {
		return ErrSealed
	}
	if r.Timestamp < NoTimestamp {
		return invalid("timestamp %d", r.Timestamp)
	}
	if b.maxBuf == 0 {
		b.Reset(BuilderConfig{})
	}
	base := b.baseTime
	if b.count == 0 && b.cfg.DeleteHorizon <= 0 {
		base = r.Timestamp
	}
	tsDelta, offDelta := zigzag(r.Timestamp-base), zigzag(delta)
	if !b.quick(tsDelta, offDelta, r) {
		if err := b.careful(tsDelta, offDelta, r); err != nil {
			return err
		}
	}
	b.count++
	b.lastDelta = int32(delta)
	b.nextDelta = delta + 1
	b.baseTime = base
	b.maxTime = max(b.maxTime, r.Timestamp)
	return nil
}

// setLimit computes maxBuf: how long buf may get so that the sealed batch is
// within LimitBytes even if nothing compresses.
func (b *Builder) setLimit() {
	switch limit := b.cfg.LimitBytes; {
	case limit <= 0 || limit > math.MaxInt32:
		b.maxBuf = math.MaxInt32
	case b.cfg.Codec == compress.None:
		b.maxBuf = limit
	default:
		b.maxBuf = max(1, sort.Search(limit, func(n int) bool {
			return HeaderSize+compress.MaxSize(b.cfg.Codec, n+1-HeaderSize) > limit
		}))
	}
}

// SetLastOffsetDelta raises the last offset delta that Seal writes: a batch that
// compaction has thinned out keeps the offsets it once covered.
func (b *Builder) SetLastOffsetDelta(delta int32) error {
	if b.full != nil {
		return ErrSealed
	}
	if int64(delta) < b.nextDelta-1 || delta < 0 {
		return invalid("last offset delta %d, at least %d expected", delta, b.nextDelta-1)
	}
	b.lastDelta = delta
	b.nextDelta = int64(delta) + 1
	return nil
}

// Seal ends the batch and returns it: base offset 0, leader epoch NoLeaderEpoch,
// checksum set. The bytes belong to the builder until Reset; until then Seal
// returns the same batch again and Add fails. A batch without records cannot be
// sealed (ErrInvalid). Other errors: ErrTooLarge, and those of compress.Encode.
func (b *Builder) Seal() (Batch, error) {
	if b.full != nil {
		return b.full, nil
	}
	if b.count == 0 {
		return nil, invalid("a batch without records")
	}
	out := b.buf
	if b.cfg.Codec != compress.None {
		var err error
		if out, err = b.compress(); err != nil {
			return nil, err
		}
	}
	b.full = Batch(out[:len(out):len(out)])
	b.putHeader(b.full)
	return b.full, nil
}

// compress writes the compressed batch to the second buffer.
func (b *Builder) compress() ([]byte, error) {
	b.out = slices.Grow(b.out[:0], HeaderSize)[:HeaderSize]
	out, err := compress.Encode(b.out, b.buf[HeaderSize:], b.cfg.Codec, b.cfg.Level)
	if err != nil {
		return nil, err
	}
	b.out = out
	if len(out) > math.MaxInt32 {
		return nil, fmt.Errorf("%w: batch of %d bytes", ErrTooLarge, len(out))
	}
	return out, nil
}

func (b *Builder) putHeader(p Batch) {
	p.SetBaseOffset(0)
	binary.BigEndian.PutUint32(p[posLength:], uint32(len(p)-LogOverhead))
	p.SetLeaderEpoch(NoLeaderEpoch)
	p[posMagic] = Magic
	binary.BigEndian.PutUint16(p[posAttributes:], b.attributes())
	binary.BigEndian.PutUint32(p[posLastDelta:], uint32(b.lastDelta))
	binary.BigEndian.PutUint64(p[posBaseTimestamp:], uint64(b.baseTime))
	maxTime := b.maxTime
	if b.cfg.TimestampType == LogAppendTime {
		maxTime = b.cfg.AppendTime
	}
	binary.BigEndian.PutUint64(p[posMaxTimestamp:], uint64(maxTime))
	if b.cfg.HasProducer || b.cfg.ProducerID > 0 {
		p.putProducer(b.cfg.ProducerID, b.cfg.ProducerEpoch, b.cfg.BaseSequence)
	} else {
		p.putProducer(NoProducer, NoProducerEpoch, NoSequence)
	}
	binary.BigEndian.PutUint32(p[posCount:], uint32(b.count))
	p.updateCRC()
}

func (b *Builder) attributes() uint16 {
	attrs := uint16(b.cfg.Codec)
	if b.cfg.TimestampType == LogAppendTime {
		attrs |= attrLogAppendTime
	}
	if b.cfg.Transactional {
		attrs |= attrTransactional
	}
	if b.cfg.Control {
		attrs |= attrControl
	}
	if b.cfg.DeleteHorizon > 0 {
		attrs |= attrDeleteHorizon
	}
	return attrs
}
