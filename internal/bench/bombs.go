package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"runtime"

	"github.com/quirelog/quire/compress"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/topic"
)

const (
	bombBytes = 256 << 20
	bombLimit = 64 << 20
	// mostBombBytes is what the refusal of a bomb may take from the heap, beyond three times four times its own size.
	mostBombBytes = 8 << 20
)

// bombOf is a batch whose header is sound and whose records are zeros, compressed.
func bombOf(codec compress.Codec) ([]byte, error) {
	b := record.NewBuilder(record.BuilderConfig{Codec: codec})
	if err := b.Add(&record.Record{Value: []byte("v")}); err != nil {
		return nil, err
	}
	small, err := b.Seal()
	if err != nil {
		return nil, err
	}
	payload, err := compress.Encode(nil, make([]byte, bombBytes), codec, compress.DefaultLevel)
	if err != nil {
		return nil, err
	}
	bomb := append(small[:record.HeaderSize:record.HeaderSize], payload...)
	binary.BigEndian.PutUint32(bomb[8:], uint32(len(bomb)-12))
	binary.BigEndian.PutUint32(bomb[17:], crc32.Checksum(bomb[21:], crc32.MakeTable(crc32.Castagnoli)))
	return bomb, nil
}

// measureBombs prints what the refusal of a batch costs that decompresses to four times what its topic accepts.
func measureBombs(_ *env, w io.Writer) (broken []string, err error) {
	eng, err := topic.Open("", topic.InMemory())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, eng.Close()) }()
	t, err := eng.Topic(context.Background(), quireTopic, topic.MaxMessageBytes(32<<20), topic.MaxDecompressedBytes(bombLimit))
	if err != nil {
		return nil, err
	}
	p, err := t.Partition(0)
	if err != nil {
		return nil, err
	}
	rows := table{{"codec", "batch KiB", "allocated KiB"}}
	for _, codec := range []compress.Codec{compress.Gzip, compress.Snappy, compress.LZ4, compress.Zstd} {
		bomb, err := bombOf(codec)
		if err != nil {
			return nil, err
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err = p.AppendRaw(context.Background(), bomb, topic.RawAppend{})
		runtime.ReadMemStats(&after)
		took := after.TotalAlloc - before.TotalAlloc
		rows = append(rows, []string{codec.String(), fmt.Sprint(len(bomb) >> 10), fmt.Sprint(took >> 10)})
		if !errors.Is(err, topic.ErrTooLarge) {
			broken = append(broken, fmt.Sprintf("a bomb of %v: %v", codec, err))
		}
		if took > uint64(mostBombBytes+12*len(bomb)) {
			broken = append(broken, fmt.Sprintf("the refusal of a bomb of %v took %d bytes", codec, took))
		}
	}
	out := &lines{w: w}
	out.line("\nBOMBS: a batch that decompresses to %d MiB, refused at %d MiB", bombBytes>>20, bombLimit>>20)
	out.table(rows.writeText, 1)
	return broken, out.err
}
