package topic

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRecordTimes(t *testing.T) {
	e := clientEngine(t)
	top := clientTopic(t, e, "t")
	p := clientProducer(t, e)
	both := func(rec Record) (one, two error) {
		_, one = top.Append(t.Context(), rec)
		_, two = p.SendSync(t.Context(), "t", rec)
		return one, two
	}
	last := time.Unix(math.MaxInt64/1000, 0)
	for _, at := range []time.Time{time.UnixMilli(0), time.UnixMilli(1), last} {
		one, two := both(Record{Time: at})
		require.NoError(t, one)
		require.NoError(t, two)
		var got []time.Time
		for rec, err := range top.Read(t.Context(), UntilEnd()) {
			require.NoError(t, err)
			got = append(got, rec.Time)
		}
		for _, g := range got[len(got)-2:] {
			assert.True(t, g.Equal(at), "%v came back as %v", at, g)
		}
	}
	// One millisecond before 1970 is stored as "no time", and a far time wraps around: refused like all others.
	for _, at := range []time.Time{time.UnixMilli(-1), time.UnixMilli(-2), time.Unix(0, -1), last.Add(time.Second), time.Unix(1<<62, 0)} {
		one, two := both(Record{Time: at})
		assert.ErrorIs(t, one, ErrInvalidTimestamp, "%v", at)
		assert.ErrorIs(t, two, ErrInvalidTimestamp, "%v", at)
	}
}
