package group

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSpansAsText(t *testing.T) {
	for text, list := range map[string]spans{
		"":             nil,
		"done1:BAI":    {{104, 106}},
		"done1:BAIBAw": {{104, 106}, {107, 110}},
		"done1:AAE":    {{100, 101}},
	} {
		require.Equal(t, text, list.text(100, 4096))
		require.Equal(t, list, parseSpans(100, text))
	}
	list := spans{{104, 106}, {107, 110}}
	require.Equal(t, "done1:AAEBAw", list.text(105, 4096), "what is below the offset is left out")
	require.Equal(t, spans{{105, 106}, {107, 110}}, list.from(105))
	require.Equal(t, list[1:], list.from(106))
	require.Equal(t, spans{{104, 106}, {107, 120}}, list.and(spans{{110, 120}}))
	for _, foreign := range []string{"hello", "done1:", "done1:A", "done1:BA", "done1:BAA", "done1:BAIAAw", "done1:////////////AAAA", "done1: AgM"} {
		require.Empty(t, parseSpans(100, foreign), foreign)
	}
	require.Empty(t, parseSpans(-1, "done1:BAI"))
}

// Whatever is finished: what fits comes back as it was, and the rest is missing at the end.
func TestSpansFitTheirRoom(t *testing.T) {
	for seed := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, 9))
		var list spans
		at := int64(1000)
		for range rng.IntN(400) {
			at += 1 + rng.Int64N(1<<rng.IntN(20))
			end := at + 1 + rng.Int64N(1<<rng.IntN(10))
			list = append(list, span{at, end})
			at = end
		}
		room := 10 + rng.IntN(2000)
		text := list.text(1000, room)
		require.LessOrEqual(t, len(text), room)
		back := parseSpans(1000, text)
		require.Equal(t, append(spans{}, list[:len(back)]...), append(spans{}, back...))
		if len(back) < len(list) {
			require.Greater(t, len(text), room-12, "seed %d: there was room for more", seed)
		}
		for _, s := range back {
			require.True(t, list.hold(s.first) && list.hold(s.end-1) && !back.hold(s.first-1))
		}
	}
}

func FuzzSpans(f *testing.F) {
	for _, s := range []string{"", "x", "done1:BAIBAw", "done1://///////38B"} {
		f.Add(int64(7), s)
	}
	f.Fuzz(func(t *testing.T, committed int64, text string) {
		list := parseSpans(committed, text)
		at := committed
		for i, s := range list {
			if s.first < at || s.end <= s.first || i > 0 && s.first == at {
				t.Fatalf("%v is not in order", list)
			}
			at = s.end
		}
		if again := parseSpans(committed, list.text(committed, len(text)+4)); len(list) > 0 && !strings.HasPrefix(text, spansPrefix) || len(again) != len(list) {
			t.Fatalf("%v came back as %v", list, again)
		}
	})
}
