package topic

import (
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/quirelog/quire/log/record"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// deaf is a socket whose Write must not be called: what arrives went from file to socket in the kernel (sendfile).
type deaf struct {
	syscall.Conn
	t *testing.T
}

func (d deaf) Write(p []byte) (int, error) {
	d.t.Errorf("%d bytes were copied through the process", len(p))
	return 0, syscall.EPIPE
}

// What a broker sends of an engine on a real disk never passes through the process: not from a sealed segment, not from
// the one that is being written, through all layers between the slice and the file.
func TestRawSliceIsSentByTheKernel(t *testing.T) {
	e, err := Open(t.TempDir())
	require.NoError(t, err)
	defer e.Close()
	p := partitionOf(t, openTopic(t, e, "orders", SegmentBytes(100_000)), 0)
	want := map[int64][]byte{}
	for range 5 {
		batch := batchOf(t, record.BuilderConfig{}, string(make([]byte, 60_000)))
		a, err := p.AppendRaw(t.Context(), batch, RawAppend{})
		require.NoError(t, err)
		want[a.First] = batch
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	for offset, batch := range want {
		near, err := net.Dial("tcp", ln.Addr().String())
		require.NoError(t, err)
		far, err := ln.Accept()
		require.NoError(t, err)
		got := make(chan []byte, 1)
		go func() {
			all, _ := io.ReadAll(far)
			got <- all
		}()
		raw, err := p.FetchRaw(t.Context(), offset, Fetch{MaxBytes: 1})
		require.NoError(t, err)
		n, err := raw.WriteTo(deaf{near.(syscall.Conn), t})
		require.NoError(t, err)
		assert.EqualValues(t, len(batch), n)
		raw.Release()
		require.NoError(t, near.Close())
		assert.Equal(t, batch, <-got)
		require.NoError(t, far.Close())
	}
}
