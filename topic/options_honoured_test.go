package topic

import (
	"fmt"
	"testing"
	"time"

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

// A nil option is refused by every call that takes options, and nothing was done then.
func TestNilOptionsAreRefused(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	top := openTopic(t, e, "t", Partitions(2))
	p := clientProducer(t, e)
	ctx := t.Context()
	for name, err := range map[string]func() error{
		"open":          func() error { _, err := Open("other", On(vfs.NewMem()), nil); return err },
		"defaults":      func() error { _, err := Open("other", On(vfs.NewMem()), Defaults(nil)); return err },
		"topics":        func() error { _, err := e.Topics(ctx, nil); return err },
		"topic":         func() error { _, err := e.Topic(ctx, "new", nil); return err },
		"topic that is": func() error { _, err := e.Topic(ctx, "t", nil, Partitions(2)); return err },
		"create":        func() error { _, err := e.CreateTopic(ctx, "new", nil); return err },
		"create many": func() error {
			_, err := e.CreateTopics(ctx, NewTopic{Name: "other"}, NewTopic{Name: "new", Options: []TopicOption{nil}})
			return err
		},
		"alter":    func() error { return e.AlterTopic(ctx, "t", nil, Partitions(3)) },
		"typed":    func() error { _, err := OpenTyped(ctx, e, "new", String, String, nil); return err },
		"append":   func() error { _, err := top.Append(ctx, Record{}, nil); return err },
		"batch":    func() error { _, err := top.AppendBatch(ctx, []Record{{}}, Synced(), nil); return err },
		"send":     func() error { return p.Send(ctx, "t", Record{}, nil, nil) },
		"sync":     func() error { _, err := p.SendSync(ctx, "t", Record{}, nil); return err },
		"producer": func() error { _, err := e.NewProducer(nil); return err },
		"consumer": func() error { _, err := e.NewConsumer(nil); return err },
		"recur":    func() error { return top.Recur(ctx, "tick", Record{}, Every(time.Hour), nil) },
		"read": func() (err error) {
			for _, err = range top.Read(ctx, UntilEnd(), nil) {
			}
			return err
		},
		"batches": func() (err error) {
			for _, err = range top.Batches(ctx, 0, nil, UntilEnd()) {
			}
			return err
		},
	} {
		assert.ErrorIs(t, err(), ErrInvalid, name)
	}
	require.NoError(t, p.Close())
	list, err := e.Topics(ctx)
	require.NoError(t, err)
	assert.Len(t, list, 1)
	assert.Equal(t, 2, top.Partitions())
	assert.Empty(t, values(t, top)[0])
	assert.Empty(t, values(t, top)[1])
}

// cleanup.policy reads back in the order in which it was set, over a restart too; the order makes no difference between topics.
func TestCleanupPolicyKeepsItsOrder(t *testing.T) {
	disk := vfs.NewMem()
	for round := range 2 {
		e, err := Open("data", On(disk))
		require.NoError(t, err)
		for set, want := range map[string]string{
			"compact,delete": "compact,delete", "delete,compact": "delete,compact", " delete , compact ": "delete,compact",
			"delete": "delete", "compact": "compact", "delete,delete": "delete", "compact,delete,compact": "compact,delete",
		} {
			name := fmt.Sprintf("t%x", set)
			if round == 0 {
				openTopic(t, e, name, Set("cleanup.policy", set))
			}
			top := openTopic(t, e, name)
			assert.Equal(t, want, top.Overrides()["cleanup.policy"], set)
			s := top.Settings()
			assert.Equal(t, want, s.Map()["cleanup.policy"], set)
			if want == "delete,compact" {
				assert.Equal(t, CleanupDelete|CleanupCompact, s.Cleanup)
				openTopic(t, e, name, CleanupWith(CleanupCompact|CleanupDelete))
				_, err := e.Topic(t.Context(), name, CleanupWith(CleanupDelete))
				assert.ErrorIs(t, err, ErrExists)
			}
		}
		require.NoError(t, e.Close())
	}
	e := openOn(t, disk)
	top := openTopic(t, e, "altered", CleanupWith(CleanupCompact|CleanupDelete))
	require.NoError(t, e.AlterTopic(t.Context(), "altered", Set("cleanup.policy", "delete,compact")))
	assert.Equal(t, "delete,compact", top.Overrides()["cleanup.policy"])
	s := top.Settings()
	assert.Equal(t, "delete,compact", openTopic(t, e, "copied", With(s)).Overrides()["cleanup.policy"])
}

// What a call cannot honour is refused: other partitions where one is read, and settings that are not known.
func TestOptionsThatCannotBeHonouredAreRefused(t *testing.T) {
	e := openOn(t, vfs.NewMem())
	top := openTopic(t, e, "t", Partitions(2))
	var err error
	for _, err = range top.Batches(t.Context(), 0, OnPartitions(1), UntilEnd()) {
	}
	assert.ErrorIs(t, err, ErrInvalid, "batches")
	ladder, err := e.RetryLadder(t.Context(), "t", time.Second)
	require.NoError(t, err)
	for _, err = range ladder.Read(t.Context(), 0, 0, OnPartitions(1), UntilEnd()) {
	}
	assert.ErrorIs(t, err, ErrInvalid, "ladder")
	_, err = e.CreateTopic(t.Context(), "new", Reset("no.such"))
	assert.ErrorIs(t, err, ErrInvalid, "create")
	_, err = e.Topic(t.Context(), "t", Reset("no.such"))
	assert.ErrorIs(t, err, ErrInvalid, "topic that is")
	_, err = e.Topic(t.Context(), "t", Partitions(0))
	assert.ErrorIs(t, err, ErrInvalid, "partitions")
	assert.ErrorIs(t, e.AlterTopic(t.Context(), "t", Reset("no.such")), ErrInvalid, "alter")
}

// An engine leaves the program some of the descriptors that it may have, whatever it opens.
func TestOpenFilesByDefault(t *testing.T) {
	var o options
	o.fill()
	if n := vfs.Descriptors(); n > 0 {
		require.Less(t, o.maxOpenFiles, n)
		require.GreaterOrEqual(t, o.maxOpenFiles, min(n/2, mostOpenFiles))
	}
	require.GreaterOrEqual(t, o.maxOpenFiles, 16)
	o = options{maxOpenFiles: 100}
	o.fill()
	require.Equal(t, 100, o.maxOpenFiles)
}
