package topic

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/quirelog/quire/internal/errjson"
)

// Reports and facts encode as JSON by package errjson, and decode again.

// MarshalJSON gives Err as text.
func (f Fault) MarshalJSON() ([]byte, error) { return errjson.Marshal(f) }

// UnmarshalJSON reads what MarshalJSON gives.
func (f *Fault) UnmarshalJSON(data []byte) error { return errjson.Unmarshal(data, f) }

// MarshalJSON gives Err as text.
func (f PartitionFault) MarshalJSON() ([]byte, error) { return errjson.Marshal(f) }

// UnmarshalJSON reads what MarshalJSON gives.
func (f *PartitionFault) UnmarshalJSON(data []byte) error { return errjson.Unmarshal(data, f) }

// MarshalJSON gives Err as text.
func (f DamageFacts) MarshalJSON() ([]byte, error) { return errjson.Marshal(f) }

// UnmarshalJSON reads what MarshalJSON gives.
func (f *DamageFacts) UnmarshalJSON(data []byte) error { return errjson.Unmarshal(data, f) }

// MarshalJSON gives Err as text.
func (f LoopFacts) MarshalJSON() ([]byte, error) { return errjson.Marshal(f) }

// UnmarshalJSON reads what MarshalJSON gives.
func (f *LoopFacts) UnmarshalJSON(data []byte) error { return errjson.Unmarshal(data, f) }

// MarshalJSON gives the errors as texts.
func (f OpenedFacts) MarshalJSON() ([]byte, error) { return errjson.Marshal(f) }

// UnmarshalJSON reads what MarshalJSON gives.
func (f *OpenedFacts) UnmarshalJSON(data []byte) error { return errjson.Unmarshal(data, f) }

// MarshalJSON gives Ends under the names of the partitions' directories, "topic-partition".
func (r BackupReport) MarshalJSON() ([]byte, error) {
	type plain BackupReport
	ends := make(map[string]int64, len(r.Ends))
	for tp, end := range r.Ends {
		ends[tp.String()] = end
	}
	return json.Marshal(struct {
		plain
		Ends map[string]int64
	}{plain(r), ends})
}

// UnmarshalJSON reads what MarshalJSON gives.
func (r *BackupReport) UnmarshalJSON(data []byte) error {
	type plain BackupReport
	in := struct {
		*plain
		Ends map[string]int64
	}{plain: (*plain)(r)}
	if err := json.Unmarshal(data, &in); err != nil {
		return err
	}
	r.Ends = make(map[TopicPartition]int64, len(in.Ends))
	for name, end := range in.Ends {
		at := strings.LastIndexByte(name, '-')
		n, err := strconv.ParseInt(name[at+1:], 10, 32)
		if at < 0 || err != nil {
			return fmt.Errorf("%w: partition %q", ErrInvalid, clip(name))
		}
		r.Ends[TopicPartition{name[:at], int32(n)}] = end
	}
	return nil
}
