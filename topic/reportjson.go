package topic

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Reports and facts encode as JSON objects under the names of their fields, an error as its text or null, and decode again; a decoded error
// has the text and no more.

// errorText is an error in JSON.
type errorText struct{ error }

func (t errorText) MarshalJSON() ([]byte, error) {
	if t.error == nil {
		return []byte("null"), nil
	}
	return json.Marshal(t.Error())
}

func (t *errorText) UnmarshalJSON(data []byte) error {
	var text *string
	err := json.Unmarshal(data, &text)
	if t.error = nil; text != nil {
		t.error = errors.New(*text)
	}
	return err
}

func errorTexts(list []error) []errorText {
	out := make([]errorText, len(list))
	for i, err := range list {
		out[i].error = err
	}
	return out
}

func errorsOf(list []errorText) (out []error) {
	for _, t := range list {
		out = append(out, t.error)
	}
	return out
}

// MarshalJSON gives Err as text.
func (f Fault) MarshalJSON() ([]byte, error) {
	type plain Fault
	return json.Marshal(struct {
		plain
		Err errorText
	}{plain(f), errorText{f.Err}})
}

// UnmarshalJSON reads what MarshalJSON gives.
func (f *Fault) UnmarshalJSON(data []byte) error {
	type plain Fault
	in := struct {
		*plain
		Err errorText
	}{plain: (*plain)(f)}
	err := json.Unmarshal(data, &in)
	f.Err = in.Err.error
	return err
}

// MarshalJSON gives Err as text.
func (f PartitionFault) MarshalJSON() ([]byte, error) {
	type plain PartitionFault
	return json.Marshal(struct {
		plain
		Err errorText
	}{plain(f), errorText{f.Err}})
}

// UnmarshalJSON reads what MarshalJSON gives.
func (f *PartitionFault) UnmarshalJSON(data []byte) error {
	type plain PartitionFault
	in := struct {
		*plain
		Err errorText
	}{plain: (*plain)(f)}
	err := json.Unmarshal(data, &in)
	f.Err = in.Err.error
	return err
}

// MarshalJSON gives Err as text.
func (f DamageFacts) MarshalJSON() ([]byte, error) { return PartitionFault(f).MarshalJSON() }

// UnmarshalJSON reads what MarshalJSON gives.
func (f *DamageFacts) UnmarshalJSON(data []byte) error {
	return (*PartitionFault)(f).UnmarshalJSON(data)
}

// MarshalJSON gives Err as text.
func (f LoopFacts) MarshalJSON() ([]byte, error) {
	type plain LoopFacts
	return json.Marshal(struct {
		plain
		Err errorText
	}{plain(f), errorText{f.Err}})
}

// UnmarshalJSON reads what MarshalJSON gives.
func (f *LoopFacts) UnmarshalJSON(data []byte) error {
	type plain LoopFacts
	in := struct {
		*plain
		Err errorText
	}{plain: (*plain)(f)}
	err := json.Unmarshal(data, &in)
	f.Err = in.Err.error
	return err
}

// MarshalJSON gives the errors as texts.
func (f OpenedFacts) MarshalJSON() ([]byte, error) {
	type plain OpenedFacts
	return json.Marshal(struct {
		plain
		Damage, Repaired []errorText
	}{plain(f), errorTexts(f.Damage), errorTexts(f.Repaired)})
}

// UnmarshalJSON reads what MarshalJSON gives.
func (f *OpenedFacts) UnmarshalJSON(data []byte) error {
	type plain OpenedFacts
	in := struct {
		*plain
		Damage, Repaired []errorText
	}{plain: (*plain)(f)}
	err := json.Unmarshal(data, &in)
	f.Damage, f.Repaired = errorsOf(in.Damage), errorsOf(in.Repaired)
	return err
}

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
