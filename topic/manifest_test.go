package topic

import (
	"bytes"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// someManifest is a manifest with every kind of entry.
func someManifest() *Manifest {
	m := &Manifest{Format: 1, Generation: 41, NextProducerID: 2000}
	m.put(ManifestTopic{Name: "orders", ID: ID{1}, Partitions: 8, State: TopicReady, Settings: map[string]string{"segment.bytes": "1048576"}})
	m.put(ManifestTopic{Name: "__consumer_offsets", ID: ID{2}, Partitions: 50, State: TopicReady})
	m.put(ManifestTopic{Name: "gone", ID: ID{3}, Partitions: 1, State: TopicDeleting})
	m.put(ManifestTopic{Name: "half", ID: ID{4}, Partitions: 3, State: TopicCreating})
	return m
}

func TestManifestRoundTrip(t *testing.T) {
	m := someManifest()
	data, err := m.encode()
	require.NoError(t, err)
	got, err := DecodeManifest(data)
	require.NoError(t, err)
	assert.Equal(t, m, got)

	got.drop("orders")
	_, found := got.find("orders")
	assert.False(t, found)
	_, found = m.find("orders")
	assert.True(t, found)
}

// Every single bit that flips is found, or reads the same.
func TestManifestBitFlips(t *testing.T) {
	data, err := someManifest().encode()
	require.NoError(t, err)
	for i := range len(data) * 8 {
		bad := bytes.Clone(data)
		bad[i/8] ^= 1 << (i % 8)
		_, err := DecodeManifest(bad)
		require.ErrorIs(t, err, ErrCorrupt, "bit %d", i)
	}
}

func TestManifestHostile(t *testing.T) {
	sum := func(body string) string { return fmt.Sprintf("%scrc32c:%08x\n", body, checksum([]byte(body))) }
	entry := `{"format":1,"generation":1,"nextProducerId":0,"topics":[%s]}` + "\n"
	id := ID{9}.String()
	topic := func(name string, partitions int, state, settings string) string {
		return fmt.Sprintf(`{"name":%q,"id":%q,"partitions":%d,"state":%q,"settings":%s}`, name, id, partitions, state, settings)
	}
	cases := map[string]string{
		"empty":            "",
		"no sum":           "{}\n",
		"not json":         sum("hello\n"),
		"null":             sum("null\n"),
		"array":            sum("[]\n"),
		"format 0":         sum(`{"format":0}` + "\n"),
		"negative format":  sum(`{"format":-1}` + "\n"),
		"unknown field":    sum(`{"format":1,"generation":1,"nextProducerId":0,"topics":[],"x":1}` + "\n"),
		"negative ids":     sum(`{"format":1,"generation":1,"nextProducerId":-5,"topics":[]}` + "\n"),
		"bad name":         sum(fmt.Sprintf(entry, topic("../x", 1, "ready", "{}"))),
		"no partitions":    sum(fmt.Sprintf(entry, topic("x", 0, "ready", "{}"))),
		"many partitions":  sum(fmt.Sprintf(entry, topic("x", 1<<30, "ready", "{}"))),
		"bad state":        sum(fmt.Sprintf(entry, topic("x", 1, "sleeping", "{}"))),
		"unknown setting":  sum(fmt.Sprintf(entry, topic("x", 1, "ready", `{"a.b":"c"}`))),
		"bad setting":      sum(fmt.Sprintf(entry, topic("x", 1, "ready", `{"segment.bytes":"-1"}`))),
		"twice":            sum(fmt.Sprintf(entry, topic("x", 1, "ready", "{}")+","+topic("x", 1, "ready", "{}"))),
		"out of order":     sum(fmt.Sprintf(entry, topic("y", 1, "ready", "{}")+","+topic("x", 1, "ready", "{}"))),
		"names that fold":  sum(fmt.Sprintf(entry, topic("a.b", 1, "ready", "{}")+","+topic("a_b", 1, "ready", "{}"))),
		"zero id":          sum(fmt.Sprintf(entry, `{"name":"x","id":"AAAAAAAAAAAAAAAAAAAAAA","partitions":1,"state":"ready"}`)),
		"partitions as 1e": sum(fmt.Sprintf(entry, `{"name":"x","id":"`+id+`","partitions":1e99,"state":"ready"}`)),
	}
	for name, text := range cases {
		_, err := DecodeManifest([]byte(text))
		assert.ErrorIs(t, err, ErrCorrupt, name)
	}
	_, err := DecodeManifest([]byte(sum(`{"format":2,"whatever":[]}` + "\n")))
	assert.ErrorIs(t, err, ErrNewerFormat)
}

func TestManifestGenerations(t *testing.T) {
	damage := func(t *testing.T, fsys vfs.FS, name string) {
		data, err := vfs.ReadFile(fsys, filepath.Join("d", name), maxManifest)
		require.NoError(t, err)
		data[len(data)/2] ^= 0x40
		require.NoError(t, vfs.WriteFile(fsys, filepath.Join("d", name), data))
	}
	fsys := vfs.NewMem()
	require.NoError(t, fsys.MkdirAll("d"))
	_, found, _, err := loadManifest(fsys, "d")
	require.NoError(t, err)
	assert.False(t, found)

	m := someManifest()
	require.NoError(t, storeForTest(fsys, "d", m))
	m.Generation++
	m.put(ManifestTopic{Name: "new", ID: ID{7}, Partitions: 1, State: TopicReady})
	require.NoError(t, storeForTest(fsys, "d", m))
	got, found, degraded, err := loadManifest(fsys, "d")
	require.NoError(t, err)
	require.NoError(t, degraded)
	assert.True(t, found)
	assert.Equal(t, m, got)

	damage(t, fsys, manifestFile)
	got, _, degraded, err = loadManifest(fsys, "d")
	require.NoError(t, err)
	assert.ErrorIs(t, degraded, ErrCorrupt)
	assert.Equal(t, m.Generation-1, got.Generation)

	require.NoError(t, setAsideDamaged(fsys, "d"))
	got.Generation++
	require.NoError(t, storeForTest(fsys, "d", got))
	_, err = readManifest(fsys, filepath.Join("d", manifestPrev))
	require.NoError(t, err, "the damaged generation must not take the place of the good one")

	damage(t, fsys, manifestFile)
	damage(t, fsys, manifestPrev)
	_, found, _, err = loadManifest(fsys, "d")
	assert.True(t, found)
	assert.ErrorIs(t, err, ErrCorrupt)
}

func FuzzDecodeManifest(f *testing.F) {
	data, err := someManifest().encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data, false)
	f.Add(data[:len(data)-sumLine], true)
	f.Add([]byte(`{"format":1,"generation":1,"nextProducerId":0,"topics":null}`), true)
	f.Fuzz(func(t *testing.T, data []byte, seal bool) {
		if seal { // a right checksum, so that the rules behind it are reached
			data = fmt.Appendf(bytes.Clone(data), "crc32c:%08x\n", checksum(data))
		}
		m, err := DecodeManifest(data)
		if err != nil {
			return
		}
		again, err := m.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := DecodeManifest(again); err != nil {
			t.Errorf("written form of what was read is refused: %v", err)
		}
	})
}

func storeForTest(fsys vfs.FS, dir string, m *Manifest) error {
	if err := stageManifest(fsys, dir, m); err != nil {
		return err
	}
	return placeManifest(fsys, dir)
}

// What makes room needs none: on a full disk topics can be deleted.
func TestDeleteTopicOnAFullDisk(t *testing.T) {
	disk := vfs.NewMem()
	e, err := Open("data", On(disk))
	require.NoError(t, err)
	defer e.Close()
	for _, name := range []string{"a", "b"} {
		top := clientTopic(t, e, name)
		_, err := top.Append(t.Context(), Record{Value: make([]byte, 10000)})
		require.NoError(t, err)
	}
	require.NoError(t, e.Checkpoint(t.Context()))
	disk.SetByteLimit(disk.Used())
	_, err = e.CreateTopic(t.Context(), "c", Set("segment.bytes", "100000"))
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NotErrorIs(t, err, ErrUncertain)
	used := disk.Used()
	require.NoError(t, e.DeleteTopic(t.Context(), "a"))
	assert.Less(t, disk.Used(), used-10000)
	_, err = e.CreateTopic(t.Context(), "c")
	require.NoError(t, err)
}

// Too few descriptors for the manifest is a definite failure that passes.
func TestCreateTopicWithoutDescriptors(t *testing.T) {
	disk := vfs.NewMem()
	e, err := Open("data", On(disk))
	require.NoError(t, err)
	defer e.Close()
	disk.SetHandleLimit(max(disk.OpenFiles(), 1))
	_, err = e.CreateTopic(t.Context(), "t")
	require.True(t, vfs.IsTooManyFiles(err), "%v", err)
	require.NotErrorIs(t, err, ErrUncertain)
	disk.SetHandleLimit(0)
	_, err = e.CreateTopic(t.Context(), "t")
	require.NoError(t, err)
}
