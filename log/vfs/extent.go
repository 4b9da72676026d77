package vfs

import "io"

const (
	// chunkBytes is the unit of memory of a file in Mem. Chunks hold no pointers
	// and are never moved, so a growing file copies nothing.
	chunkBytes = 64 << 10
	// seedBytes is what a small file starts with; its first chunk doubles until
	// it is full-sized, so ten thousand tiny files stay tiny.
	seedBytes = 512
)

// extent is the content of a file in chunks. Nil and short chunks are zero bytes.
//
// Invariant: every byte of a chunk at or beyond size is zero, so growing the size
// uncovers zeros.
type extent struct {
	size   int64
	chunks [][]byte
}

// readAt fills p from off; io.EOF where the file ends.
func (e *extent) readAt(p []byte, off int64) (int, error) {
	if off >= e.size {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	want := len(p)
	p = p[:min(int64(want), e.size-off)]
	n := 0
	for n < len(p) {
		i, at := e.locate(off + int64(n))
		part := p[n:min(len(p), n+chunkBytes-at)]
		got := 0
		if i < len(e.chunks) && at < len(e.chunks[i]) {
			got = copy(part, e.chunks[i][at:])
		}
		clear(part[got:])
		n += len(part)
	}
	if n < want {
		return n, io.EOF
	}
	return n, nil
}

// writeAt stores all of p at off and raises the size.
func (e *extent) writeAt(p []byte, off int64) {
	for n := 0; n < len(p); {
		i, at := e.locate(off + int64(n))
		part := p[n:min(len(p), n+chunkBytes-at)]
		copy(e.chunk(i, at+len(part))[at:], part)
		n += len(part)
	}
	e.size = max(e.size, off+int64(len(p)))
}

func (e *extent) locate(off int64) (chunk, at int) {
	return int(off / chunkBytes), int(off % chunkBytes)
}

// chunk returns the i-th chunk with at least need bytes of room.
func (e *extent) chunk(i, need int) []byte {
	for len(e.chunks) <= i {
		e.chunks = append(e.chunks, nil)
	}
	c := e.chunks[i]
	if len(c) >= need {
		return c
	}
	room := chunkBytes
	if i == 0 {
		for room = max(seedBytes, 2*len(c)); room < need; room *= 2 {
		}
		room = min(room, chunkBytes)
	}
	grown := make([]byte, room)
	copy(grown, c)
	e.chunks[i] = grown
	return grown
}

// truncate sets the size and keeps the invariant.
func (e *extent) truncate(size int64) {
	if size < e.size {
		i, at := e.locate(size)
		if at > 0 && i < len(e.chunks) {
			if at < len(e.chunks[i]) {
				clear(e.chunks[i][at:])
			}
			i++
		}
		if i < len(e.chunks) {
			clear(e.chunks[i:])
			e.chunks = e.chunks[:i]
		}
	}
	e.size = size
}
