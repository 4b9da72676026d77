package group

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"slices"
	"strings"
)

// span is the offsets from first up to, but not including, end.
type span struct{ first, end int64 }

// spans are records that are finished beyond what is committed, in ascending order and apart. They travel as the metadata of the committed
// offset, so that whoever goes on there does not process them again:
//
//	done1:BAIBAw    base64 (without padding) of pairs of unsigned varints: so many offsets to go over, then so many that are finished,
//	                the first pair from the committed offset on
type spans []span

const spansPrefix = "done1:"

// hold tells whether an offset is in them.
func (l spans) hold(offset int64) bool {
	at, _ := slices.BinarySearchFunc(l, offset, func(s span, offset int64) int {
		if s.end <= offset {
			return -1
		}
		return 1
	})
	return at < len(l) && l[at].first <= offset
}

// from is what of them lies at or beyond an offset.
func (l spans) from(offset int64) spans {
	at := 0
	for at < len(l) && l[at].end <= offset {
		at++
	}
	l = l[at:]
	if len(l) > 0 && l[0].first < offset {
		l = slices.Clone(l)
		l[0].first = offset
	}
	return l
}

// and gives the spans with more behind them.
func (l spans) and(more spans) spans {
	if len(l) > 0 && len(more) > 0 && l[len(l)-1].end == more[0].first {
		l[len(l)-1].end = more[0].end
		more = more[1:]
	}
	return append(l, more...)
}

// text is the spans beyond a committed offset as metadata of at most so many bytes, "" without any: those that do not fit, which are the
// last ones, will be processed again.
func (l spans) text(committed int64, most int) string {
	var raw []byte
	room := (most - len(spansPrefix)) / 4 * 3
	at := committed
	for _, s := range l.from(committed) {
		longer := binary.AppendUvarint(raw, uint64(s.first-at))
		longer = binary.AppendUvarint(longer, uint64(s.end-s.first))
		if len(longer) > room {
			break
		}
		raw, at = longer, s.end
	}
	if len(raw) == 0 {
		return ""
	}
	return spansPrefix + base64.RawStdEncoding.EncodeToString(raw)
}

// parseSpans reads metadata. What is not ours, or not whole, says nothing.
func parseSpans(committed int64, text string) spans {
	text, ours := strings.CutPrefix(text, spansPrefix)
	raw, err := base64.RawStdEncoding.DecodeString(text)
	if !ours || err != nil || committed < 0 {
		return nil
	}
	var list spans
	at := committed
	for len(raw) > 0 {
		gap, n := binary.Uvarint(raw)
		if n <= 0 {
			return nil
		}
		length, k := binary.Uvarint(raw[n:])
		room := uint64(math.MaxInt64 - at)
		if k <= 0 || length == 0 || gap > room || length > room-gap || gap == 0 && len(list) > 0 {
			return nil
		}
		first := at + int64(gap)
		at = first + int64(length)
		list = append(list, span{first, at})
		raw = raw[n+k:]
	}
	return list
}
