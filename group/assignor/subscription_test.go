package assignor_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group/assignor"
)

func unhex(t testing.TB, text string) []byte {
	p, err := hex.DecodeString(strings.ReplaceAll(strings.ReplaceAll(text, " ", ""), "\n", ""))
	require.NoError(t, err)
	return p
}

// Bytes that other clients of Kafka (IBM's sarama among them) hold in their tests.
func TestSubscriptionGolden(t *testing.T) {
	full := assignor.Subscription{
		Topics: []string{"two", "one"}, UserData: []byte{1, 2, 3}, Owned: parts("one-3 one-0"), Generation: 64, Rack: "rack",
	}
	head := "0000 0002 0003 6f6e65 0003 74776f 00000003 010203"
	owned := "0000 0001 0003 6f6e65 0000 0002 0000 0000 0000 0003"
	for version, want := range []string{
		"0000" + head, "0001" + head + owned, "0002" + head + owned + "0000 0040", "0003" + head + owned + "0000 0040 0004 7261636b",
	} {
		p := assignor.AppendSubscription(nil, int16(version), full)
		assert.Equal(t, unhex(t, want), p, "version %d", version)
		back, err := assignor.ParseSubscription(p)
		require.NoError(t, err)
		assert.Equal(t, p, assignor.AppendSubscription(nil, int16(version), back))
		assert.Equal(t, []string{"one", "two"}, back.Topics)
		if version >= 1 {
			assert.Equal(t, parts("one-0 one-3"), back.Owned)
		}
		if version < 2 {
			assert.Equal(t, assignor.NoGeneration, back.Generation)
		}
		future, err := assignor.ParseSubscription(append(append([]byte{0, 9}, p[2:]...), "more to come"...))
		if version == 3 {
			require.NoError(t, err)
			assert.Equal(t, back, future, "a later version is read as far as this one goes")
		}
	}
	empty, err := assignor.ParseSubscription(unhex(t, "0003 0000 0000 ffffffff 0000 0000 ffffffff ffff"))
	require.NoError(t, err)
	assert.Equal(t, assignor.Subscription{Generation: assignor.NoGeneration}, empty)
}

func TestAssignmentGolden(t *testing.T) {
	want := unhex(t, "0000 0000 0001 0003 6f6e65 0000 0003 0000 0000 0000 0002 0000 0004 0000 0003 010203")
	p := assignor.AppendAssignment(nil, 0, parts("one-4 one-0 one-2"), []byte{1, 2, 3})
	assert.Equal(t, want, p)
	list, data, err := assignor.ParseAssignment(p)
	require.NoError(t, err)
	assert.Equal(t, parts("one-0 one-2 one-4"), list)
	assert.Equal(t, []byte{1, 2, 3}, data)
	list, data, err = assignor.ParseAssignment(nil)
	require.NoError(t, err)
	assert.Empty(t, list)
	assert.Nil(t, data)
}

func TestStickyUserDataGolden(t *testing.T) {
	assert.Equal(t, unhex(t, "0000 0001 0001 74 0000 0002 0000 0000 0000 0001 0000 0007"), assignor.Sticky().UserData(parts("t-1 t-0"), 7))
	assert.Nil(t, assignor.Sticky().UserData(nil, -1))
	assert.Equal(t, unhex(t, "ffff ffff"), assignor.CooperativeSticky().UserData(nil, -1))
}

func TestProtocolRefusesBadBytes(t *testing.T) {
	good := assignor.AppendSubscription(nil, 3, assignor.Subscription{Topics: []string{"t"}, Owned: parts("t-0"), Rack: "r"})
	for n := range good {
		_, err := assignor.ParseSubscription(good[:n])
		assert.ErrorIs(t, err, assignor.ErrCorrupt, "%d bytes", n)
	}
	_, err := assignor.ParseSubscription(unhex(t, "0000 7fff ffff"))
	assert.ErrorIs(t, err, assignor.ErrCorrupt, "a false length asks for no memory")
	_, err = assignor.ParseSubscription(unhex(t, "ffff 0000 0000 ffff ffff"))
	assert.ErrorIs(t, err, assignor.ErrCorrupt)
	_, _, err = assignor.ParseAssignment(unhex(t, "0000 0000 0001 0001"))
	assert.ErrorIs(t, err, assignor.ErrCorrupt)
}

func FuzzSubscription(f *testing.F) {
	f.Add(assignor.AppendSubscription(nil, 3, assignor.Subscription{Topics: []string{"a", "b"}, Owned: parts("a-0 b-1"), Rack: "r", UserData: []byte("x")}))
	f.Add(assignor.AppendSubscription(nil, 1, assignor.Subscription{Topics: []string{"a"}}))
	f.Fuzz(func(t *testing.T, p []byte) {
		s, err := assignor.ParseSubscription(p)
		if err != nil {
			return
		}
		once := assignor.AppendSubscription(nil, 3, s)
		again, err := assignor.ParseSubscription(once)
		require.NoError(t, err)
		require.Equal(t, once, assignor.AppendSubscription(nil, 3, again))
		for _, a := range assignors() { // members may say of themselves what they will
			_, err := a.Assign(topics("a:3 b:2"), []assignor.Subscriber{{MemberID: "x", Subscription: s}, {MemberID: "y", Subscription: s}})
			require.NoError(t, err)
		}
	})
}

func FuzzAssignment(f *testing.F) {
	f.Add(assignor.AppendAssignment(nil, 0, parts("a-0 a-1 b-0"), []byte("x")))
	f.Fuzz(func(t *testing.T, p []byte) {
		list, data, err := assignor.ParseAssignment(p)
		if err != nil {
			return
		}
		once := assignor.AppendAssignment(nil, 3, list, data)
		again, _, err := assignor.ParseAssignment(once)
		require.NoError(t, err)
		require.Len(t, again, len(list))
	})
}
