package segment

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/quirelog/quire/log/vfs"
)

// benchDir is on a real disk: QUIRE_BENCH_DIR or the test's own.
func benchDir(b *testing.B) string {
	if d := os.Getenv("QUIRE_BENCH_DIR"); d != "" {
		d = filepath.Join(d, fmt.Sprintf("segment-%d", os.Getpid()))
		b.Cleanup(func() { _ = vfs.RemoveAll(vfs.OS(), d) })
		_ = vfs.RemoveAll(vfs.OS(), d)
		_ = vfs.OS().MkdirAll(d)
		return d
	}
	return b.TempDir()
}

func BenchmarkDurableAppend(b *testing.B) {
	for _, size := range []int{100, 10000, 100000} {
		batch := makeBatch(b, 0, 1, 5, size)
		for _, ahead := range []int64{0, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20} {
			b.Run(fmt.Sprintf("batch=%d/ahead=%dKiB", size, ahead>>10), func(b *testing.B) {
				s, err := Create(vfs.OS(), benchDir(b), 0, &Config{PreWrite: ahead})
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(len(batch)))
				b.ResetTimer()
				for range b.N {
					batch.SetBaseOffset(s.Next())
					if err := s.Append(batch); err != nil {
						b.Fatal(err)
					}
					if err := s.Sync(); err != nil {
						b.Fatal(err)
					}
				}
				b.StopTimer()
				_ = s.Close()
			})
		}
	}
}

// BenchmarkAppend compares an append with the bare write of the same bytes.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{100, 10000} {
		batch := makeBatch(b, 0, 1, 5, size)
		b.Run(fmt.Sprintf("batch=%d/segment", size), func(b *testing.B) {
			s, err := Create(vfs.OS(), benchDir(b), 0, &Config{})
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			for range b.N {
				batch.SetBaseOffset(s.Next())
				if err := s.Append(batch); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			_ = s.Close()
		})
		b.Run(fmt.Sprintf("batch=%d/raw", size), func(b *testing.B) {
			f, err := vfs.OS().Create(filepath.Join(benchDir(b), "raw"))
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(batch)))
			for i := range b.N {
				if _, err := f.WriteAt(batch, int64(i)*int64(len(batch))); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			_ = f.Close()
		})
	}
}

// BenchmarkReadRandom compares a look-up and read of one batch with the bare read of its bytes.
func BenchmarkReadRandom(b *testing.B) {
	for _, size := range []int{100, 1000, 3000, 100000} {
		s, err := Create(vfs.OS(), benchDir(b), 0, &Config{})
		if err != nil {
			b.Fatal(err)
		}
		batch := makeBatch(b, 0, 1, 5, size)
		for s.Size() < 256<<20 {
			batch.SetBaseOffset(s.Next())
			if err := s.Append(batch); err != nil {
				b.Fatal(err)
			}
		}
		count, buf := s.Next(), make([]byte, 1<<20)
		b.Run(fmt.Sprintf("batch=%d/segment", size), func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				run, _, err := s.Read(buf, Place{rand.Int64N(count), -1}, count, 1)
				if err != nil || len(run) != len(batch) {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("batch=%d/raw", size), func(b *testing.B) {
			f, _ := s.data()
			for range b.N {
				if _, err := f.ReadAt(buf[:len(batch)], rand.Int64N(count)*int64(len(batch))); err != nil {
					b.Fatal(err)
				}
			}
		})
		_ = s.Unlink()
	}
}

func BenchmarkReadSequential(b *testing.B) {
	s, err := Create(vfs.OS(), benchDir(b), 0, &Config{})
	if err != nil {
		b.Fatal(err)
	}
	batch := makeBatch(b, 0, 10, 5, 100)
	for s.Size() < 256<<20 {
		batch.SetBaseOffset(s.Next())
		if err := s.Append(batch); err != nil {
			b.Fatal(err)
		}
	}
	buf := make([]byte, 1<<20)
	b.Run("segment", func(b *testing.B) {
		b.SetBytes(s.Size())
		b.ReportAllocs()
		for range b.N {
			for place := (Place{0, -1}); place.Offset < s.Next(); {
				if _, place, err = s.Read(buf, place, s.Next(), 1<<20); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("raw", func(b *testing.B) {
		f, _ := s.data()
		b.SetBytes(s.Size())
		for range b.N {
			for pos := int64(0); pos < s.Size(); pos += 1 << 20 {
				_, _ = f.ReadAt(buf, pos)
			}
		}
	})
	b.Run("recover", func(b *testing.B) {
		b.SetBytes(s.Size())
		for range b.N {
			r, _, err := Recover(vfs.OS(), s.dir, 0, &Config{}, RecoverOptions{})
			if err != nil {
				b.Fatal(err)
			}
			_ = r.Close()
		}
	})
	_ = s.Unlink()
}

// BenchmarkFollow is a reader that takes each batch as soon as it was appended: from memory, and from the file as one that comes late.
func BenchmarkFollow(b *testing.B) {
	batch := makeBatch(b, 0, 1, 5, 100)
	for _, from := range []string{"memory", "file"} {
		b.Run(from, func(b *testing.B) {
			s, err := Create(vfs.OS(), benchDir(b), 0, &Config{})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			var buf []byte
			var reading time.Duration
			at := Place{0, -1}
			b.ReportAllocs()
			for range b.N {
				batch.SetBaseOffset(s.Next())
				if err := s.Append(batch); err != nil {
					b.Fatal(err)
				}
				if from == "file" {
					s.recent.forget()
				}
				began := time.Now()
				if buf, at, err = s.Read(buf, at, s.Next(), 1<<20); err != nil || len(buf) != len(batch) {
					b.Fatal(err)
				}
				reading += time.Since(began)
			}
			b.ReportMetric(float64(reading.Nanoseconds())/float64(b.N), "ns/read")
		})
	}
}
