package topic

import (
	"testing"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A producer's send refuses the options of appends that it does not honour.
func TestSendRefusesOptionsItDoesNotHonour(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	top := openTopic(t, e, "t", Partitions(2))
	p := clientProducer(t, e)
	for name, opt := range map[string]AppendOption{"partition": AppendTo(1), "synced": Synced()} {
		_, err := p.SendSync(t.Context(), "t", Record{}, opt)
		assert.ErrorIs(t, err, ErrInvalid, name)
		assert.ErrorIs(t, p.Send(t.Context(), "t", Record{}, nil, opt), ErrInvalid, name)
	}
	_, err := p.SendSync(t.Context(), "t", Record{}, AppendTo(AnyPartition))
	require.NoError(t, err)
	require.NoError(t, p.Close())
	assert.Len(t, append(values(t, top)[0], values(t, top)[1]...), 1)
}

func TestOverridesAreNeverNil(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	assert.NotNil(t, openTopic(t, e, "plain").Overrides())
	assert.Equal(t, map[string]string{"retention.ms": "1000"}, openTopic(t, e, "other", Set("retention.ms", "1000")).Overrides())
}

// Records of a topic that is only compacted are not deleted from the front, as in Kafka.
func TestDeleteRecordsNeedsThePolicy(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	for policy, refused := range map[Cleanup]bool{CleanupDelete: false, CleanupCompact: true, CleanupCompact | CleanupDelete: false} {
		top := openTopic(t, e, "t"+policy.String()[:3]+string(rune('a'+policy)), CleanupWith(policy))
		_, err := top.Append(t.Context(), Record{Key: []byte("k")})
		require.NoError(t, err)
		start, err := partitionOf(t, top, 0).DeleteRecords(t.Context(), 1)
		if refused {
			assert.ErrorIs(t, err, ErrPolicyViolation)
			assert.EqualValues(t, -1, start)
			continue
		}
		require.NoError(t, err)
		assert.EqualValues(t, 1, start)
	}
}
