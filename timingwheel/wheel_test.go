package timingwheel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sorted is the model of a wheel: a list kept by deadline and order of adding.
type sorted struct {
	now  int64
	seq  int
	list []planned
}

type planned struct {
	id, seq int
	due     int64 // the deadline, or the present when it was added too late
}

func (m *sorted) cancel(id int) bool {
	n := len(m.list)
	m.list = slices.DeleteFunc(m.list, func(p planned) bool { return p.id == id })
	return len(m.list) < n
}

func (m *sorted) add(id int, due int64) {
	m.seq++
	m.list = append(m.list, planned{id, m.seq, max(due, m.now)})
}

func (m *sorted) pop(now int64) (id int, ok bool) {
	slices.SortFunc(m.list, func(a, b planned) int {
		if a.due != b.due {
			if a.due < b.due {
				return -1
			}
			return 1
		}
		return a.seq - b.seq
	})
	if len(m.list) == 0 || m.list[0].due > now {
		m.now = max(m.now, now)
		return 0, false
	}
	p := m.list[0]
	m.list = m.list[1:]
	m.now = max(m.now, p.due)
	return p.id, true
}

func (m *sorted) earliest() (due int64, ok bool) {
	due = math.MaxInt64
	for _, p := range m.list {
		due = min(due, p.due)
	}
	return due, len(m.list) > 0
}

// pair is a wheel and its model, kept in step.
type pair struct {
	t       testing.TB
	wheel   *Wheel[int]
	model   sorted
	entries []Entry[int]
}

func newPair(t testing.TB, now int64, n int) *pair {
	p := &pair{t: t, wheel: New[int](now), model: sorted{now: now}, entries: make([]Entry[int], n)}
	for i := range p.entries {
		p.entries[i].Value = i
	}
	return p
}

func (p *pair) add(i int, due int64) {
	e := &p.entries[i]
	was := e.Pending()
	require.Equal(p.t, !was, p.wheel.Add(e, due))
	if !was {
		p.model.add(i, due)
	}
}

func (p *pair) cancel(i int) {
	require.Equal(p.t, p.model.cancel(i), p.wheel.Cancel(&p.entries[i]))
}

func (p *pair) reset(i int, due int64) {
	require.Equal(p.t, p.model.cancel(i), p.wheel.Reset(&p.entries[i], due))
	p.model.add(i, due)
}

// advance takes out everything up to now; touch, if not nil, is called in between.
func (p *pair) advance(now int64, touch func()) {
	for {
		e := p.wheel.Pop(now)
		id, ok := p.model.pop(now)
		require.Equal(p.t, ok, e != nil)
		if !ok {
			break
		}
		require.Equal(p.t, id, e.Value, "order")
		require.LessOrEqual(p.t, e.Due(), now, "early")
		if touch != nil {
			touch()
		}
	}
	p.check()
}

func (p *pair) check() {
	require.Equal(p.t, len(p.model.list), p.wheel.Len())
	require.Equal(p.t, p.model.now, p.wheel.Now())
	due, ok := p.model.earliest()
	next, some := p.wheel.Next()
	require.Equal(p.t, ok, some)
	if ok {
		require.LessOrEqual(p.t, next, due, "slept past a deadline")
		require.GreaterOrEqual(p.t, next, p.wheel.Now())
		if due-p.wheel.Now() < slots && due>>slotBits == p.wheel.Now()>>slotBits {
			require.Equal(p.t, due, next, "the next deadline is near enough to be known exactly")
		}
	}
}

// delay draws a span of any magnitude up to most.
func delay(r *rand.Rand, most int) int64 { return r.Int64N(int64(1) << r.IntN(most)) }

func TestWheelAgreesWithSortedList(t *testing.T) {
	const histories = 10_000
	for seed := range uint64(histories) {
		r := rand.New(rand.NewPCG(seed, 5))
		start := r.Int64() >> r.IntN(63) * int64(1-2*r.IntN(2))
		p := newPair(t, start, 12)
		most := 1 + r.IntN(40)
		due := func() int64 {
			at := p.wheel.Now() + delay(r, most) - int64(r.IntN(3))
			if at < p.wheel.Now()-3 { // beyond the end of time
				return math.MaxInt64
			}
			return at
		}
		step := func() {
			i := r.IntN(len(p.entries))
			switch r.IntN(4) {
			case 0:
				p.cancel(i)
			case 1:
				p.reset(i, due())
			default:
				p.add(i, due())
			}
		}
		for range 25 {
			if r.IntN(3) > 0 {
				step()
				p.check()
				continue
			}
			left := 3 // changes from within, so that they come to an end
			p.advance(due(), func() {
				if left--; left > 0 {
					step()
				}
			})
		}
		p.advance(math.MaxInt64, nil)
		require.Zero(t, p.wheel.Len(), "lost")
	}
}

func FuzzWheel(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("a0\x01\x00\x00a1\x40\x01\x00v0\xff\x00\x00"))
	f.Add([]byte("a0\x00\x00\x10r0\x01\x00\x00c0\x00\x00\x00v0\x00\x00\x20"))
	f.Fuzz(func(t *testing.T, ops []byte) {
		p := newPair(t, 0, 8)
		for ; len(ops) >= 5 && p.wheel.Now() < 1<<60; ops = ops[5:] {
			i := int(ops[1]) % len(p.entries)
			at := p.wheel.Now() + (int64(ops[2])|int64(ops[3])<<8)<<(ops[4]%40) - int64(ops[4]>>6)
			switch ops[0] % 4 {
			case 0:
				p.add(i, at)
			case 1:
				p.cancel(i)
			case 2:
				p.reset(i, at)
			case 3:
				p.advance(at, nil)
			}
			p.check()
		}
		p.advance(math.MaxInt64, nil)
		require.Zero(t, p.wheel.Len())
	})
}

func TestEntryOfAnotherWheelIsLeftAlone(t *testing.T) {
	here, there := New[int](0), New[int](0)
	var e Entry[int]
	assert.True(t, here.Add(&e, 10))
	assert.False(t, there.Add(&e, 5))
	assert.False(t, there.Cancel(&e))
	assert.False(t, there.Reset(&e, 5))
	assert.True(t, e.Pending())
	assert.Equal(t, int64(10), e.Due())
	assert.Nil(t, there.Pop(100))
	assert.Same(t, &e, here.Pop(100))
	assert.False(t, e.Pending())
	assert.True(t, there.Add(&e, 5), "free again")
}

// The timer counts of Kafka's TimerTest: tasks due already run at once; the others in batches as time moves on.
func TestTimersExpireAsInKafka(t *testing.T) {
	t.Run("already expired", func(t *testing.T) {
		w := New[int](0)
		entries := make([]Entry[int], 5)
		for i := range entries {
			w.Add(&entries[i], int64(i-5))
		}
		assert.Equal(t, 5, w.Len())
		assert.Equal(t, 5, w.Advance(0, func(*Entry[int]) {}), "run without any time passing")
		assert.Zero(t, w.Len())
	})
	t.Run("expiration", func(t *testing.T) {
		w := New[int](0)
		var entries []Entry[int]
		add := func(from, to int, due func(i int) int64) {
			for i := from; i < to; i++ {
				entries[i].Value = i
				require.True(t, w.Add(&entries[i], due(i)))
			}
		}
		entries = make([]Entry[int], 500)
		add(0, 5, func(i int) int64 { return int64(i) })
		add(10, 100, func(i int) int64 { return int64(i) })
		add(100, 500, func(i int) int64 { return int64(i) })
		require.Equal(t, 495, w.Len())
		var came []int
		for at := int64(0); w.Len() > 0; at = must(w.Next()) {
			w.Advance(at, func(e *Entry[int]) { came = append(came, e.Value) })
		}
		assert.Len(t, came, 495)
		assert.True(t, slices.IsSorted(came))
	})
}

func must(tick int64, _ bool) int64 { return tick }

// As Kafka's TimerTaskListTest: entries added to one list, again, and moved to others; the sizes agree throughout.
func TestEntriesMoveBetweenSlots(t *testing.T) {
	w := New[int](0)
	sizes := func() (list [3]int) {
		for i := range list {
			for e := w.levels[0].slots[i+1].head; e != nil; e = e.next {
				list[i]++
			}
		}
		return list
	}
	entries := make([]Entry[int], 10)
	for i := range entries {
		w.Add(&entries[i], 1)
	}
	assert.Equal(t, [3]int{10, 0, 0}, sizes())
	for i := range entries {
		w.Reset(&entries[i], 1)
	}
	assert.Equal(t, [3]int{10, 0, 0}, sizes(), "set again to where they were")
	for i := range 4 {
		w.Reset(&entries[i], 2)
	}
	for i := 4; i < 6; i++ {
		w.Reset(&entries[i], 3)
	}
	assert.Equal(t, [3]int{4, 4, 2}, sizes())
	for i := range entries {
		assert.True(t, w.Cancel(&entries[i]))
		assert.Equal(t, 9-i, w.Len())
	}
	assert.Equal(t, [3]int{}, sizes())
	_, ok := w.Next()
	assert.False(t, ok)
}

func TestLevelsReachFromMillisecondsToCenturies(t *testing.T) {
	const year = 365 * 24 * 3600 * 1000
	w := New[int](0)
	dues := []int64{1, 63, 64, 4095, 4096, year, 10 * year, 100 * year, 900 * year, math.MaxInt64}
	entries := make([]Entry[int], len(dues))
	for i, due := range dues {
		w.Add(&entries[i], due)
	}
	steps := 0
	for i, due := range dues {
		for {
			at, ok := w.Next()
			require.True(t, ok)
			require.LessOrEqual(t, at, due)
			steps++
			if e := w.Pop(at); e != nil {
				require.Same(t, &entries[i], e)
				require.Equal(t, due, at)
				break
			}
		}
	}
	assert.LessOrEqual(t, steps, len(dues)*maxLevels, "time without deadlines costs nothing to pass")
	made := 0
	for _, l := range w.levels {
		if l != nil {
			made++
		}
	}
	assert.Equal(t, maxLevels, made)
}

func TestEntryIsSmallAndFree(t *testing.T) {
	assert.LessOrEqual(t, unsafe.Sizeof(Entry[*int]{}), uintptr(40))
	w := New[*int](0)
	entries := make([]Entry[*int], 1000)
	now := int64(0)
	round := func() {
		for i := range entries {
			w.Add(&entries[i], now+int64(i*97%100_000))
		}
		for i := range entries {
			if i%2 == 0 {
				w.Cancel(&entries[i])
			} else {
				w.Reset(&entries[i], now+int64(i*31%50_000))
			}
		}
		now += 50_000
		w.Advance(now, func(*Entry[*int]) {})
	}
	for range 100 {
		round() // makes the levels
	}
	assert.Zero(t, testing.AllocsPerRun(20, round))
}

func ExampleWheel() {
	w := New[string](0)
	tea, egg, cake := Entry[string]{Value: "tea"}, Entry[string]{Value: "egg"}, Entry[string]{Value: "cake"}
	w.Add(&tea, 180)
	w.Add(&egg, 300)
	w.Add(&cake, 2400)
	w.Reset(&egg, 420) // a big one
	w.Cancel(&cake)

	for second := int64(0); second <= 600; second += 60 {
		w.Advance(second, func(e *Entry[string]) { fmt.Println(second, e.Value) })
	}
	// Output:
	// 180 tea
	// 420 egg
}

func BenchmarkWheel(b *testing.B) {
	const n = 1_000_000
	entries := make([]Entry[*int], n)
	dues := make([]int64, n)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range dues {
		dues[i] = r.Int64N(600_000)
	}
	for _, what := range []string{"add", "cancel", "fire"} {
		b.Run(what, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				w := New[*int](0)
				if what != "add" {
					for i := range entries {
						w.Add(&entries[i], dues[i])
					}
				}
				b.StartTimer()
				switch what {
				case "add":
					for i := range entries {
						w.Add(&entries[i], dues[i])
					}
					b.StopTimer()
					for i := range entries {
						w.Cancel(&entries[i])
					}
					b.StartTimer()
				case "cancel":
					for i := range entries {
						w.Cancel(&entries[i])
					}
				case "fire":
					w.Advance(600_000, func(*Entry[*int]) {})
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/timer")
		})
	}
}
