package segment_test

import (
	"fmt"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/segment"
)

// A segment is appended to, read, sealed, and opened again without reading its data.
func Example() {
	fsys := vfs.NewMem()
	_ = fsys.MkdirAll("/orders-0")
	s, err := segment.Create(fsys, "/orders-0", 0, &segment.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	b := record.NewBuilder(record.BuilderConfig{})
	_ = b.Add(&record.Record{Timestamp: 1000, Value: []byte("one")})
	_ = b.Add(&record.Record{Timestamp: 1007, Value: []byte("two")})
	batch, _ := b.Seal()
	fmt.Println(s.Append(batch), s.Sync(), s.Next())
	fmt.Println(s.Seal(segment.SideFacts{}), s.Close())

	s = segment.OpenSealed(fsys, "/orders-0", 0, 2, &segment.Config{})
	run, next, err := s.Read(nil, segment.Place{Offset: 1, Pos: -1}, s.Next(), 1<<20)
	fmt.Println(len(run) == len(batch), next.Offset, err)
	offset, timestamp, ok, _ := s.FindTime(1001, 0, 0)
	fmt.Println(offset, timestamp, ok)
	// Output:
	// <nil> <nil> 2
	// <nil> <nil>
	// true 2 <nil>
	// 1 1007 true
}
