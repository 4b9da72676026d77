package errjson_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/internal/errjson"
)

type place struct{ Topic string }

// String is a method of the embedded struct: its fields are still the outer one's.
func (p place) String() string { return p.Topic }

type report struct {
	place
	Err    error
	Faults []error
	N      int64 `json:"n,omitempty"`
	hidden int
}

type public struct {
	Place
	Err error
}

// Place is embedded.
type Place struct{ Partition int32 }

func (p public) MarshalJSON() ([]byte, error)     { return errjson.Marshal(p) }
func (p *public) UnmarshalJSON(data []byte) error { return errjson.Unmarshal(data, p) }

func TestFields(t *testing.T) {
	data, err := errjson.Marshal(report{place: place{"t"}, Err: errors.New("a \"b\""), Faults: []error{errors.New("c"), nil}, N: 1<<62 + 1, hidden: 1})
	require.NoError(t, err)
	require.Equal(t, `{"Topic":"t","Err":"a \"b\"","Faults":["c",null],"n":4611686018427387905}`, string(data))
	data, err = errjson.Marshal(public{Place{2}, nil})
	require.NoError(t, err)
	require.Equal(t, `{"Partition":2,"Err":null}`, string(data))
	data, err = errjson.Marshal(report{})
	require.NoError(t, err)
	require.Equal(t, `{"Topic":"","Err":null,"Faults":[]}`, string(data))
}

func TestDecodes(t *testing.T) {
	want := []public{{Place{2}, errors.New("x")}, {}}
	data, err := json.Marshal(want)
	require.NoError(t, err)
	var got []public
	require.NoError(t, json.Unmarshal(data, &got))
	require.Equal(t, want, got)
	kept := public{Place{3}, errors.New("there")}
	require.NoError(t, json.Unmarshal([]byte(`{"Partition":4}`), &kept))
	require.Equal(t, public{Place{4}, errors.New("there")}, kept, "what is not named stays")
	require.Error(t, json.Unmarshal([]byte(`{"Err":5}`), &kept))
	require.NoError(t, json.Unmarshal([]byte(`{"Err":null}`), &kept))
	require.NoError(t, kept.Err)
	list := report{Faults: []error{errors.New("there")}}
	require.NoError(t, errjson.Unmarshal([]byte(`{"Faults":[]}`), &list))
	require.Nil(t, list.Faults)
}
