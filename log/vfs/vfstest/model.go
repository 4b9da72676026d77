package vfstest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/quirelog/quire/log/vfs"
)

// model does random things to the file system and to a few slices and maps, which
// must agree. Every run is the same.
func (x *exam) model() {
	const steps = 1500
	m := &world{exam: x, dice: rand.New(rand.NewPCG(1, 2)), names: make(map[string]*body)}
	for _, dir := range []string{"d0", "d1"} {
		x.ok(x.fs.MkdirAll(x.path(dir)))
	}
	moves := []func(){
		m.create, m.open, m.open, m.write, m.write, m.write, m.read, m.read, m.read, m.cut, m.sync,
		m.remove, m.rename, m.renameDir, m.link, m.close, m.survey,
	}
	for range steps {
		moves[m.dice.IntN(len(moves))]()
	}
	for len(m.handles) > 0 {
		m.close()
	}
	m.survey()
}

// body is what a file must hold.
type body struct{ data []byte }

type grip struct {
	f        vfs.File
	b        *body
	readOnly bool
}

type world struct {
	*exam
	dice    *rand.Rand
	names   map[string]*body // by path below dir, with slashes
	handles []grip
}

// some picks a path, of few, so that things meet.
func (m *world) some() string {
	return []string{"", "d0/", "d1/"}[m.dice.IntN(3)] + []string{"a", "b", "c"}[m.dice.IntN(3)]
}

func (m *world) at(name string) string { return m.path(strings.Split(name, "/")...) }

func (m *world) create() {
	name := m.some()
	f, err := m.fs.Create(m.at(name))
	if m.names[name] != nil {
		m.is(err, fs.ErrExist)
		return
	}
	m.ok(err)
	b := &body{}
	m.names[name] = b
	m.handles = append(m.handles, grip{f, b, false})
}

func (m *world) open() {
	name, readOnly := m.some(), m.dice.IntN(3) == 0
	open := m.fs.Open
	if readOnly {
		open = m.fs.OpenRead
	}
	f, err := open(m.at(name))
	if m.names[name] == nil {
		m.is(err, fs.ErrNotExist)
		return
	}
	m.ok(err)
	m.handles = append(m.handles, grip{f, m.names[name], readOnly})
	if len(m.handles) > 12 {
		m.close()
	}
}

// hold picks an open handle, or reports that there is none.
func (m *world) hold() (g grip, i int, ok bool) {
	if len(m.handles) == 0 {
		return grip{}, 0, false
	}
	i = m.dice.IntN(len(m.handles))
	return m.handles[i], i, true
}

func (m *world) write() {
	g, _, ok := m.hold()
	if !ok || g.readOnly {
		return
	}
	part := bytes.Repeat([]byte{byte(m.dice.Uint32())}, m.dice.IntN(6000))
	off := m.dice.IntN(9000)
	n, err := g.f.WriteAt(part, int64(off))
	m.check(n == len(part) && err == nil, "write gave %d, %v", n, err)
	if len(part) == 0 {
		return
	}
	if grow := off + len(part) - len(g.b.data); grow > 0 {
		g.b.data = append(g.b.data, make([]byte, grow)...)
	}
	copy(g.b.data[off:], part)
}

func (m *world) read() {
	g, _, ok := m.hold()
	if !ok {
		return
	}
	off, got := m.dice.IntN(12_000), make([]byte, 1+m.dice.IntN(9000))
	n, err := g.f.ReadAt(got, int64(off))
	want := g.b.data[min(off, len(g.b.data)):min(off+len(got), len(g.b.data))]
	m.check(bytes.Equal(got[:n], want), "read of %d at %d gave %d other bytes than the model", len(got), off, n)
	m.check(err == nil && n == len(got) || err == io.EOF && off+n >= len(g.b.data), "read gave %d, %v", n, err)
}

func (m *world) cut() {
	g, _, ok := m.hold()
	if !ok || g.readOnly {
		return
	}
	size := m.dice.IntN(12_000)
	m.ok(g.f.Truncate(int64(size)))
	if size <= len(g.b.data) {
		g.b.data = g.b.data[:size:size]
	} else {
		g.b.data = append(g.b.data, make([]byte, size-len(g.b.data))...)
	}
}

func (m *world) sync() {
	if g, _, ok := m.hold(); ok && !g.readOnly {
		m.ok(g.f.Sync())
		m.ok(m.fs.SyncDir(m.dir))
	}
}

func (m *world) close() {
	if g, i, ok := m.hold(); ok {
		m.ok(g.f.Close())
		m.handles = slices.Delete(m.handles, i, i+1)
	}
}

func (m *world) remove() {
	name := m.some()
	err := m.fs.Remove(m.at(name))
	if m.names[name] == nil {
		m.is(err, fs.ErrNotExist)
		return
	}
	m.ok(err)
	delete(m.names, name)
}

func (m *world) rename() {
	from, to := m.some(), m.some()
	err := m.fs.Rename(m.at(from), m.at(to))
	b := m.names[from]
	if b == nil {
		m.is(err, fs.ErrNotExist)
		return
	}
	m.ok(err)
	// Renaming one name of a file to another of the same file does nothing.
	if m.names[to] == b {
		return
	}
	delete(m.names, from)
	m.names[to] = b
}

// renameDir moves a directory away and its files with it, and makes it anew.
func (m *world) renameDir() {
	m.ok(m.fs.Rename(m.path("d0"), m.path("d2")))
	m.ok(m.fs.Rename(m.path("d1"), m.path("d0")))
	m.ok(m.fs.Rename(m.path("d2"), m.path("d1")))
	swapped := make(map[string]*body)
	for name, b := range m.names {
		switch {
		case strings.HasPrefix(name, "d0/"):
			name = "d1/" + name[3:]
		case strings.HasPrefix(name, "d1/"):
			name = "d0/" + name[3:]
		}
		swapped[name] = b
	}
	m.names = swapped
}

func (m *world) link() {
	from, to := m.some(), m.some()
	err := m.fs.Link(m.at(from), m.at(to))
	switch {
	case m.names[from] == nil:
		m.is(err, fs.ErrNotExist)
	case m.names[to] != nil:
		m.check(errors.Is(err, fs.ErrExist), "linking to a name that is taken gave %v", err)
	default:
		m.ok(err)
		m.names[to] = m.names[from]
	}
}

// survey compares all names and contents.
func (m *world) survey() {
	for _, dir := range []string{"", "d0/", "d1/"} {
		var want []string
		if dir == "" {
			want = []string{"d0", "d1"}
		}
		for name := range m.names {
			if rest, ok := strings.CutPrefix(name, dir); ok && !strings.Contains(rest, "/") {
				want = append(want, rest)
			}
		}
		slices.Sort(want)
		got, err := m.fs.List(m.at(strings.TrimSuffix(dir, "/")))
		m.ok(err)
		m.check(slices.Equal(got, want), "directory %q holds %q, want %q", dir, got, want)
	}
	for name, b := range m.names {
		info, err := m.fs.Stat(m.at(name))
		m.ok(err)
		m.check(info.Size == int64(len(b.data)), "%s has %d bytes, want %d", name, info.Size, len(b.data))
	}
}
