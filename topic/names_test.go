package topic

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCheckName(t *testing.T) {
	for _, name := range []string{"a", "orders", "a.b_c-D9", strings.Repeat("x", 249), "__consumer_offsets", "...", "-"} {
		assert.NoError(t, CheckName(name), "%q", name)
	}
	for _, name := range hostileNames() {
		assert.ErrorIs(t, CheckName(name), ErrInvalid, "%q", name)
		assert.Less(t, len(CheckName(name).Error()), 300, "a message must stay short")
	}
}

// hostileNames is what no topic may be called.
func hostileNames() []string {
	return []string{
		"", ".", "..", "/", "a/b", "../up", "a\\b", "a\x00b", "\x00", " ", "a b", "a\n", "ü", "日本", "a:b", "a*", "%41",
		strings.Repeat("x", 250), strings.Repeat("x", 300), strings.Repeat("/", 1<<16), "\xff\xfe", "a\u202eb",
	}
}

func TestDirNames(t *testing.T) {
	id, err := newID()
	require.NoError(t, err)
	for _, tp := range []TopicPartition{{"orders", 0}, {"a-1", 7}, {"x", 2147483647}, {strings.Repeat("n", 249), 12}} {
		got, ok := parseDirName(dirName(tp.Topic, tp.Partition))
		assert.True(t, ok)
		assert.Equal(t, tp, got)

		base := deletedDirName(tp.Topic, tp.Partition, id)
		assert.LessOrEqual(t, len(base), 255)
		gotID, ok := parseDeletedDirName(base)
		assert.True(t, ok, base)
		assert.Equal(t, id, gotID)
		_, ok = parseDirName(base)
		assert.False(t, ok, "a deleted directory must not look like a partition: %s", base)
	}
	for _, base := range []string{"", "-", "-0", "a-", "a-+1", "a--1", "a-01", "a-2147483648", "a-1x", "a-1-future", "a-1.swap",
		"quire.manifest", ".lock", "../a-0", "a/b-0", "..-0", "a-99999999999999999999"} {
		_, ok := parseDirName(base)
		if base == "a--1" { // topic "a-", partition 1
			assert.True(t, ok)
			continue
		}
		assert.False(t, ok, "%q", base)
	}
}

func TestFoldName(t *testing.T) {
	assert.Equal(t, foldName("a.b_c"), foldName("a_b.c"))
	assert.NotEqual(t, foldName("a.b"), foldName("a-b"))
}

func TestReservedOnWindows(t *testing.T) {
	for _, name := range []string{"con.x", "NUL.txt", "aux.a.b", "prn.", "com1.log", "LPT9.x", "com0.x"} {
		assert.True(t, reserved(name), name)
	}
	for _, name := range []string{"con", "nul-0", "console.x", "x.con", "com.x", "comx.y", "com10.x", "_nul.x"} {
		assert.False(t, reserved(name), name)
	}
}
