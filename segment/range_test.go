package segment

import (
	"bytes"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/vfs"
)

func TestWriteToASocket(t *testing.T) {
	disk := t.TempDir()
	for name, fsys := range map[string]vfs.FS{"os": vfs.OS(), "mem": vfs.NewMem()} {
		require.NoError(t, fsys.MkdirAll(disk))
		s, err := Create(fsys, disk, 0, &Config{})
		require.NoError(t, err)
		want := join(fill(t, s, 300<<10))
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		out, err := net.Dial("tcp", listener.Addr().String())
		require.NoError(t, err)
		in, err := listener.Accept()
		require.NoError(t, err)
		got := make(chan []byte)
		go func() {
			data, _ := io.ReadAll(in)
			got <- data
		}()
		pos, n, err := s.Range(10, 1<<40, 200<<10)
		require.NoError(t, err)
		sent, err := s.WriteTo(out, pos, n)
		require.NoError(t, err)
		require.NoError(t, out.Close())
		assert.Equal(t, n, sent)
		assert.True(t, bytes.Equal(want[pos:pos+n], <-got), name)
		var plain bytes.Buffer
		_, err = s.WriteTo(&plain, pos, n)
		require.NoError(t, err)
		assert.True(t, bytes.Equal(want[pos:pos+n], plain.Bytes()), name)
		_, err = s.WriteTo(io.Discard, s.Size()-5, 10)
		assert.ErrorIs(t, err, io.ErrUnexpectedEOF, name)
		require.NoError(t, in.Close())
		require.NoError(t, listener.Close())
		require.NoError(t, s.Close())
	}
}
