package record

// MaxKeyless is how many positions of records without a key CheckRecords tells.
const MaxKeyless = 10

// RecordsInfo is what CheckRecords learns of a batch's records.
type RecordsInfo struct {
	// MaxTimestamp is the largest timestamp and MaxTimestampOffsetDelta the
	// offset delta of the first record that has it; NoTimestamp and -1 if no
	// record has a timestamp.
	MaxTimestamp            int64
	MaxTimestampOffsetDelta int32
	// MinTimestamp is the smallest timestamp; records without one do not count;
	// NoTimestamp if none has one.
	MinTimestamp int64
	// MissingTimestamps is the number of records without a timestamp.
	MissingTimestamps int
	// Keyless is the number of records without a key, KeylessIndexes the
	// positions (0 is the first record) of the first MaxKeyless of them. The
	// slice belongs to the Decoder and lives until its next use.
	Keyless        int
	KeylessIndexes []int
	// Contiguous tells that the offset deltas are 0, 1, 2, ... and that the last
	// of them is the batch's LastOffsetDelta.
	Contiguous bool
}

// CheckRecords walks all records of the batch once and tells what a leader needs
// to know before it appends them. d provides the memory, so that in a steady state
// nothing is allocated; limit is as for Decoder.Reset. Offset deltas must ascend.
// Errors are those of Decoder: *CorruptError, or one matching ErrTooLarge. With
// LogAppendTime the timestamps are still those the producer wrote.
func (b Batch) CheckRecords(d *Decoder, limit int) (RecordsInfo, error) {
	if err := d.Reset(b, limit); err != nil {
		return RecordsInfo{}, err
	}
	return d.inspect()
}

// inspect is the walk of CheckRecords.
func (d *Decoder) inspect() (RecordsInfo, error) {
	in := RecordsInfo{
		MaxTimestamp:            NoTimestamp,
		MaxTimestampOffsetDelta: -1,
		MinTimestamp:            NoTimestamp,
		KeylessIndexes:          d.keyless[:0],
		Contiguous:              true,
	}
	d.fixed = false
	last := int64(-1)
	r := Record{Headers: d.headerBuf}
	for n := 0; d.Next(&r); n++ {
		delta := r.Offset - d.baseOffset
		if delta <= last {
			d.fail(d.pos, "offsets do not ascend")
			break
		}
		in.Contiguous = in.Contiguous && delta == last+1
		last = delta
		in.addTimestamp(r.Timestamp, int32(delta))
		if r.Key == nil {
			in.addKeyless(n)
		}
	}
	in.Contiguous = in.Contiguous && last == d.lastDelta
	d.keyless = in.KeylessIndexes
	d.headerBuf = r.Headers[:0]
	return in, d.err
}

func (in *RecordsInfo) addTimestamp(ts int64, delta int32) {
	if ts == NoTimestamp {
		in.MissingTimestamps++
		return
	}
	if ts > in.MaxTimestamp {
		in.MaxTimestamp, in.MaxTimestampOffsetDelta = ts, delta
	}
	if in.MinTimestamp == NoTimestamp || ts < in.MinTimestamp {
		in.MinTimestamp = ts
	}
}

func (in *RecordsInfo) addKeyless(n int) {
	in.Keyless++
	if len(in.KeylessIndexes) < MaxKeyless {
		in.KeylessIndexes = append(in.KeylessIndexes, n)
	}
}
