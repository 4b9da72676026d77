package group

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/quirelog/quire/topic"
)

// BindingKind says how a [Binding] chooses its records.
type BindingKind uint8

// The kinds of bindings.
const (
	ExactKey   BindingKind = iota + 1 // the routing key is the binding's key: RabbitMQ's direct exchange
	KeyPattern                        // the routing key matches a pattern: its topic exchange
	AllHeaders                        // the record has all of the headers: its headers exchange, x-match=all
	AnyHeaders                        // the record has one of the headers: x-match=any
	Everything                        // any record: its fanout exchange
	Function                          // a function decides
)

// String is the kind in a word or two.
func (k BindingKind) String() string {
	switch k {
	case ExactKey:
		return "key"
	case KeyPattern:
		return "pattern"
	case AllHeaders:
		return "all headers"
	case AnyHeaders:
		return "any header"
	case Everything:
		return "everything"
	case Function:
		return "function"
	default:
		return fmt.Sprintf("kind %d", uint8(k))
	}
}

// Binding sends some of a router's records to a topic. Make one with [ByKey], [ByPattern], [ByHeaders], [ByAnyHeader], [Fanout] or [ByFunc].
// Two bindings are the same when all but Func is the same.
type Binding struct {
	Kind BindingKind
	// Key is the key, or the pattern, or a function's name.
	Key string
	// Headers are what records are to have. One with a nil Value stands for any header of that name. Their order does not count.
	Headers []topic.Header
	// To is the topic that copies go to; "" for a function.
	To   string
	Func RouteFunc
}

// RouteFunc says what becomes of a record: it returns the records to append, each with the topic it goes to as its Topic; none is a record
// that this function does not route. Of what it returns, Key, Value, Headers and Time count, a zero Time being now. The record that it is
// given is its own, but not the bytes: what is to be changed must be new bytes. It may be called by several goroutines at once, one for each
// source partition, and again for the same record. An error, or a panic as a *[PanicError], ends [Router.Run].
type RouteFunc func(rec topic.Record) ([]topic.Record, error)

// ByKey binds records with this very routing key.
func ByKey(key, to string) Binding { return Binding{Kind: ExactKey, Key: key, To: to} }

// ByPattern binds records whose routing key matches, by RabbitMQ's rules: both are words separated by dots; in the pattern "*" stands for one
// word, "#" for any number of words, none too. A key of no bytes has no words, so that "#" matches it and "*" does not; "a..b" has an empty
// word in its middle. A star that is only a part of a word is an ordinary letter. There is no limit of 255 bytes.
func ByPattern(pattern, to string) Binding { return Binding{Kind: KeyPattern, Key: pattern, To: to} }

// ByHeaders binds records that have all of the headers: the same name and the same bytes, or, where Value is nil, the name. None at all bind
// every record. Names that begin with "x-" count like others (RabbitMQ's all-with-x).
func ByHeaders(headers []topic.Header, to string) Binding {
	return Binding{Kind: AllHeaders, Headers: headers, To: to}
}

// ByAnyHeader binds records that have at least one of the headers (any-with-x). None at all are an ErrInvalid: no record would match.
func ByAnyHeader(headers []topic.Header, to string) Binding {
	return Binding{Kind: AnyHeaders, Headers: headers, To: to}
}

// Fanout binds all records.
func Fanout(to string) Binding { return Binding{Kind: Everything, To: to} }

// ByFunc binds a function. The name tells it from others: binding another function under the name replaces it.
func ByFunc(name string, f RouteFunc) Binding { return Binding{Kind: Function, Key: name, Func: f} }

// String tells what goes where, such as `pattern "*.eu.#" to europe`.
func (b Binding) String() string {
	switch b.Kind {
	case AllHeaders, AnyHeaders:
		var list []string
		for _, h := range b.Headers {
			if h.Value == nil {
				list = append(list, h.Key)
			} else {
				list = append(list, fmt.Sprintf("%s=%q", h.Key, h.Value))
			}
		}
		return fmt.Sprintf("%s {%s} to %s", b.Kind, strings.Join(list, ", "), b.To)
	case Everything:
		return fmt.Sprintf("%s to %s", b.Kind, b.To)
	case Function:
		return fmt.Sprintf("%s %q", b.Kind, b.Key)
	default:
		return fmt.Sprintf("%s %q to %s", b.Kind, b.Key, b.To)
	}
}

// check says what is wrong with a binding.
func (b Binding) check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: binding %s: %s", topic.ErrInvalid, b, fmt.Sprintf(format, args...))
	}
	switch b.Kind {
	case ExactKey, KeyPattern, AllHeaders, Everything:
	case AnyHeaders:
		if len(b.Headers) == 0 {
			return bad("no headers: no record would have one of them")
		}
	case Function:
		switch {
		case b.Func == nil:
			return bad("no function")
		case b.Key == "":
			return bad("no name")
		case b.To != "":
			return bad("a function names its topics itself")
		}
		return nil
	default:
		return bad("no such kind")
	}
	return checkDestination(b.To)
}

// checkDestination refuses names of topics that no copies can go to.
func checkDestination(name string) error {
	if err := topic.CheckName(name); err != nil {
		return err
	}
	if strings.HasPrefix(name, "__") {
		return fmt.Errorf("%w: topic %q is the engine's own", topic.ErrInvalid, name)
	}
	return nil
}

// bindingID is what makes two bindings the same.
type bindingID struct {
	kind             BindingKind
	key, headers, to string
}

func (b Binding) id() bindingID {
	var texts []string
	for _, h := range b.Headers {
		t := binary.AppendUvarint(nil, uint64(len(h.Key)))
		t = append(t, h.Key...)
		if h.Value == nil {
			t = append(t, '?')
		} else {
			t = binary.AppendUvarint(append(t, '='), uint64(len(h.Value)))
			t = append(t, h.Value...)
		}
		texts = append(texts, string(t))
	}
	slices.Sort(texts)
	return bindingID{b.Kind, b.Key, strings.Join(texts, ""), b.To}
}
