package vfs

import "io"

// pageBytes is the unit images share and copy.
const pageBytes = 4096

// image is the content of a file that can be cloned cheaply: clones share pages
// until one of them writes. Missing pages are zero bytes.
//
// Invariant: bytes of pages at or beyond size are zero.
type image struct {
	size  int64
	pages []page
}

type page struct {
	data   []byte // pageBytes long, or nil
	shared bool   // another image may point to data: copy before writing
}

// clone returns an independent image. The original is marked, so the caller must
// be allowed to write it.
func (m *image) clone() image {
	for i := range m.pages {
		m.pages[i].shared = true
	}
	return image{size: m.size, pages: append([]page(nil), m.pages...)}
}

// writable returns a page that belongs to this image alone.
func (m *image) writable(i int) []byte {
	for len(m.pages) <= i {
		m.pages = append(m.pages, page{})
	}
	p := &m.pages[i]
	if p.data == nil || p.shared {
		own := make([]byte, pageBytes)
		copy(own, p.data)
		*p = page{data: own}
	}
	return p.data
}

func (m *image) readAt(p []byte, off int64) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if off >= m.size {
		return 0, io.EOF
	}
	want := len(p)
	p = p[:min(int64(want), m.size-off)]
	for n := 0; n < len(p); {
		i, at := int((off+int64(n))/pageBytes), int((off+int64(n))%pageBytes)
		part := p[n:min(len(p), n+pageBytes-at)]
		if i < len(m.pages) && m.pages[i].data != nil {
			copy(part, m.pages[i].data[at:])
		} else {
			clear(part)
		}
		n += len(part)
	}
	if len(p) < want {
		return len(p), io.EOF
	}
	return len(p), nil
}

// writeAt stores p and raises the size.
func (m *image) writeAt(p []byte, off int64) {
	if len(p) == 0 {
		return
	}
	for n := 0; n < len(p); {
		i, at := int((off+int64(n))/pageBytes), int((off+int64(n))%pageBytes)
		n += copy(m.writable(i)[at:], p[n:])
	}
	m.size = max(m.size, off+int64(len(p)))
}

func (m *image) truncate(size int64) {
	if size < m.size {
		i, at := int(size/pageBytes), int(size%pageBytes)
		if at > 0 && i < len(m.pages) {
			if m.pages[i].data != nil {
				clear(m.writable(i)[at:])
			}
			i++
		}
		if i < len(m.pages) {
			clear(m.pages[i:])
			m.pages = m.pages[:i]
		}
	}
	m.size = size
}

// apply carries out a change of data.
func (m *image) apply(ch *change) {
	switch ch.kind {
	case changeWrite:
		m.writeAt(ch.data, ch.off)
	case changeTruncate:
		m.truncate(ch.off)
	}
}
