package group

import (
	"encoding/json"
	"errors"
)

// What tells of groups and queues encodes as JSON under the names of its fields, an error as its text or null, and decodes again; a decoded
// error has the text and no more. The errors of this package encode as their texts wherever they stand.

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

// MarshalText is the form of Error.
func (e *AckError) MarshalText() ([]byte, error) { return []byte(e.Error()), nil }

// MarshalText is the form of Error.
func (e *RouteError) MarshalText() ([]byte, error) { return []byte(e.Error()), nil }

// MarshalText is the form of Error.
func (e *PanicError) MarshalText() ([]byte, error) { return []byte(e.Error()), nil }

// MarshalJSON gives Refusal as text.
func (e QueueEntry) MarshalJSON() ([]byte, error) {
	type plain QueueEntry
	return json.Marshal(struct {
		plain
		Refusal errorText
	}{plain(e), errorText{e.Refusal}})
}

// UnmarshalJSON reads what MarshalJSON gives.
func (e *QueueEntry) UnmarshalJSON(data []byte) error {
	type plain QueueEntry
	in := struct {
		*plain
		Refusal errorText
	}{plain: (*plain)(e)}
	err := json.Unmarshal(data, &in)
	e.Refusal = in.Refusal.error
	return err
}

// MarshalJSON gives Err as text.
func (o PartitionOffset) MarshalJSON() ([]byte, error) {
	type plain PartitionOffset
	return json.Marshal(struct {
		plain
		Err errorText
	}{plain(o), errorText{o.Err}})
}

// UnmarshalJSON reads what MarshalJSON gives.
func (o *PartitionOffset) UnmarshalJSON(data []byte) error {
	type plain PartitionOffset
	in := struct {
		*plain
		Err errorText
	}{plain: (*plain)(o)}
	err := json.Unmarshal(data, &in)
	o.Err = in.Err.error
	return err
}

// MarshalJSON gives Err as text.
func (e PartitionError) MarshalJSON() ([]byte, error) {
	type plain PartitionError
	return json.Marshal(struct {
		plain
		Err errorText
	}{plain(e), errorText{e.Err}})
}

// UnmarshalJSON reads what MarshalJSON gives.
func (e *PartitionError) UnmarshalJSON(data []byte) error {
	type plain PartitionError
	in := struct {
		*plain
		Err errorText
	}{plain: (*plain)(e)}
	err := json.Unmarshal(data, &in)
	e.Err = in.Err.error
	return err
}
