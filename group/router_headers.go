package group

import (
	"bytes"

	"github.com/quirelog/quire/topic"
)

// headerIndex finds the bindings whose headers a record has. A binding that asks for one of its headers is listed under each of them, one
// that asks for all of them under the one with the fewest bindings so far: the rest is looked at when that one is there. So a record costs
// what is listed under its own headers, not what is bound.
type headerIndex struct {
	lists map[headerKey][]*boundRoute
	open  []*boundRoute // ask for nothing
}

// headerKey is a header that a binding asks for; one without a value asks for the name only.
type headerKey struct {
	name, value string
	any         bool
}

func keyOf(h topic.Header) headerKey {
	return headerKey{name: h.Key, value: string(h.Value), any: h.Value == nil}
}

func (x *headerIndex) add(b *boundRoute) {
	if x.lists == nil {
		x.lists = map[headerKey][]*boundRoute{}
	}
	switch {
	case len(b.Headers) == 0:
		x.open = append(x.open, b)
		return
	case b.Kind == AnyHeaders:
		for _, h := range b.Headers {
			b.listed = append(b.listed, keyOf(h))
		}
	default:
		fewest := keyOf(b.Headers[0])
		for _, h := range b.Headers[1:] {
			if k := keyOf(h); len(x.lists[k]) < len(x.lists[fewest]) {
				fewest = k
			}
		}
		b.listed = []headerKey{fewest}
	}
	for _, k := range b.listed {
		x.lists[k] = append(x.lists[k], b)
	}
}

func (x *headerIndex) remove(b *boundRoute) {
	x.open = without(x.open, b)
	for _, k := range b.listed {
		if x.lists[k] = without(x.lists[k], b); len(x.lists[k]) == 0 {
			delete(x.lists, k)
		}
	}
}

// match calls found with bindings that the headers satisfy, with some of them more than once.
func (x *headerIndex) match(headers []topic.Header, found func(*boundRoute)) {
	for _, b := range x.open {
		found(b)
	}
	if len(x.lists) == 0 {
		return
	}
	try := func(list []*boundRoute) {
		for _, b := range list {
			if b.Kind == AnyHeaders || hasAll(headers, b.Headers) {
				found(b)
			}
		}
	}
	for _, h := range headers {
		if h.Value != nil {
			try(x.lists[headerKey{name: h.Key, value: string(h.Value)}])
		}
		try(x.lists[headerKey{name: h.Key, any: true}])
	}
}

func hasAll(have, want []topic.Header) bool {
	for _, w := range want {
		ok := false
		for _, h := range have {
			if ok = h.Key == w.Key && (w.Value == nil || h.Value != nil && bytes.Equal(h.Value, w.Value)); ok {
				break
			}
		}
		if !ok {
			return false
		}
	}
	return true
}
