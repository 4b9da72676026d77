package fetch

import "github.com/quirelog/quire/log/record"

// Decoder is what a [Source] makes records with: the batch's decoder, and memory for what the records hold.
type Decoder struct {
	record.Decoder
	Slab
	Scratch record.Record
	From    int64 // the first offset wanted; the source moves it behind each record that it has made
	Until   int64 // no record at or after it is wanted
}

// Decode appends the records of c's run to dst until dst holds want records or the run is used up; the last
// batch may bring more than wanted. The position moves with it. Everything in dst is owned: one array of
// records and one slab of bytes a call, however many batches there are.
func (f *Fetcher[R]) Decode(c *Cursor[R], dst []R, want int) ([]R, error) {
	had := len(dst)
	dst = f.prepare(dst, want-had)
	dst, err := f.decodeRun(c, dst, want)
	f.decoder.Slab = Slab{} // its memory is the caller's
	c.src.Fetched(0, len(dst)-had)
	return dst, err
}

func (f *Fetcher[R]) decodeRun(c *Cursor[R], dst []R, want int) ([]R, error) {
	d := &f.decoder
	for len(dst) < want && !c.Finished() {
		b, ok, err := f.Take(c)
		if err != nil || !ok {
			return dst, err
		}
		d.From, d.Until = c.Pos, c.Until
		if dst, err = c.src.Decode(d, b, dst); err != nil {
			c.Pos = d.From
			f.run, f.owner = nil, nil // the batch is looked at again, from the first record not decoded
			at := max(c.Pos, b.BaseOffset())
			c.Next = c.Pos
			c.rewind()
			return dst, c.damaged(at, b.NextOffset(), err)
		}
		c.Pos = min(c.Next, c.Until)
	}
	return dst, nil
}

// prepare sizes array and slab for the batches that will be decoded, by their headers. The headers are only
// believed as far as their batches' bytes allow.
func (f *Fetcher[R]) prepare(dst []R, want int) []R {
	records, bytes := 0, 0
	for rest := f.run; len(rest) > 0 && records < want; {
		b, err := record.First(rest)
		if err != nil {
			break
		}
		rest = rest[len(b):]
		if b.Control() {
			continue
		}
		size := len(b.Records())
		records += min(max(b.Count(), 0), size)
		if b.Codec() != 0 {
			size *= 3
		}
		bytes += size
	}
	f.decoder.size = bytes
	if room := cap(dst) - len(dst); room >= records {
		return dst
	}
	grown := make([]R, len(dst), len(dst)+records)
	copy(grown, dst)
	return grown
}
