package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/record"
)

// dumpable is a file name of each kind.
var dumpable = []string{
	"00000000000000000000.log", "00000000000000000000.index", "00000000000000000000.timeindex", "00000000000000000000.txnindex",
	"00000000000000000000.snapshot", "00000000000000000000.sums", "leader-epoch-checkpoint", "partition.metadata",
	"recovery-point-offset-checkpoint", "meta.properties", "quire.slot", "quire.manifest", "quire.manifest.1.journal", "quire.topic",
}

// Whatever bytes a file holds, dump and verify tell what they find and return: no panic, no end of memory.
func FuzzDump(f *testing.F) {
	b := record.NewBuilder(record.BuilderConfig{})
	require.NoError(f, b.Add(&record.Record{Timestamp: 1000, Key: []byte("k"), Value: []byte("v")}))
	batch, err := b.Seal()
	require.NoError(f, err)
	f.Add(uint8(0), []byte(batch))
	f.Add(uint8(0), append(bytes.Clone(batch), batch[:30]...))
	f.Add(uint8(0), append(append(bytes.Clone(batch), "noise"...), batch...))
	f.Add(uint8(1), []byte("\x00\x00\x00\x05\x00\x00\x00\x46"))
	f.Add(uint8(6), []byte("0\n1\n0 0\n"))
	f.Add(uint8(8), []byte("0\n1\nwords 0 3\n"))
	f.Add(uint8(10), make([]byte, 1024))
	f.Add(uint8(11), []byte("{}\ncrc32c:00000000\n"))
	for kind := range uint8(len(dumpable)) {
		f.Add(kind, []byte(nil))
		f.Add(kind, []byte("QSLT QSUM \xff\xff\xff\xff\xff\xff\xff\xff"))
	}
	f.Fuzz(func(t *testing.T, kind uint8, data []byte) {
		dir := t.TempDir()
		path := filepath.Join(dir, dumpable[int(kind)%len(dumpable)])
		require.NoError(t, os.WriteFile(path, data, 0o600))
		for _, args := range [][]string{{"dump", path}, {"dump", "-json", path}, {"verify", dir}} {
			var stdout, stderr bytes.Buffer
			status := run(t.Context(), args, strings.NewReader(""), &stdout, &stderr)
			require.Contains(t, []int{0, 1}, status, "%v", args)
		}
	})
}

// A batch behind noise is found, wherever the noise ends.
func TestSpansResync(t *testing.T) {
	b := record.NewBuilder(record.BuilderConfig{})
	require.NoError(t, b.Add(&record.Record{Value: make([]byte, 1000)}))
	batch, err := b.Seal()
	require.NoError(t, err)
	for _, noise := range []int{1, 60, window - 1000, window - 61, window - 1, window, window + 1, 3*window + 7} {
		path := filepath.Join(t.TempDir(), "00000000000000000000.log")
		text := append(bytes.Clone(batch), bytes.Repeat([]byte{0xaa}, noise)...)
		require.NoError(t, os.WriteFile(path, append(text, batch...), 0o600))
		data, err := openData(path)
		require.NoError(t, err)
		var got []int64
		for s, err := range data.spans() {
			require.NoError(t, err)
			got = append(got, s.size)
		}
		require.NoError(t, data.close())
		require.Equal(t, []int64{int64(len(batch)), int64(noise), int64(len(batch))}, got)
	}
}
