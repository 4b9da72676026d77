package fetch

import "time"

// Policy says where a reader goes on when its position is not in the partition. Zero or more is a duration: the first record
// that is not older.
type Policy int64

// The policies that are no duration.
const (
	Earliest Policy = -1 // the first offset
	Latest   Policy = -2 // the end
	Fail     Policy = -3 // an error
)

// String is Kafka's name of the policy.
func (p Policy) String() string {
	switch p {
	case Earliest:
		return "earliest"
	case Latest:
		return "latest"
	case Fail:
		return "none"
	}
	return "by_duration:" + time.Duration(p).String()
}
