package main

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"sync"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/vfs"
)

// runBits flips each bit of each file of a closed directory, one at a time. Whoever
// opens it and reads everything must get an error, or exactly the same.
func runBits(r *runner, t *tally, _ uint64) {
	ref, err := buildReference(referenceBytes)
	if err != nil {
		t.add(caseName{t.lane.name, "reference", "0", "none", 0}, err)
		return
	}
	total := ref.total()
	t.note("reference directory: %d files, %d bytes, %d bits", len(ref.files), total, total*8)
	offsets := ref.layout()
	const stride = 64 // bytes for one turn of a worker
	var detected sync.Map
	pool := sync.Pool{New: func() any { return ref.fork() }}
	r.each(int((total+stride-1)/stride), func(i int) {
		own := pool.Get().(*reference)
		defer pool.Put(own)
		for at := int64(i) * stride; at < min(total, int64(i+1)*stride); at++ {
			for bit := range 8 {
				flipAndCount(r, t, own, offsets, at, bit, &detected)
			}
		}
	})
	t.note("detected by an error: %s", classSums(&detected))
}

// layout gives the position of each file in the row of all bytes.
func (ref *reference) layout() []int64 {
	offsets := make([]int64, len(ref.files)+1)
	for i, f := range ref.files {
		offsets[i+1] = offsets[i] + ref.sizes[f]
	}
	return offsets
}

// flipAndCount runs the case of one bit.
func flipAndCount(r *runner, t *tally, ref *reference, offsets []int64, at int64, bit int, detected *sync.Map) {
	i, found := slices.BinarySearch(offsets, at)
	if !found {
		i--
	}
	for ref.sizes[ref.files[i]] == 0 { // empty files share their position with the next
		i++
	}
	file := ref.files[i]
	if !r.only.MatchString(file) {
		return
	}
	name := caseName{t.lane.name, file, fmt.Sprintf("%d.%d", at-offsets[i], bit), "flip", 0}
	r.try(t, name, func() error {
		noticed, err := flip(ref, file, at-offsets[i], bit)
		if noticed {
			countIn(detected, fileClass(file))
		}
		return err
	})
}

// engineEvery is in how many flips of a partition's files the whole engine is opened
// and closed on them; the others are read by the log alone.
const engineEvery = 1024

// flip flips one bit and reads it all. noticed says that an error told of it.
//
// Of the engine's files one partition is read, and everything in one of engineEvery
// cases: nobody else opens the file.
func flip(ref *reference, file string, at int64, bit int) (noticed bool, err error) {
	n := at*8 + int64(bit)
	all := n%engineEvery == 0
	if p := ref.partOf(file); p != nil && !all {
		return judge(p.flip(file, at, bit))
	}
	disk := ref.clone()
	if err := flipBit(disk, file, at, bit); err != nil {
		return false, err
	}
	in := scopeOf(file)
	if all {
		in = nil
	}
	got, err := contentOf(disk, ref.want, in)
	return judge(func() error { return got.same(ref.want) }, err)
}

// partOf is the part that alone reads a file; nil for the engine's files.
func (ref *reference) partOf(file string) *part {
	if path.Base(file) == log.PartitionMetadataFile {
		return nil
	}
	return ref.parts[path.Dir(file)]
}

// flip reads the part with one bit flipped. The bit is flipped back if reading
// changed nothing else; otherwise the part gets a fresh copy of its disk.
func (p *part) flip(file string, at int64, bit int) (same func() error, err error) {
	if err := flipBit(p.disk, file, at, bit); err != nil {
		return nil, err
	}
	before := p.disk.Ops()
	got, err := p.content(p.disk)
	if p.disk.Ops() != before {
		p.disk = p.source.After(vfs.KeepAll, 0)
	} else if failed := flipBit(p.disk, file, at, bit); failed != nil {
		return nil, failed
	}
	return func() error { return got.same(p.want) }, err
}

// judge sorts what reading a damaged directory gave: an error that told of it, or
// content that must be the same.
func judge(same func() error, err error) (noticed bool, _ error) {
	if f := (*fault)(nil); errors.As(err, &f) { // a record was served that is not what was written
		return false, faultf(undetected, "%s", f.text)
	}
	if err != nil {
		return true, nil
	}
	return false, same()
}

func flipBit(disk vfs.FS, file string, at int64, bit int) error {
	f, err := disk.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		return err
	}
	b[0] ^= 1 << bit
	if err := writeAt(f, b[:], at); err != nil {
		return err
	}
	return f.Sync()
}

func replayBits(_ *runner, c caseName) error {
	ref, err := buildReference(referenceBytes)
	if err != nil {
		return err
	}
	var at int64
	var bit int
	if _, err := fmt.Sscanf(c.Op, "%d.%d", &at, &bit); err != nil {
		return fmt.Errorf("proof: operation %q is not byte.bit", c.Op)
	}
	noticed, err := flip(ref, c.Scenario, at, bit)
	fmt.Printf("noticed by an error: %v\n", noticed)
	return err
}

// counter counts from many workers.
type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) add() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
}

// countIn adds one to the counter of a class.
func countIn(m *sync.Map, class string) {
	n, _ := m.LoadOrStore(class, new(counter))
	n.(*counter).add()
}

// classSums prints counts by class, sorted.
func classSums(m *sync.Map) string {
	var parts []string
	m.Range(func(k, v any) bool {
		parts = append(parts, fmt.Sprintf("%v %d", k, v.(*counter).n))
		return true
	})
	slices.Sort(parts)
	return fmt.Sprint(parts)
}
