package group

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/topic"
)

func unhex(t testing.TB, text string) []byte {
	p, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	require.NoError(t, err)
	return p
}

// someRecords has one of everything, each with the bytes its message definition in Kafka asks for.
func someRecords(t testing.TB) []struct {
	key     RecordKey
	value   RecordValue
	version int16
	keyHex  string
	hex     string
} {
	id := topic.ID(unhex(t, "00112233445566778899aabbccddeeff"))
	const idHex = "00112233445566778899aabbccddeeff"
	offset := OffsetRecord{Offset: 258, LeaderEpoch: 7, Metadata: "m", CommitTime: 1_000, ExpireTime: -1}
	without := offset
	without.LeaderEpoch = -1
	expires := without
	expires.ExpireTime = 2_000
	member := GroupRecordMember{"m1", "i", "c", "/h", 300, 45, []byte{1}, []byte{2, 3}}
	group := GroupRecord{ProtocolType: "consumer", Generation: 3, Protocol: "range", Leader: "m1", StateTime: 9, Members: []GroupRecordMember{member}}
	older := func(change func(g *GroupRecord, m *GroupRecordMember)) GroupRecord {
		g, m := group, member
		change(&g, &m)
		g.Members = []GroupRecordMember{m}
		return g
	}
	classic := &ClassicMember{SessionTimeout: 45, Protocols: []Protocol{{"range", []byte{5}}}}
	at := []TopicIDPartitions{{id, []int32{0, 2}}}
	offsetKey := RecordKey{Kind: KeyOffset, Group: "g", Topic: "t", Partition: 5}
	memberKey := func(kind KeyKind) RecordKey { return RecordKey{Kind: kind, Group: "g", Member: "m"} }
	oldOffset := offsetKey
	oldOffset.Kind = KeyOffsetOld
	const (
		groupHead = "0008 636f6e73756d6572 00000003 0005 72616e6765 0002 6d31"
		body      = "0001 63 0002 2f68"
		tail      = "0000002d 00000001 01 00000002 0203"
	)
	return []struct {
		key     RecordKey
		value   RecordValue
		version int16
		keyHex  string
		hex     string
	}{
		{oldOffset, without, 0, "0000 0001 67 0001 74 00000005", "0000 0000000000000102 0001 6d 00000000000003e8"},
		{offsetKey, expires, 1, "0001 0001 67 0001 74 00000005", "0001 0000000000000102 0001 6d 00000000000003e8 00000000000007d0"},
		{offsetKey, without, 2, "0001 0001 67 0001 74 00000005", "0002 0000000000000102 0001 6d 00000000000003e8"},
		{offsetKey, offset, 3, "0001 0001 67 0001 74 00000005", "0003 0000000000000102 00000007 0001 6d 00000000000003e8"},
		{offsetKey, offset, 4, "0001 0001 67 0001 74 00000005", "0004 0000000000000102 00000007 02 6d 00000000000003e8 00"},
		{
			RecordKey{Kind: KeyGroup, Group: "g"}, older(func(g *GroupRecord, m *GroupRecordMember) { g.StateTime, m.InstanceID, m.RebalanceTimeout = -1, "", 45 }),
			0, "0002 0001 67", "0000" + groupHead + "00000001 0002 6d31" + body + tail,
		},
		{
			RecordKey{Kind: KeyGroup, Group: "g"}, older(func(g *GroupRecord, m *GroupRecordMember) { g.StateTime, m.InstanceID = -1, "" }),
			1, "0002 0001 67", "0001" + groupHead + "00000001 0002 6d31" + body + "0000012c" + tail,
		},
		{
			RecordKey{Kind: KeyGroup, Group: "g"}, older(func(_ *GroupRecord, m *GroupRecordMember) { m.InstanceID = "" }),
			2, "0002 0001 67", "0002" + groupHead + "0000000000000009 00000001 0002 6d31" + body + "0000012c" + tail,
		},
		{
			RecordKey{Kind: KeyGroup, Group: "g"}, group,
			3, "0002 0001 67", "0003" + groupHead + "0000000000000009 00000001 0002 6d31 0001 69" + body + "0000012c" + tail,
		},
		{
			RecordKey{Kind: KeyGroup, Group: "g"}, group,
			4, "0002 0001 67", "0004 09 636f6e73756d6572 00000003 06 72616e6765 03 6d31 0000000000000009 02" +
				"03 6d31 02 69 02 63 03 2f68 0000012c 0000002d 02 01 03 0203 00 00",
		},
		{RecordKey{Kind: KeyGroup, Group: "g"}, GroupRecord{StateTime: -1}, 3, "0002 0001 67", "0003 0000 00000000 ffff ffff ffffffffffffffff 00000000"},
		{RecordKey{Kind: KeyGroupEpoch, Group: "g"}, EpochRecord{4}, 0, "0003 0001 67", "0000 00000004 00"},
		{
			RecordKey{Kind: KeyTopics, Group: "g"}, TopicsRecord{[]TopicsRecordTopic{{id, "t", 6}}}, 0,
			"0004 0001 67", "0000 02" + idHex + "02 74 00000006 01 00 00",
		},
		{
			memberKey(KeyMember), MemberRecord{ClientID: "c", ClientHost: "/h", Topics: []string{"t"}, RebalanceTimeout: 300}, 0,
			"0005 0001 67 0001 6d", "0000 00 00 02 63 03 2f68 02 02 74 00 0000012c 00 00",
		},
		{
			memberKey(KeyMember),
			MemberRecord{
				InstanceID: "i", Rack: "r", ClientID: "c", ClientHost: "/h", Regex: "t.*", RebalanceTimeout: 300, Assignor: "uniform", Classic: classic,
			}, 0,
			"0005 0001 67 0001 6d", "0000 02 69 02 72 02 63 03 2f68 01 04 742e2a 0000012c 08 756e69666f726d" +
				"01 00 10 01 0000002d 02 06 72616e6765 02 05 00 00",
		},
		{RecordKey{Kind: KeyTargetEpoch, Group: "g"}, TargetEpochRecord{4}, 0, "0006 0001 67", "0000 00000004 00"},
		{memberKey(KeyTarget), TargetRecord{at}, 0, "0007 0001 67 0001 6d", "0000 02" + idHex + "03 00000000 00000002 00 00"},
		{
			memberKey(KeyCurrent), CurrentRecord{Epoch: 4, PreviousEpoch: 3, State: MemberUnrevoked, Assigned: at}, 0,
			"0008 0001 67 0001 6d", "0000 00000004 00000003 01 02" + idHex + "03 00000000 00000002 00 01 00",
		},
	}
}

func TestRecordsGolden(t *testing.T) {
	for _, r := range someRecords(t) {
		key := AppendRecordKey(nil, r.key)
		assert.Equal(t, unhex(t, r.keyHex), key)
		k, err := ParseRecordKey(key)
		require.NoError(t, err)
		assert.Equal(t, r.key, k)

		value := appendRecordValue(nil, r.value, r.version)
		assert.Equal(t, unhex(t, r.hex), value, "kind %d version %d", r.key.Kind, r.version)
		v, err := ParseRecordValue(r.key.Kind, value)
		require.NoError(t, err)
		assert.Equal(t, r.value, v)
		for n := range value {
			_, err := ParseRecordValue(r.key.Kind, value[:n])
			require.ErrorIs(t, err, ErrCorrupt)
		}
		for n := range key {
			_, err := ParseRecordKey(key[:n])
			require.ErrorIs(t, err, ErrCorrupt)
		}
	}
}

func TestRecordsAsWritten(t *testing.T) {
	assert.Equal(t, byte(3), AppendRecordValue(nil, OffsetRecord{ExpireTime: -1})[1])
	assert.Equal(t, byte(1), AppendRecordValue(nil, OffsetRecord{ExpireTime: 5})[1], "only version 1 has a time of expiry")
	assert.Equal(t, byte(3), AppendRecordValue(nil, GroupRecord{})[1])
}

func TestRecordsOfLaterVersions(t *testing.T) {
	k, err := ParseRecordKey(unhex(t, "0010 0001 67 0001 72"))
	require.NoError(t, err)
	assert.Equal(t, RecordKey{Kind: 16}, k, "a kind to pass over")
	_, err = ParseRecordValue(KeyOffset, unhex(t, "0005 0000000000000102"))
	require.ErrorIs(t, err, ErrCorrupt)
	v, err := ParseRecordValue(KeyGroupEpoch, unhex(t, "0000 00000004 01 00 08 0000000000000000"))
	require.NoError(t, err)
	assert.Equal(t, EpochRecord{4}, v, "tagged fields of later versions are passed over")
	_, err = ParseRecordKey(unhex(t, "ffff 0001 67"))
	require.ErrorIs(t, err, ErrCorrupt)
}

// Values of java.lang.String.hashCode are known ones.
func TestPartitionFor(t *testing.T) {
	for group, want := range map[string]int32{
		"":                   0,
		"my-group":           12,
		"a":                  97 % 50,
		"polygenelubricants": 0, // its hash is the least number there is
		"\U0001F600":         (0xd83d*31 + 0xde00) % 50,
	} {
		assert.Equal(t, want, PartitionFor(group, OffsetsPartitions), group)
		assert.GreaterOrEqual(t, PartitionFor(group, 7), int32(0))
		assert.Zero(t, PartitionFor(group, 0))
	}
}

func FuzzRecordKey(f *testing.F) {
	for _, r := range someRecords(f) {
		f.Add(AppendRecordKey(nil, r.key))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		k, err := ParseRecordKey(p)
		if err != nil || k.Kind > KeyCurrent {
			return
		}
		once := AppendRecordKey(nil, k)
		require.Equal(t, once, p[:len(once)])
	})
}

func FuzzRecordValue(f *testing.F) {
	for _, r := range someRecords(f) {
		f.Add(int16(r.key.Kind), appendRecordValue(nil, r.value, r.version))
	}
	f.Fuzz(func(t *testing.T, kind int16, p []byte) {
		v, err := ParseRecordValue(KeyKind(kind), p)
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		once := AppendRecordValue(nil, v)
		again, err := ParseRecordValue(KeyKind(kind), once)
		require.NoError(t, err)
		require.Equal(t, once, AppendRecordValue(nil, again))
	})
}
