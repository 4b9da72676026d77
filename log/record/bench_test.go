package record

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/quirelog/quire/compress"
)

// benchRecords gives n records whose values have size bytes.
func benchRecords(n, size int, headers ...Header) []Record {
	rs := make([]Record, n)
	for i := range rs {
		rs[i] = Record{
			Timestamp: 1_700_000_000_000 + int64(i),
			Key:       []byte(fmt.Sprintf("key-%04d", i)),
			Value:     bytes.Repeat([]byte{byte('a' + i%26)}, size-8),
			Headers:   headers,
		}
	}
	return rs
}

func mustSeal(tb testing.TB, cfg BuilderConfig, rs []Record) Batch {
	tb.Helper()
	b := NewBuilder(cfg)
	for i := range rs {
		if err := b.Add(&rs[i]); err != nil {
			tb.Fatal(err)
		}
	}
	batch, err := b.Seal()
	if err != nil {
		tb.Fatal(err)
	}
	return batch
}

func perRecord(b *testing.B, n int) {
	b.ReportAllocs()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/record")
}

var twoHeaders = []Header{{"trace", []byte("0123456789abcdef")}, {"type", []byte("order")}}

func BenchmarkDecoder(b *testing.B) {
	for _, size := range []int{100, 1000} {
		for name, hs := range map[string][]Header{"": nil, "+2headers": twoHeaders} {
			b.Run(fmt.Sprintf("%dB%s", size, name), func(b *testing.B) {
				batch := mustSeal(b, BuilderConfig{}, benchRecords(1000, size, hs...))
				var d Decoder
				var r Record
				b.SetBytes(int64(len(batch)))
				for b.Loop() {
					if err := d.Reset(batch, 0); err != nil {
						b.Fatal(err)
					}
					for d.Next(&r) {
					}
				}
				perRecord(b, 1000)
			})
		}
	}
}

func BenchmarkCheckAndDecode(b *testing.B) {
	for _, size := range []int{100, 1000} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			batch := mustSeal(b, BuilderConfig{}, benchRecords(1000, size))
			var d Decoder
			var r Record
			b.SetBytes(int64(len(batch)))
			for b.Loop() {
				if err := batch.Check(); err != nil {
					b.Fatal(err)
				}
				if err := d.Reset(batch, 0); err != nil {
					b.Fatal(err)
				}
				for d.Next(&r) {
				}
			}
			perRecord(b, 1000)
		})
	}
}

func BenchmarkCheckRecords(b *testing.B) {
	for _, size := range []int{100, 1000} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			batch := mustSeal(b, BuilderConfig{}, benchRecords(1000, size))
			var d Decoder
			for b.Loop() {
				if _, err := batch.CheckRecords(&d, 0); err != nil {
					b.Fatal(err)
				}
			}
			perRecord(b, 1000)
		})
	}
}

func BenchmarkBuilder(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		for _, size := range []int{100, 1000} {
			b.Run(fmt.Sprintf("%dx%dB", n, size), func(b *testing.B) {
				rs := benchRecords(n, size)
				bld := NewBuilder(BuilderConfig{})
				for b.Loop() {
					bld.Reset(BuilderConfig{})
					for i := range rs {
						if err := bld.Add(&rs[i]); err != nil {
							b.Fatal(err)
						}
					}
					if _, err := bld.Seal(); err != nil {
						b.Fatal(err)
					}
				}
				b.SetBytes(int64(bld.Len()))
				perRecord(b, n)
			})
		}
	}
}

// BenchmarkMemcpy is the floor of BenchmarkBuilder: the same keys and values
// copied, and a checksum.
func BenchmarkMemcpy(b *testing.B) {
	for _, size := range []int{100, 1000} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			rs := benchRecords(1000, size)
			buf := make([]byte, 0, 1<<21)
			for b.Loop() {
				buf = buf[:HeaderSize]
				for i := range rs {
					buf = append(buf, rs[i].Key...)
					buf = append(buf, rs[i].Value...)
				}
				_ = Batch(buf).checksum()
			}
			perRecord(b, 1000)
		})
	}
}

func BenchmarkCompressed(b *testing.B) {
	for _, c := range []compress.Codec{compress.Gzip, compress.Snappy, compress.LZ4, compress.Zstd} {
		rs := benchRecords(1000, 100)
		b.Run("build/"+c.String(), func(b *testing.B) {
			bld := NewBuilder(BuilderConfig{Codec: c})
			for b.Loop() {
				bld.Reset(BuilderConfig{Codec: c})
				for i := range rs {
					_ = bld.Add(&rs[i])
				}
				_, _ = bld.Seal()
			}
			perRecord(b, 1000)
		})
		b.Run("decode/"+c.String(), func(b *testing.B) {
			batch := mustSeal(b, BuilderConfig{Codec: c}, rs)
			var d Decoder
			var r Record
			for b.Loop() {
				_ = d.Reset(batch, 0)
				for d.Next(&r) {
				}
			}
			perRecord(b, 1000)
		})
	}
}
