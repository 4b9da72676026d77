package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
)

// UnknownPartition is the partition of a directory whose name ends with none, and of a file that does not name one.
const UnknownPartition = -1

// PartitionOf is the partition that a directory's name ends with, behind its last hyphen.
func PartitionOf(dir string) int32 {
	name := filepath.Base(dir)
	digits := name[strings.LastIndexByte(name, '-')+1:]
	n, err := strconv.ParseInt(digits, 10, 32)
	if err != nil || n < 0 || digits == name || strconv.FormatInt(n, 10) != digits {
		return UnknownPartition
	}
	return int32(n)
}

// ForeignError says that a file is not where it was written: in another partition's directory, in another topic's, or
// under another base offset. It matches [ErrCorrupt].
type ForeignError struct {
	Path   string
	First  int64 // offsets [First, Next) that the file holds by its name and its own account; -1 if it holds none
	Next   int64
	Reason string
}

func (e *ForeignError) Error() string { return e.Path + ": " + e.Reason }

// Is reports that every ForeignError matches ErrCorrupt.
func (e *ForeignError) Is(target error) bool { return target == ErrCorrupt }

// CheckPlace holds a segment against its directory and its name: by its side file or, where there is none, by its first
// batches. topicID is the topic that the directory is of; zero: not known. missing is the base of a segment that should be
// there and is not, -1 for none. The error is a *ForeignError, or one of the disk.
func CheckPlace(fsys vfs.FS, dir string, base int64, topicID [16]byte, missing int64) error {
	s := newSegment(fsys, dir, base, &Config{})
	path := s.path(KindSums, 0)
	d, err := readSide(fsys, path)
	if errors.Is(err, ErrNoSide) {
		return s.checkFirst(missing)
	}
	if err != nil {
		return err
	}
	foreign := func(format string, args ...any) error {
		return &ForeignError{Path: path, First: base, Next: max(base, d.facts.next), Reason: fmt.Sprintf(format, args...)}
	}
	own := PartitionOf(dir)
	switch {
	case d.base != base:
		return foreign("of the segment at offset %d", d.base)
	case d.partition != UnknownPartition && own != UnknownPartition && d.partition != own:
		return foreign("of partition %d", d.partition)
	case d.partition != UnknownPartition && d.topicID != [16]byte{} && topicID != [16]byte{} && d.topicID != topicID:
		return foreign("of another topic")
	}
	return nil
}

// checkFirst tells a segment under another's name by its first batch, if that is the missing segment's, or by two batches
// that follow one another and begin below its base. One alone may have a damaged header.
func (s *Segment) checkFirst(missing int64) error {
	f, err := s.fs.OpenRead(s.path(KindLog, 0))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	var head [record.HeaderSize]byte
	if n, _ := f.ReadAt(head[:], 0); n < len(head) {
		return nil
	}
	b := record.Batch(head[:])
	if b.Magic() != 2 || b.BaseOffset() >= s.base {
		return nil
	}
	first, next, size := b.BaseOffset(), b.NextOffset(), int64(binary.BigEndian.Uint32(head[8:]))+12
	if first != missing {
		if n, _ := f.ReadAt(head[:], size); n < len(head) || b.Magic() != 2 || b.BaseOffset() != next {
			return nil
		}
	}
	return &ForeignError{Path: s.path(KindLog, 0), First: s.base, Next: s.base, Reason: fmt.Sprintf("of the segment at offset %d", first)}
}

// CheckSealed holds the front of a data file that is longer than its side file says against that side file: a program that
// appended to the segment left it as it was. The error is a *ForeignError, or one of the disk. It says nothing where there
// is no whole side file.
func CheckSealed(fsys vfs.FS, dir string, base int64) error {
	s := newSegment(fsys, dir, base, &Config{})
	d, err := readSide(fsys, s.path(KindSums, 0))
	if errors.Is(err, ErrNoSide) || err == nil && d.facts.partial {
		return nil
	}
	if err != nil {
		return err
	}
	f, err := fsys.OpenRead(s.path(KindLog, 0))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	size, err := f.Size()
	if err != nil || size <= d.facts.size {
		return err
	}
	sum, err := headersOf(f, d.facts.size)
	if err == nil && sum == d.facts.headerSum {
		return nil
	}
	if err != nil && !isDamage(err) {
		return s.ioError(0, err)
	}
	return &ForeignError{Path: s.Path(), First: base, Next: d.facts.next, Reason: "not the file that was sealed"}
}

// headersOf is the header sum of the batches in the first size bytes of a data file.
func headersOf(f vfs.File, size int64) (sum uint32, err error) {
	c := newScanner(f, 0, size)
	for {
		b, err := c.next()
		if err == io.EOF {
			return sum, nil
		}
		if err != nil {
			return 0, err
		}
		sum = crc32.Update(sum, castagnoli, b[:headerSumBytes])
		c.skip(len(b))
	}
}
