package group

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/topic"
)

// goesTo tells which topics a record with this key and these headers goes to, sorted.
func goesTo(t *routeTable, w *routeWalk, key string, headers ...topic.Header) []string {
	t.find(w, []byte(key), headers)
	list := []string{}
	for _, p := range w.targets {
		list = append(list, p.name)
	}
	slices.Sort(list)
	return list
}

// The bindings and keys that RabbitMQ's own tests of its topic exchange use, with the bindings that match each key there.
func TestRabbitMQsTopicExchange(t *testing.T) {
	patterns := []string{
		"a.b.c", "a.*.c", "a.#.b", "a.b.b.c", "#", "#.#", "#.b", "*.*", "a.*", "*.b.c", "a.#", "a.#.#", "b.b.c", "a.b.b", "a.b", "b.c", "",
		"*.*.*", "vodka.martini", "a.b.c", "*.#", "#.*.#", "*.#.#", "#.#.#", "*", "#.b.#",
	}
	table, w := newRouteTable(), &routeWalk{}
	for i, p := range patterns {
		table.add([]Binding{ByPattern(p, fmt.Sprintf("t%02d", i+1))})
	}
	for key, want := range map[string][]int{
		"a.b.c":               {1, 2, 5, 6, 10, 11, 12, 18, 20, 21, 22, 23, 24, 26},
		"a.b":                 {3, 5, 6, 7, 8, 9, 11, 12, 15, 21, 22, 23, 24, 26},
		"a.b.b":               {3, 5, 6, 7, 11, 12, 14, 18, 21, 22, 23, 24, 26},
		"":                    {5, 6, 17, 24},
		"b.c.c":               {5, 6, 18, 21, 22, 23, 24, 26},
		"a.a.a.a.a":           {5, 6, 11, 12, 21, 22, 23, 24},
		"vodka.gin":           {5, 6, 8, 21, 22, 23, 24},
		"vodka.martini":       {5, 6, 8, 19, 21, 22, 23, 24},
		"b.b.c":               {5, 6, 10, 13, 18, 21, 22, 23, 24, 26},
		"nothing.here.at.all": {5, 6, 21, 22, 23, 24},
		"oneword":             {5, 6, 21, 22, 23, 24, 25},
	} {
		var names []string
		for _, n := range want {
			names = append(names, fmt.Sprintf("t%02d", n))
		}
		assert.Equal(t, names, goesTo(table, w, key), "key %q", key)
	}
}

func TestPatternsWordByWord(t *testing.T) {
	for _, c := range []struct {
		pattern string
		yes, no []string
	}{
		{"", []string{""}, []string{".", "a"}},
		{"*", []string{"a", "*", "#", " "}, []string{"", ".", "a.b"}},
		{"#", []string{"", ".", "a", "a..b", "a.b.c.d"}, nil},
		{"a.", []string{"a."}, []string{"a", "a.b", "a.."}},
		{"a.*", []string{"a.", "a.b"}, []string{"a", "a.b.c", "aa.b"}},
		{"a..b", []string{"a..b"}, []string{"a.b", "a.x.b"}},
		{"a.*.b", []string{"a..b", "a.x.b"}, []string{"a.b"}},
		{"a.#.b", []string{"a.b", "a..b", "a.b.b", "a.x.y.b"}, []string{"a", "b", "a.b.c", "ab"}},
		{"a*", []string{"a*"}, []string{"ab", "a"}},
		{"#a.b", []string{"#a.b"}, []string{"a.b", "x.a.b"}},
		{"#.*", []string{"a", "a.b", "."}, []string{""}},
		{"*.#.*", []string{"a.b", "a.b.c"}, []string{"", "a"}},
		{"#.a.#.a.#", []string{"a.a", "x.a.y.a.z"}, []string{"a", "a.b"}},
	} {
		table, w := newRouteTable(), &routeWalk{}
		table.add([]Binding{ByPattern(c.pattern, "yes")})
		for _, key := range c.yes {
			assert.NotEmpty(t, goesTo(table, w, key), "%q matches %q", c.pattern, key)
		}
		for _, key := range c.no {
			assert.Empty(t, goesTo(table, w, key), "%q does not match %q", c.pattern, key)
		}
	}
}

// plainMatch is the rules as one would say them.
func plainMatch(pattern, key []string) bool {
	if len(pattern) == 0 {
		return len(key) == 0
	}
	if pattern[0] == "#" {
		return plainMatch(pattern[1:], key) || len(key) > 0 && plainMatch(pattern, key[1:])
	}
	return len(key) > 0 && (pattern[0] == "*" || pattern[0] == key[0]) && plainMatch(pattern[1:], key[1:])
}

func plainWords(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ".")
}

// FuzzPatterns holds the matcher against plainMatch, with bindings coming and going.
func FuzzPatterns(f *testing.F) {
	f.Add("a.#.b\n*.b\n#\na.#", "a.b", uint64(1))
	f.Add("#.#.#.#.a\n#.*.#\n\n.\n*", "a.a.b.a", uint64(2))
	f.Add("#.a.#.a.#.a.#.b", "a.a.a.a.a.a.a", uint64(3))
	f.Fuzz(func(t *testing.T, text, key string, seed uint64) {
		patterns := strings.Split(text, "\n")
		if len(patterns) > 20 || len(text) > 200 || len(key) > 40 || strings.Count(text, "#") > 30 {
			return
		}
		table, w := newRouteTable(), &routeWalk{}
		bindings := map[string]Binding{}
		for i, p := range patterns {
			b := ByPattern(p, fmt.Sprintf("t%02d", i))
			table.add([]Binding{b, b})
			bindings[b.To] = b
		}
		dice := rand.New(rand.NewPCG(seed, 0))
		for range 3 {
			want := []string{}
			for to, b := range bindings {
				if plainMatch(plainWords(b.Key), plainWords(key)) {
					want = append(want, to)
				}
			}
			slices.Sort(want)
			require.Equal(t, want, goesTo(table, w, key))
			require.Equal(t, len(bindings), table.size())
			for to, b := range bindings {
				if dice.IntN(2) == 0 {
					require.True(t, table.remove(b))
					require.False(t, table.remove(b))
					delete(bindings, to)
				}
			}
		}
		for _, b := range bindings {
			require.True(t, table.remove(b))
		}
		require.True(t, table.patterns.root.empty(), "nothing is left of patterns that are gone")
		require.Empty(t, table.targets)
		require.Len(t, table.patterns.free, table.patterns.hashes)
	})
}

// A pattern with many "#" and a key that nearly matches it in a great many ways takes no longer for it.
func TestPatternsDoNotBlowUp(t *testing.T) {
	table, w := newRouteTable(), &routeWalk{}
	table.add([]Binding{ByPattern(strings.Repeat("#.a.", 200)+"#.b", "never"), ByPattern(strings.Repeat("#.", 500)+"#", "always")})
	key := strings.TrimSuffix(strings.Repeat("a.", 2000), ".")
	began := time.Now()
	require.Equal(t, []string{"always"}, goesTo(table, w, key))
	require.Less(t, time.Since(began), time.Minute, "2000 words x 200 nodes are less than a tenth of a second's work")
}

func header(name, value string) topic.Header { return topic.Header{Key: name, Value: []byte(value)} }

func TestHeaderBindings(t *testing.T) {
	table, w := newRouteTable(), &routeWalk{}
	bare := topic.Header{Key: "trace"}
	table.add([]Binding{
		ByHeaders([]topic.Header{header("format", "pdf"), header("type", "report")}, "all"),
		ByAnyHeader([]topic.Header{header("format", "pdf"), header("type", "log")}, "any"),
		ByHeaders([]topic.Header{bare}, "named"),
		ByHeaders([]topic.Header{bare, header("format", "zip")}, "named-zip"),
		ByHeaders([]topic.Header{header("empty", "")}, "empty"),
		ByHeaders(nil, "every"),
	})
	for _, c := range []struct {
		have []topic.Header
		want []string
	}{
		{nil, []string{"every"}},
		{[]topic.Header{header("format", "pdf")}, []string{"any", "every"}},
		{[]topic.Header{header("type", "report"), header("format", "pdf")}, []string{"all", "any", "every"}},
		{[]topic.Header{header("type", "report"), header("format", "PDF")}, []string{"every"}},
		{[]topic.Header{header("format", "zip"), header("format", "pdf"), header("type", "report")}, []string{"all", "any", "every"}},
		{[]topic.Header{header("type", "log"), header("format", "pdf")}, []string{"any", "every"}},
		{[]topic.Header{header("trace", "1"), header("format", "zip")}, []string{"every", "named", "named-zip"}},
		{[]topic.Header{bare}, []string{"every", "named"}},
		{[]topic.Header{{Key: "empty"}}, []string{"every"}},
		{[]topic.Header{header("empty", "")}, []string{"empty", "every"}},
	} {
		assert.Equal(t, c.want, goesTo(table, w, "", c.have...), "%v", c.have)
	}
	for _, b := range table.list() {
		require.True(t, table.remove(b))
	}
	require.Empty(t, table.headers.lists)
	require.Empty(t, goesTo(table, w, "", header("format", "pdf")))
}

// Header bindings, chosen at random, against looking at each.
func TestHeaderBindingsAgainstLookingAtEach(t *testing.T) {
	for seed := range uint64(300) {
		dice := rand.New(rand.NewPCG(seed, 1))
		some := func(most int, bare bool) (list []topic.Header) {
			for range dice.IntN(most + 1) {
				h := topic.Header{Key: string(rune('a' + dice.IntN(3)))}
				if !bare || dice.IntN(4) > 0 {
					h.Value = []byte{'0' + byte(dice.IntN(3))}
				}
				list = append(list, h)
			}
			return list
		}
		table, w := newRouteTable(), &routeWalk{}
		kept := map[bindingID]Binding{}
		for i := range 12 {
			b := ByHeaders(some(3, true), fmt.Sprint("t", i))
			if dice.IntN(2) == 0 {
				b.Kind, b.Headers = AnyHeaders, append(b.Headers, header("a", "1"))
			}
			table.add([]Binding{b})
			kept[b.id()] = b
			if dice.IntN(3) == 0 {
				require.True(t, table.remove(b))
				delete(kept, b.id())
			}
		}
		for range 10 {
			have := some(4, false)
			want := []string{}
			for _, b := range kept {
				n := 0
				for _, h := range b.Headers {
					if hasAll(have, []topic.Header{h}) {
						n++
					}
				}
				if b.Kind == AllHeaders && n == len(b.Headers) || b.Kind == AnyHeaders && n > 0 {
					want = append(want, b.To)
				}
			}
			slices.Sort(want)
			require.Equal(t, want, goesTo(table, w, "", have...), "seed %d", seed)
		}
	}
}

func TestBindingsAreListedAndAreOne(t *testing.T) {
	table, w := newRouteTable(), &routeWalk{}
	h1, h2 := header("a", "1"), topic.Header{Key: "b"}
	list := []Binding{
		Fanout("one"), ByKey("k", "two"), ByPattern("k", "two"), ByPattern("#", "two"), ByHeaders([]topic.Header{h1, h2}, "three"),
		ByFunc("f", func(topic.Record) ([]topic.Record, error) { return nil, nil }),
	}
	table.add(list)
	table.add(list[:5])
	table.add([]Binding{ByHeaders([]topic.Header{h2, h1}, "three")})
	var texts []string
	for _, b := range table.list() {
		texts = append(texts, b.String())
	}
	require.Equal(t, []string{
		`everything to one`, `key "k" to two`, `pattern "k" to two`, `pattern "#" to two`, `all headers {a="1", b} to three`, `function "f"`,
	}, texts)
	require.Equal(t, []string{"one", "two"}, goesTo(table, w, "k"), "each topic once")
	require.Len(t, w.funcs, 1)
	require.False(t, table.remove(ByKey("K", "two")))
	require.True(t, table.remove(ByPattern("#", "two")))
	require.Equal(t, []string{"one"}, goesTo(table, w, "other"))
	for _, b := range table.list() {
		require.True(t, table.remove(b))
	}
	require.Empty(t, goesTo(table, w, "k"))
	require.Empty(t, w.funcs)
}

// A match among one binding, and among ten thousand of several shapes.
func BenchmarkRouteMatch(b *testing.B) {
	shapes := map[string]func(i int) string{
		"words":  func(i int) string { return fmt.Sprintf("shop%d.orders.%d", i%100, i) },
		"stars":  func(i int) string { return fmt.Sprintf("shop%d.*.%d", i%100, i) },
		"hashes": func(i int) string { return fmt.Sprintf("#.%d.#", i) },
		"mixed":  func(i int) string { return fmt.Sprintf("shop%d.#.%d.*", i%100, i) },
	}
	keys := map[string]string{"words": "shop42.orders.4242", "stars": "shop42.orders.4242", "hashes": "shop42.orders.4242", "mixed": "shop42.orders.4242.x"}
	for _, shape := range []string{"words", "stars", "hashes", "mixed"} {
		for _, n := range []int{1, 10_000} {
			b.Run(fmt.Sprintf("%s/%d", shape, n), func(b *testing.B) {
				table, w := newRouteTable(), &routeWalk{}
				for i := range n {
					table.add([]Binding{ByPattern(shapes[shape]((i+4242)%10_000), fmt.Sprint("t", i%500))})
				}
				key := []byte(keys[shape])
				b.ReportAllocs()
				for b.Loop() {
					table.find(w, key, nil)
					if len(w.targets) != 1 {
						b.Fatalf("%d targets", len(w.targets))
					}
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "matches/s")
			})
		}
	}
}
