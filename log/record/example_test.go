package record_test

import (
	"errors"
	"fmt"

	"github.com/quirelog/quire/compress"
	"github.com/quirelog/quire/log/record"
)

// A batch is built, stamped with the offset a log gives it, checked and read.
func Example() {
	b := record.NewBuilder(record.BuilderConfig{Codec: compress.LZ4})
	for i, name := range []string{"ann", "bob"} {
		r := record.Record{
			Timestamp: 1_700_000_000_000 + int64(i),
			Key:       []byte(name),
			Value:     []byte("hello"),
			Headers:   []record.Header{{Key: "lang", Value: []byte("en")}},
		}
		if err := b.Add(&r); err != nil {
			panic(err)
		}
	}
	batch, err := b.Seal()
	if err != nil {
		panic(err)
	}
	batch.SetBaseOffset(41)

	fmt.Println(batch.Count(), batch.Codec(), batch.BaseOffset(), batch.NextOffset(), batch.Check())
	var d record.Decoder
	if err := d.Reset(batch, 0); err != nil {
		panic(err)
	}
	var r record.Record
	for d.Next(&r) {
		fmt.Println(r.Offset, r.Timestamp, string(r.Key), string(r.Value), r.Headers[0].Key)
	}
	fmt.Println(d.Err())
	// Output:
	// 2 lz4 41 43 <nil>
	// 41 1700000000000 ann hello lang
	// 42 1700000000001 bob hello lang
	// <nil>
}

// A run of bytes from a file is taken apart; it ends in the middle of a batch.
func ExampleBatches() {
	b := record.NewBuilder(record.BuilderConfig{})
	_ = b.Add(&record.Record{Timestamp: record.NoTimestamp, Value: []byte("x")})
	batch, _ := b.Seal()
	run := append(append([]byte(nil), batch...), batch[:30]...)

	for batch, err := range record.Batches(run) {
		if errors.Is(err, record.ErrIncomplete) {
			fmt.Println("read on for more")
			break
		}
		fmt.Println("batch of", len(batch), "bytes,", batch.Count(), "record")
	}
	// Output:
	// batch of 69 bytes, 1 record
	// read on for more
}

func ExampleEndTxnMarker() {
	m := record.EndTxnMarker(record.Commit, 9, 4, 13, 1000)
	kind, coordinatorEpoch, err := record.ParseControl(m)
	fmt.Println(len(m), m.ProducerID(), kind, coordinatorEpoch, err)
	// Output:
	// 78 9 commit 13 <nil>
}

func ExampleAddSequence() {
	fmt.Println(record.AddSequence(2147483646, 3))
	// Output:
	// 1
}
