package record

import (
	"bytes"
	"errors"
	"testing"

	"github.com/quirelog/quire/compress"
)

// seedBatches are the golden vectors and batches of every codec.
func seedBatches(tb testing.TB) []Batch {
	tb.Helper()
	var out []Batch
	for _, s := range []string{goldenOne, goldenTwo, goldenCommit, goldenEmpty} {
		out = append(out, unhex(tb, s))
	}
	rs := append(variety()[:5:5], variety()[6:]...) // without the largest
	for _, c := range allCodecs {
		out = append(out, bytes.Clone(mustSeal(tb, BuilderConfig{Codec: c}, rs)))
	}
	return out
}

// known reports whether err is in the package's vocabulary.
func known(err error) bool {
	return errors.Is(err, ErrCorrupt) || errors.Is(err, ErrTooLarge) || errors.Is(err, ErrIncomplete)
}

// readAll takes a batch apart in both ways and checks that they agree.
func readAll(t *testing.T, b Batch) ([]Record, error) {
	rs, err := tryRecords(b)
	if err != nil && !known(err) {
		t.Fatalf("foreign error: %v", err)
	}
	var d Decoder
	in, checkErr := b.CheckRecords(&d, 1<<20)
	if checkErr == nil && err != nil {
		t.Fatalf("CheckRecords passes what the decoder refuses: %v", err)
	}
	if checkErr == nil && in.Contiguous && (len(rs) != b.Count() || int64(len(rs)) != int64(b.LastOffsetDelta())+1) {
		t.Fatalf("contiguous with %d records of %d", len(rs), b.Count())
	}
	return rs, err
}

// rebuild encodes records as they were decoded and compares.
func rebuild(t *testing.T, b Batch, rs []Record) {
	bld := NewBuilder(BuilderConfig{Codec: b.Codec()})
	for i := range rs {
		delta := rs[i].Offset - b.BaseOffset()
		if rs[i].Timestamp < NoTimestamp || delta < bld.nextDelta {
			return // more than the builder writes
		}
		if err := bld.AddAt(int32(delta), &rs[i]); err != nil {
			t.Fatalf("what was decoded does not encode: %v", err)
		}
	}
	if bld.Count() == 0 {
		return
	}
	again, err := bld.Seal()
	if err != nil {
		t.Fatal(err)
	}
	again.SetBaseOffset(b.BaseOffset())
	if err := again.Check(); err != nil {
		t.Fatal(err)
	}
	rs2, err := tryRecords(again)
	if err != nil || len(rs2) != len(rs) {
		t.Fatalf("%d records again are %d: %v", len(rs), len(rs2), err)
	}
	for i := range rs {
		if !same(&rs[i], &rs2[i]) {
			t.Fatalf("record %d: %+v again is %+v", i, rs[i], rs2[i])
		}
	}
}

func same(a, b *Record) bool {
	if a.Offset != b.Offset || a.Timestamp != b.Timestamp || !sameBytes(a.Key, b.Key) || !sameBytes(a.Value, b.Value) || len(a.Headers) != len(b.Headers) {
		return false
	}
	for i := range a.Headers {
		if a.Headers[i].Key != b.Headers[i].Key || !sameBytes(a.Headers[i].Value, b.Headers[i].Value) {
			return false
		}
	}
	return true
}

func sameBytes(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

// FuzzBatch gives arbitrary bytes to everything that reads a run of batches.
func FuzzBatch(f *testing.F) {
	for _, b := range seedBatches(f) {
		f.Add([]byte(b))
		f.Add([]byte(b[:len(b)-1]))
		f.Add(append(bytes.Clone(b), unhex(f, goldenTwo)...))
	}
	f.Fuzz(func(t *testing.T, run []byte) {
		if pos := Resync(run, 0); pos >= 0 {
			if b, err := First(run[pos:]); err != nil || b.Check() != nil {
				t.Fatalf("no batch at %d", pos)
			}
		}
		for b, err := range Batches(run) {
			if err != nil {
				if !known(err) {
					t.Fatalf("foreign error: %v", err)
				}
				return
			}
			_ = b.Check()
			_ = b.CheckClient()
			_, _, _ = ParseControl(b)
			if rs, err := readAll(t, b); err == nil && b.CheckHeader() == nil {
				rebuild(t, b, rs)
			}
		}
	})
}

// FuzzDecoder gives arbitrary records to a batch whose header and checksum are in
// order, so that the fuzzer need not guess them.
func FuzzDecoder(f *testing.F) {
	for _, b := range seedBatches(f) {
		f.Add(b.Records(), b.Count(), byte(b.Codec()))
	}
	for _, m := range malformed {
		f.Add(hexBytes(f, m.bytes), m.count, byte(compress.None))
	}
	f.Fuzz(func(t *testing.T, payload []byte, count int, codec byte) {
		count = int(uint16(count))
		b := put(withPayload(count, payload), posAttributes, 2, int64(codec%5))
		if rs, err := readAll(t, b); err == nil && b.Check() == nil {
			rebuild(t, b, rs)
		}
	})
}
