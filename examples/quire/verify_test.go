package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// stocked makes a directory with several small segments, sealed and not, indexes, snapshots and side files.
func stocked(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	good(t, dir, "topics create -dir {dir} -partitions 2 -set segment.bytes=8192 -set index.interval.bytes=512 -set quire.durability=os a", "")
	var lines strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&lines, "key-%d:%060d\n", i%17, i)
	}
	good(t, dir, "produce -dir {dir} -linger 10s -batch-size 512 -key-separator : a", lines.String())
	return dir
}

func TestVerifySound(t *testing.T) {
	dir := stocked(t)
	text := good(t, dir, "verify {dir}", "")
	assert.Contains(t, text, "2000 records")
	assert.Contains(t, text, "no damage")
	assert.Contains(t, text, "2 partitions")
	assert.Empty(t, good(t, dir, "verify -q {dir}", ""))
	assert.Contains(t, good(t, dir, "verify {dir}/a-0", ""), "1 partitions")
}

// unchecked are files whose every byte may change without verify knowing: text without a checksum, and what holds no data.
func unchecked(name string) bool {
	return strings.HasSuffix(name, "-offset-checkpoint") || name == ".lock" || name == ".kafka_cleanshutdown" || name == "meta.properties"
}

func derived(name string) bool {
	switch filepath.Ext(name) {
	case ".index", ".timeindex", ".txnindex", ".sums", ".snapshot", ".slot", ".topic":
		return true
	}
	return name == "leader-epoch-checkpoint"
}

// One changed byte anywhere in a file that is checked is found, and the file is named.
func TestVerifyFindsDamage(t *testing.T) {
	dir := stocked(t)
	seen := map[string]bool{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || unchecked(d.Name()) {
			return err
		}
		text, err := os.ReadFile(path)
		kind := filepath.Ext(path) + filepath.Dir(path)
		if err != nil || len(text) == 0 || seen[kind] {
			return err
		}
		seen[kind] = true
		for _, at := range []int{0, len(text) / 3, len(text) / 2, len(text) - 1} {
			flipped := append([]byte(nil), text...)
			flipped[at] ^= 0x10
			require.NoError(t, os.WriteFile(path, flipped, 0o644))
			r := quire(t, dir, "verify {dir}", "")
			want := 1
			if derived(d.Name()) { // made again from the data: told, and no damage
				want = 0
			}
			assert.Equal(t, want, r.status, "%s, byte %d of %d\n%s", path, at, len(text), r.stdout)
			if d.Name() != "quire.slot" { // one half of it is as good as both
				assert.Contains(t, r.stdout, d.Name())
			}
			require.NoError(t, os.WriteFile(path, text, 0o644))
		}
		return nil
	})
	require.NoError(t, err)
	for _, kind := range []string{".log", ".index", ".timeindex", ".sums", ".snapshot", ".metadata", ".slot"} {
		assert.True(t, seen[kind+filepath.Join(dir, "a-0")], "no %s file was tried", kind)
	}
}

func TestVerifyFindsWhatIsMissing(t *testing.T) {
	t.Run("a partition", func(t *testing.T) {
		dir := stocked(t)
		require.NoError(t, os.RemoveAll(filepath.Join(dir, "a-1")))
		r := quire(t, dir, "verify {dir}", "")
		assert.Equal(t, 1, r.status)
		assert.Contains(t, r.stdout, "DAMAGE a-1: ")
	})
	t.Run("a segment", func(t *testing.T) {
		dir := stocked(t)
		logs, err := filepath.Glob(filepath.Join(dir, "a-0", "*.log"))
		require.NoError(t, err)
		require.Greater(t, len(logs), 2)
		require.NoError(t, os.Remove(logs[1]))
		r := quire(t, dir, "verify {dir}", "")
		assert.Equal(t, 1, r.status)
		assert.Contains(t, r.stdout, "segments are missing")
	})
	t.Run("the directory's identity", func(t *testing.T) {
		for _, text := range []string{"", "\x00\x00\x00", "garbage", "cluster.id=x"} {
			dir := stocked(t)
			require.NoError(t, os.WriteFile(filepath.Join(dir, "meta.properties"), []byte(text), 0o644))
			r := quire(t, dir, "verify {dir}", "")
			assert.Equal(t, 1, r.status, "%q", text)
			assert.Contains(t, r.stdout, "meta.properties", "%q", text)
		}
	})
	t.Run("the end of a sealed segment", func(t *testing.T) {
		dir := stocked(t)
		path := filepath.Join(dir, "a-0", "00000000000000000000.log")
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.NoError(t, os.Truncate(path, info.Size()-7))
		r := quire(t, dir, "verify {dir}", "")
		assert.Equal(t, 1, r.status)
	})
}

// Bytes behind what is known to be on disk are what a crash leaves: told, and no damage.
func TestVerifyTornTail(t *testing.T) {
	dir := stocked(t)
	logs, err := filepath.Glob(filepath.Join(dir, "a-0", "*.log"))
	require.NoError(t, err)
	last := logs[len(logs)-1]
	whole, err := os.ReadFile(last)
	require.NoError(t, err)
	for _, tail := range []string{"half a batch", strings.Repeat("\x00", 4096)} {
		require.NoError(t, os.WriteFile(last, append(whole[:len(whole):len(whole)], tail...), 0o644))
		r := quire(t, dir, "verify {dir}", "")
		assert.Equal(t, 0, r.status, r.stdout)
	}
	require.NoError(t, os.WriteFile(last, whole, 0o644))
}

// The dumps of a damaged file tell what can be told and exit 1.
func TestDumpDamage(t *testing.T) {
	dir := stocked(t)
	path := filepath.Join(dir, "a-0", "00000000000000000000.log")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	sound := good(t, dir, "dump "+path, "")
	copy(text[len(text)/2:], "################################################################################")
	require.NoError(t, os.WriteFile(path, text, 0o644))
	r := quire(t, dir, "dump "+path, "")
	assert.Equal(t, 1, r.status)
	assert.Contains(t, r.stdout, "DAMAGE at ")
	last := sound[strings.LastIndex(strings.TrimSpace(sound), "\n"):]
	assert.Contains(t, r.stdout, strings.TrimSpace(last), "what lies behind the damage is shown too")
}
