package record

import (
	"math"
	"time"
)

// Millis is a time as milliseconds since 1970, as records carry it: what lies before counts as 1970, and what is
// beyond the last millisecond that an int64 holds as that one.
func Millis(t time.Time) int64 {
	const last = math.MaxInt64 / 1000
	switch s := t.Unix(); {
	case s < 0:
		return 0
	case s > last || s == last && t.Nanosecond()/int(time.Millisecond) > math.MaxInt64%1000:
		return math.MaxInt64
	}
	return t.UnixMilli()
}
