package group

import "github.com/quirelog/quire/internal/errjson"

// What tells of groups and queues encodes as JSON by package errjson, and decodes again. The errors of this package encode as their texts
// wherever they stand.

// MarshalText is the form of Error.
func (e *AckError) MarshalText() ([]byte, error) { return []byte(e.Error()), nil }

// MarshalText is the form of Error.
func (e *RouteError) MarshalText() ([]byte, error) { return []byte(e.Error()), nil }

// MarshalText is the form of Error.
func (e *PanicError) MarshalText() ([]byte, error) { return []byte(e.Error()), nil }

// MarshalJSON gives Refusal as text.
func (e QueueEntry) MarshalJSON() ([]byte, error) { return errjson.Marshal(e) }

// UnmarshalJSON reads what MarshalJSON gives.
func (e *QueueEntry) UnmarshalJSON(data []byte) error { return errjson.Unmarshal(data, e) }

// MarshalJSON gives Err as text.
func (o PartitionOffset) MarshalJSON() ([]byte, error) { return errjson.Marshal(o) }

// UnmarshalJSON reads what MarshalJSON gives.
func (o *PartitionOffset) UnmarshalJSON(data []byte) error { return errjson.Unmarshal(data, o) }

// MarshalJSON gives Err as text.
func (e PartitionError) MarshalJSON() ([]byte, error) { return errjson.Marshal(e) }

// UnmarshalJSON reads what MarshalJSON gives.
func (e *PartitionError) UnmarshalJSON(data []byte) error { return errjson.Unmarshal(data, e) }
