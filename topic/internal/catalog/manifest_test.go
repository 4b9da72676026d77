package catalog

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/quirelog/quire/log"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// someManifest is a manifest with every kind of entry.
func someManifest() *Manifest {
	m := &Manifest{Format: 2, Generation: 41, NextProducerID: 2000}
	m.Put(Topic{Name: "orders", ID: log.TopicID{1}, Partitions: 8, State: Ready, Settings: map[string]string{"segment.bytes": "1048576"}})
	m.Put(Topic{Name: "__consumer_offsets", ID: log.TopicID{2}, Partitions: 50, State: Ready})
	m.Put(Topic{Name: "gone", ID: log.TopicID{3}, Partitions: 1, State: Deleting})
	m.Put(Topic{Name: "half", ID: log.TopicID{4}, Partitions: 9, State: Ready, Unused: PartitionSet{{1, 3}, {8, 8}}, Changed: 7})
	return m
}

func TestManifestRoundTrip(t *testing.T) {
	m := someManifest()
	data, err := m.encode()
	require.NoError(t, err)
	got, err := Decode(data, anyTopic)
	require.NoError(t, err)
	assert.Equal(t, m, got)
}

// A manifest of format 1 opens: what was being created is there, unused.
func TestManifestOfFormat1(t *testing.T) {
	body := `{"format":1,"generation":5,"nextProducerId":0,"topics":[
 {"name":"a","id":"` + log.TopicID{1}.String() + `","partitions":3,"state":"creating"},
 {"name":"b","id":"` + log.TopicID{2}.String() + `","partitions":1,"state":"ready","settings":{"x":"y"}}]}
`
	m, err := Decode([]byte(body+fmt.Sprintf("crc32c:%08x\n", checksum([]byte(body)))), anyTopic)
	require.NoError(t, err)
	assert.Equal(t, []Topic{
		{Name: "a", ID: log.TopicID{1}, Partitions: 3, State: Ready, Unused: PartitionSet{{0, 2}}},
		{Name: "b", ID: log.TopicID{2}, Partitions: 1, State: Ready, Settings: map[string]string{"x": "y"}},
	}, m.Topics)
}

// anyTopic is a check that knows no settings, and names by their characters.
func anyTopic(e *Topic) error {
	if strings.ContainsAny(e.Name, "/ ") || e.Settings["a.b"] != "" {
		return errors.New("no topic")
	}
	return nil
}

// Every single bit that flips is found, or reads the same.
func TestManifestBitFlips(t *testing.T) {
	data, err := someManifest().encode()
	require.NoError(t, err)
	for i := range len(data) * 8 {
		bad := bytes.Clone(data)
		bad[i/8] ^= 1 << (i % 8)
		_, err := Decode(bad, anyTopic)
		require.ErrorIs(t, err, log.ErrCorrupt, "bit %d", i)
	}
}

func TestManifestHostile(t *testing.T) {
	sum := func(body string) string { return fmt.Sprintf("%scrc32c:%08x\n", body, checksum([]byte(body))) }
	entry := `{"format":1,"generation":1,"nextProducerId":0,"topics":[%s]}` + "\n"
	id := log.TopicID{9}.String()
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
		"unused outside":   sum(fmt.Sprintf(entry, `{"name":"x","id":"`+id+`","partitions":2,"state":"ready","unused":"1-2"}`)),
		"unused backwards": sum(fmt.Sprintf(entry, `{"name":"x","id":"`+id+`","partitions":9,"state":"ready","unused":"3-2"}`)),
		"unused padded":    sum(fmt.Sprintf(entry, `{"name":"x","id":"`+id+`","partitions":9,"state":"ready","unused":"01"}`)),
		"twice":            sum(fmt.Sprintf(entry, topic("x", 1, "ready", "{}")+","+topic("x", 1, "ready", "{}"))),
		"out of order":     sum(fmt.Sprintf(entry, topic("y", 1, "ready", "{}")+","+topic("x", 1, "ready", "{}"))),
		"names that fold":  sum(fmt.Sprintf(entry, topic("a.b", 1, "ready", "{}")+","+topic("a_b", 1, "ready", "{}"))),
		"zero id":          sum(fmt.Sprintf(entry, `{"name":"x","id":"AAAAAAAAAAAAAAAAAAAAAA","partitions":1,"state":"ready"}`)),
		"partitions as 1e": sum(fmt.Sprintf(entry, `{"name":"x","id":"`+id+`","partitions":1e99,"state":"ready"}`)),
	}
	for name, text := range cases {
		_, err := Decode([]byte(text), anyTopic)
		assert.ErrorIs(t, err, log.ErrCorrupt, name)
	}
	_, err := Decode([]byte(sum(`{"format":3,"whatever":[]}`+"\n")), anyTopic)
	assert.ErrorIs(t, err, ErrNewerFormat)
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
		m, err := Decode(data, anyTopic)
		if err != nil {
			return
		}
		again, err := m.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Decode(again, anyTopic); err != nil {
			t.Errorf("written form of what was read is refused: %v", err)
		}
	})
}
