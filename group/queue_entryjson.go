package group

import (
	"encoding/json"
	"errors"
)

// MarshalJSON gives Refusal as text, null if there is none.
func (e QueueEntry) MarshalJSON() ([]byte, error) {
	type plain QueueEntry
	out := struct {
		plain
		Refusal *string
	}{plain: plain(e)}
	if e.Refusal != nil {
		text := e.Refusal.Error()
		out.Refusal = &text
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON gives; the error has the text and no more.
func (e *QueueEntry) UnmarshalJSON(data []byte) error {
	type plain QueueEntry
	in := struct {
		*plain
		Refusal *string
	}{plain: (*plain)(e)}
	err := json.Unmarshal(data, &in)
	if e.Refusal = nil; in.Refusal != nil {
		e.Refusal = errors.New(*in.Refusal)
	}
	return err
}
