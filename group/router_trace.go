package group

import (
	"slices"
	"strconv"
	"strings"

	"github.com/quirelog/quire/topic"
)

// Headers that a router's copy has behind those of its record. A position is "topic/partition@offset", as [topic.Position] writes it. A copy of
// a copy has them anew; what it adds to is the number of hops, and it keeps the origin.
const (
	RouteHeaderSource = "quire.route.source" // the position of the record that was copied
	RouteHeaderOrigin = "quire.route.origin" // that of the first one, if it was copied more than once
	RouteHeaderHops   = "quire.route.hops"   // how often, in decimal
	RouteHeaderReason = "quire.route.reason" // in the alternate topic: why it is there
)

const routePrefix = "quire.route."

// Why a record is in the alternate topic. One that a topic refused has the topic's name and the error behind RouteRefused.
const (
	RouteUnmatched = "no binding"
	RouteTooFar    = "too many hops"
	RouteRefused   = "refused by "
)

// Routed tells where a copy comes from. Copies of one record by one router in one topic have the same Source: what comes again after a crash
// can be told by it.
type Routed struct {
	Source topic.Position
	Origin topic.Position // the first record; the same as Source after one hop
	Hops   int
	Reason string // of a record in an alternate topic, else ""
}

// ParseRouted reads what routers wrote into a record's headers; false for a record that none has copied.
func ParseRouted(rec topic.Record) (Routed, bool) {
	var r Routed
	known := false
	for _, h := range rec.Headers {
		if !strings.HasPrefix(h.Key, routePrefix) {
			continue
		}
		text := string(h.Value)
		switch h.Key {
		case RouteHeaderSource:
			p, err := topic.ParsePosition(text)
			r.Source, known = p, err == nil
		case RouteHeaderOrigin:
			r.Origin, _ = topic.ParsePosition(text)
		case RouteHeaderHops:
			if n, err := strconv.Atoi(text); err == nil {
				r.Hops = max(n, 0)
			}
		case RouteHeaderReason:
			r.Reason = text
		}
	}
	if !known {
		return Routed{}, false
	}
	if r.Origin.Topic == "" {
		r.Origin = r.Source
	}
	return r, true
}

// stamps makes the headers of copies, in memory that they share.
type stamps struct {
	text    []byte
	headers []topic.Header
}

func (s *stamps) reset() {
	clear(s.headers)
	s.text, s.headers = s.text[:0], s.headers[:0]
}

// headersOf are the headers of a copy of the record at source, which had come by so many hops from origin: those that it has, without what
// other routers wrote, and ours.
func (s *stamps) headersOf(have []topic.Header, source topic.Position, before Routed, reason string) []topic.Header {
	s.headers = slices.Grow(s.headers, len(have)+4)
	from := len(s.headers)
	for _, h := range have {
		if !strings.HasPrefix(h.Key, routePrefix) {
			s.headers = append(s.headers, h)
		}
	}
	s.add(RouteHeaderSource, func(b []byte) []byte { b, _ = source.AppendText(b); return b })
	if before.Hops > 0 {
		s.add(RouteHeaderOrigin, func(b []byte) []byte { b, _ = before.Origin.AppendText(b); return b })
	}
	s.add(RouteHeaderHops, func(b []byte) []byte { return strconv.AppendInt(b, int64(before.Hops)+1, 10) })
	if reason != "" {
		s.add(RouteHeaderReason, func(b []byte) []byte { return append(b, reason...) })
	}
	return s.headers[from:len(s.headers):len(s.headers)]
}

func (s *stamps) add(key string, write func([]byte) []byte) {
	from := len(s.text)
	s.text = write(s.text)
	s.headers = append(s.headers, topic.Header{Key: key, Value: s.text[from:len(s.text):len(s.text)]})
}
