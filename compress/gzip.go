package compress

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// gzipWriters holds idle compressors by level (index 1 to 9). They hold memory
// only (I3).
var gzipWriters [gzip.BestCompression + 1]sync.Pool

// gzipReaders holds idle decompressors together with their input.
var gzipReaders sync.Pool

// gzipDefault is the level that zlib, and so Kafka, takes for -1.
const gzipDefault = 6

// gzipWriter is a compressor and the slice it appends to.
type gzipWriter struct {
	w   *gzip.Writer
	out appender
}

// gzipReader is a decompressor and the bytes it reads.
type gzipReader struct {
	r   gzip.Reader
	src bytes.Reader
}

// appender is an io.Writer that appends to a slice.
type appender struct{ b []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.b = append(a.b, p...)
	return len(p), nil
}

func encodeGzip(dst, src []byte, level int) ([]byte, error) {
	if level == DefaultLevel || level == -1 {
		level = gzipDefault
	}
	g, _ := gzipWriters[level].Get().(*gzipWriter)
	if g == nil {
		w, err := gzip.NewWriterLevel(nil, level)
		if err != nil {
			return dst, err
		}
		g = &gzipWriter{w: w}
	}
	g.out.b = dst
	g.w.Reset(&g.out)
	_, err := g.w.Write(src)
	if err == nil {
		err = g.w.Close()
	}
	out := g.out.b
	g.out.b = nil
	gzipWriters[level].Put(g)
	if err != nil {
		return dst, err
	}
	return out, nil
}

func decodeGzip(dst, src []byte, limit int) ([]byte, error) {
	err := gunzip(src, limit, func(r io.Reader) (err error) {
		dst, err = readAll(dst, r, len(src), limit)
		return err
	})
	return dst, err
}

func sizeGzip(src []byte, limit int) (n int, err error) {
	err = gunzip(src, limit, func(r io.Reader) (err error) {
		n, err = discard(r, limit)
		return err
	})
	return n, err
}

// gunzip lets f read the decompressed input.
func gunzip(src []byte, limit int, f func(io.Reader) error) error {
	g, _ := gzipReaders.Get().(*gzipReader)
	if g == nil {
		g = new(gzipReader)
	}
	g.src.Reset(src)
	err := g.r.Reset(&g.src)
	if err == nil {
		err = f(&g.r)
	}
	g.src.Reset(nil)
	gzipReaders.Put(g)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrTooLarge):
		return tooLarge(Gzip, limit)
	}
	return corruptBy(Gzip, err)
}
