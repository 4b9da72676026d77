package topic

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// keysOfDelayed is some keys of the delayed topic.
func keysOfDelayed() [][]byte {
	p := &Partition{topic: &Topic{name: "mails", id: ID{1, 2, 3}}, id: 7}
	now := time.UnixMilli(1_700_000_000_000)
	return [][]byte{
		appendEnvelope(nil, p, &Record{}, now),
		appendEnvelope(nil, p, &Record{Key: []byte{}}, now),
		appendEnvelope(nil, p, &Record{Key: []byte("key"), Time: now}, now),
		appendCancellation(nil, 1234567),
	}
}

func TestEnvelopeOfADelayedMessage(t *testing.T) {
	keys := keysOfDelayed()
	e, err := parseEnvelope(keys[2])
	require.NoError(t, err)
	assert.Equal(t, envelope{kind: kindScheduled, topic: ID{1, 2, 3}, partition: 7, time: 1_700_000_000_000, name: []byte("mails"), key: []byte("key")}, e)
	e, err = parseEnvelope(keys[0])
	require.NoError(t, err)
	assert.Nil(t, e.key)
	assert.Equal(t, int64(-1), e.time)
	e, err = parseEnvelope(keys[1])
	require.NoError(t, err)
	assert.NotNil(t, e.key)
	e, err = parseEnvelope(keys[3])
	require.NoError(t, err)
	assert.Equal(t, int64(1234567), e.cancelled)
	newer := append([]byte{9}, keys[0][1:]...)
	_, err = parseEnvelope(newer)
	require.ErrorIs(t, err, ErrNewerFormat)
}

func FuzzParseDelayed(f *testing.F) {
	for _, k := range keysOfDelayed() {
		f.Add(k)
	}
	f.Add([]byte(`{"format":1,"bound":[5,2,9],"lanes":[{"topic":"AAAAAAAAAAAAAAAAAAAAAA","messages":[[1,2,3]],"lag":[1,2,3]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if e, err := parseEnvelope(data); err == nil {
			require.LessOrEqual(t, len(e.name)+len(e.key), len(data))
		} else if !errors.Is(err, ErrCorrupt) {
			require.ErrorIs(t, err, ErrNewerFormat)
		}
		p, err := parseProgress(data)
		if err != nil {
			return
		}
		text, err := json.Marshal(p)
		require.NoError(t, err)
		again, err := parseProgress(text)
		require.NoError(t, err)
		require.Equal(t, p.Bound, again.Bound)
		require.Len(t, again.Lanes, len(p.Lanes))
	})
}

// Whoever writes into the internal topic himself does not stop the others' messages.
func TestStrangeRecordsHoldUpNothing(t *testing.T) {
	disk := vfs.NewMem()
	e := openOn(t, disk)
	tp := openTopic(t, e, "mails")
	later(t, tp, "x", 2*time.Minute)
	inner, err := e.Topic(t.Context(), DelayedTopic)
	require.NoError(t, err)
	_, err = inner.Append(t.Context(), say("nonsense"), AppendTo(levelPart(levelOf(2*time.Minute))))
	require.NoError(t, err)
	require.NoError(t, e.Close())
	e = openOn(t, disk)
	assert.Equal(t, []string{"x"}, waiting(t, openTopic(t, e, "mails")))
}

func TestProgressThatCannotBeRead(t *testing.T) {
	for text, want := range map[string]error{
		`{"format":1,"bound":[5,0,0]}`:                                      nil,
		`{"format":1,"bound":[5,11,0]}`:                                     ErrCorrupt,
		`{"format":2,"bound":[5,0,0],"ceilings":[{"below":[9,0,0]}]}`:       ErrCorrupt,
		`{"format":2,"lanes":[{"lagCeilings":[{"below":[9,12,0]}]}]}`:       ErrCorrupt,
		`{"format":2,"ceilings":[{"ends":[1,2,3,4,5,6,7,8,9,10,11]}]}`:      nil,
		`{"format":2,"ceilings":[{"ends":[1,2,3,4,5,6,7,8,9,10,11,12,1]}]}`: ErrCorrupt,
		`{"format":3}`: ErrNewerFormat,
		`nonsense`:     ErrCorrupt,
	} {
		_, err := parseProgress([]byte(text))
		require.ErrorIs(t, err, want, text)
	}
}
