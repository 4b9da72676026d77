package record

import (
	"github.com/quirelog/quire/compress"
)

// Codec is a batch's compression, see package compress.
type Codec = compress.Codec

// CheckLevel reports whether a codec knows a level; see [compress.CheckLevel].
func CheckLevel(c Codec, level int) error { return compress.CheckLevel(c, level) }

// Recompress returns a new batch with the same records, producer and timestamps
// in another codec, its base offset 0 as from a producer. limit bounds the
// decompressed size, as in [Decoder.Reset]. The new batch is the caller's.
func Recompress(b Batch, c Codec, level, limit int) (Batch, error) {
	out := NewBuilder(BuilderConfig{
		Codec: c, Level: level,
		HasProducer: b.ProducerID() >= 0, ProducerID: b.ProducerID(),
		ProducerEpoch: b.ProducerEpoch(), BaseSequence: b.BaseSequence(),
		Transactional: b.Transactional(),
	})
	var d Decoder
	if err := d.Reset(b, limit); err != nil {
		return nil, err
	}
	var r Record
	for d.Next(&r) {
		if err := out.Add(&r); err != nil {
			return nil, err
		}
	}
	if err := d.Err(); err != nil {
		return nil, err
	}
	return out.Seal()
}
