package record

// Resume makes the decoder read count records of an uncompressed batch from the
// middle: head is the batch's header (its first HeaderSize bytes at least), part
// its bytes from the begin of one of its records on. part may end inside a record
// as long as count leaves that one out. What Next and Err say of the end of the
// batch does not count here: stop after count records. The rules of Reset about
// borrowed bytes hold.
func (d *Decoder) Resume(head Batch, part []byte, count int) {
	d.baseOffset = head.BaseOffset()
	d.baseTimestamp = head.BaseTimestamp()
	d.lastDelta = int64(head.LastOffsetDelta())
	d.appendTime = head.MaxTimestamp()
	d.fixed = head.TimestampType() == LogAppendTime
	d.data, d.pos, d.left, d.err = part, 0, count, nil
}

// Pos is the position in the batch's records, from HeaderSize on and after
// decompression, of the record that Next reads next.
func (d *Decoder) Pos() int { return d.pos }

// Skip steps over up to n records by their lengths alone and returns over how many. It looks at nothing else of them, so it is for a batch
// whose checksum is known to be right; it stops early at a record that is not of the usual shape, which Next decides about.
func (d *Decoder) Skip(n int) int {
	p, i, done := d.data, d.pos, 0
	for done < n && done < d.left && len(p)-i >= 8 {
		length, width := short(load64(p, i))
		end := i + width + int(length>>1)
		if width == 0 || length&1 != 0 || end > len(p) {
			break
		}
		i = end
		done++
	}
	d.pos, d.left = i, d.left-done
	return done
}
