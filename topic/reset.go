package topic

import (
	"time"

	"github.com/quirelog/quire/topic/internal/fetch"
)

// ResetPolicy says where a reader goes on when its position is not, or no more, in the partition, and where
// a consumer begins when it was given none. A policy of zero or more is a duration: see [ByDuration]. Its String is Kafka's name of it.
type ResetPolicy = fetch.Policy

const (
	// Earliest goes to the first offset there is. The default: whatever is still there is read. (Kafka's
	// default is latest, which skips silently.)
	Earliest = fetch.Earliest
	// Latest goes to the end.
	Latest = fetch.Latest
	// Fail makes it an error, *[OffsetRangeError]. A partition assigned without a position begins at its
	// first offset.
	Fail = fetch.Fail
)

// ByDuration goes to the first record not older than d; to the end if there is none.
func ByDuration(d time.Duration) ResetPolicy { return ResetPolicy(max(d, 0)) }
