package topic

import "sync"

// smallestBuffer is what a batch begins with on a lane whose batches stay small.
const smallestBuffer = 1 << 10

// bufferSlack is what a buffer has beyond its size: a builder writes a few bytes behind the last record.
const bufferSlack = 64

// bufferPool keeps the buffers of batches for the next ones. Their sizes are powers of two up to that of a full batch,
// so that a batch holds little more memory than it needs, and is charged with, however many lanes have one open.
type bufferPool struct {
	largest int // a full batch
	most    int // bytes kept

	mu   sync.Mutex
	kept int
	free map[int][][]byte // by size
}

func newBufferPool(largest int, most int64) *bufferPool {
	return &bufferPool{largest: largest, most: int(most), free: map[int][][]byte{}}
}

// round is the size of the buffer for n bytes. What is larger than a full batch is kept by none.
func (p *bufferPool) round(n int) int {
	if n > p.largest {
		return n
	}
	size := min(smallestBuffer, p.largest)
	for size < n {
		size *= 2
	}
	return min(size, p.largest)
}

// take gives an empty buffer of a size that round has told.
func (p *bufferPool) take(size int) []byte {
	p.mu.Lock()
	list := p.free[size]
	if n := len(list) - 1; n >= 0 {
		b := list[n]
		list[n] = nil
		p.free[size] = list[:n]
		p.kept -= size
		p.mu.Unlock()
		return b
	}
	p.mu.Unlock()
	return make([]byte, 0, size+bufferSlack)
}

// give takes a buffer back, unless it is of none of the sizes.
func (p *bufferPool) give(b []byte) {
	size := cap(b) - bufferSlack
	if size <= 0 || size > p.largest || p.round(size) != size {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.makeRoomLocked(size)
	if p.kept+size <= p.most {
		p.kept += size
		p.free[size] = append(p.free[size], b[:0])
	}
}

// makeRoomLocked lets go of buffers of other sizes: batches may have become larger, or smaller, for good.
func (p *bufferPool) makeRoomLocked(size int) {
	for other, list := range p.free {
		for n := len(list); other != size && n > 0 && p.kept+size > p.most; n-- {
			list[n-1] = nil
			p.free[other] = list[:n-1]
			p.kept -= other
		}
	}
}
