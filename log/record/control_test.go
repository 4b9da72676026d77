package record

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/compress"
)

// controlBatch gives a control batch with this key and value.
func controlBatch(tb testing.TB, key, value []byte) Batch {
	return mustSeal(tb, BuilderConfig{Control: true, Transactional: true, HasProducer: true}, []Record{{Key: key, Value: value}})
}

func TestParseControl(t *testing.T) {
	marker := "0000 0000000d"
	tests := map[string]struct {
		key, value string
		want       ControlType
		epoch      int32
		bad        bool
	}{
		"abort":                 {key: "0000 0000", value: marker, want: Abort, epoch: 13},
		"commit":                {key: "0000 0001", value: marker, want: Commit, epoch: 13},
		"higher versions":       {key: "0003 0001", value: "0007 0000000d", want: Commit, epoch: 13},
		"longer key and value":  {key: "0000 0001 ffff", value: marker + "0102", want: Commit, epoch: 13},
		"leader change":         {key: "0000 0002", value: "", want: LeaderChange, epoch: -1},
		"voters":                {key: "0000 0006", value: "00", want: KRaftVoters, epoch: -1},
		"unknown type":          {key: "0000 0063", value: "", want: 99, epoch: -1},
		"short key":             {key: "0000 00", value: marker, bad: true},
		"no key":                {key: "", value: marker, bad: true},
		"negative key version":  {key: "ffff 0001", value: marker, bad: true},
		"negative type":         {key: "0000 ffff", value: marker, bad: true},
		"short value":           {key: "0000 0001", value: "0000 000000", bad: true},
		"no value":              {key: "0000 0000", value: "", bad: true},
		"negative value verion": {key: "0000 0000", value: "8000 0000000d", bad: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			kind, epoch, err := ParseControl(controlBatch(t, hexBytes(t, tt.key), hexBytes(t, tt.value)))
			if tt.bad {
				var facts *CorruptError
				require.ErrorAs(t, err, &facts)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, tt.want, kind)
			assert.Equal(t, tt.epoch, epoch)
		})
	}
	for name, b := range map[string]Batch{
		"a user's batch": unhex(t, goldenOne),
		"empty":          put(unhex(t, goldenEmpty), posAttributes, 2, attrControl),
		"null key":       controlBatch(t, nil, nil),
		"no header":      {},
		"cut":            put(unhex(t, goldenCommit), posCount, 4, 2)[:70],
	} {
		_, _, err := ParseControl(b)
		assert.ErrorIs(t, err, ErrCorrupt, name)
	}
}

func TestControlBatch(t *testing.T) {
	value := []byte{0, 0, 1, 2, 3}
	b, err := ControlBatch(BuilderConfig{Codec: compress.Zstd}, KRaftVersion, 5, value)
	require.NoError(t, err)
	require.NoError(t, b.Check())
	assert.True(t, b.Control())
	assert.Equal(t, compress.None, b.Codec(), "control batches are never compressed")
	assert.Equal(t, NoProducer, b.ProducerID())
	kind, _, err := ParseControl(b)
	require.NoError(t, err)
	assert.Equal(t, KRaftVersion, kind)
	assert.Equal(t, value, records(t, b)[0].Value)
	_, err = ControlBatch(BuilderConfig{}, Abort, -5, nil)
	require.ErrorIs(t, err, ErrInvalid)

	m := EndTxnMarker(Abort, 0, 0, 0, -5)
	require.NoError(t, m.Check())
	require.Len(t, m, EndTxnMarkerSize)
	assert.Equal(t, []any{int64(0), int16(0), NoSequence, NoTimestamp}, []any{m.ProducerID(), m.ProducerEpoch(), m.BaseSequence(), m.MaxTimestamp()})
	assert.True(t, m.Control() && m.Transactional())
}

func TestControlTypeString(t *testing.T) {
	assert.Equal(t, "abort", Abort.String())
	assert.Equal(t, "commit", Commit.String())
	assert.Equal(t, "kraft-voters", KRaftVoters.String())
	assert.Equal(t, "control(9)", ControlType(9).String())
	assert.Equal(t, "control(-1)", ControlType(-1).String())
}

// FuzzControl parses arbitrary keys and values.
func FuzzControl(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1}, []byte{0, 0, 0, 0, 0, 13})
	f.Add([]byte{0, 0, 0, 2}, []byte(nil))
	f.Add([]byte{0xff, 0xff, 0, 0}, []byte{0, 0})
	f.Fuzz(func(t *testing.T, key, value []byte) {
		kind, epoch, err := ParseControl(controlBatch(t, key, value))
		if err == nil && (kind == Commit || kind == Abort) {
			if again, epoch2, err := ParseControl(EndTxnMarker(kind, 1, 2, epoch, 3)); err != nil || again != kind || epoch2 != epoch {
				t.Fatalf("%v %d again is %v %d: %v", kind, epoch, again, epoch2, err)
			}
		}
	})
}
