package record

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestMillisSaturates(t *testing.T) {
	last := time.UnixMilli(math.MaxInt64)
	for _, c := range []struct {
		t    time.Time
		want int64
	}{
		{time.Time{}, 0}, {time.Unix(-1, 999), 0}, {time.Unix(-1<<62, 0), 0}, {time.Unix(math.MinInt64, 0), 0}, {time.Unix(0, 0), 0},
		{time.Unix(0, 1_999_999), 1}, {time.UnixMilli(1234), 1234}, {last, math.MaxInt64}, {last.Add(-time.Millisecond), math.MaxInt64 - 1},
		{last.Add(time.Millisecond), math.MaxInt64}, {last.Add(time.Hour), math.MaxInt64}, {time.Unix(1<<62, 0), math.MaxInt64},
		{time.Unix(math.MaxInt64/1000+1, 0), math.MaxInt64},
	} {
		assert.Equal(t, c.want, Millis(c.t), "%d s", c.t.Unix())
	}
}
