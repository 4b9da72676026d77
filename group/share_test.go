package group

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/internal/thin"
)

// modelRecord is what the model knows of a record that is not finished.
type modelRecord struct {
	key      string
	tenant   string
	priority int
	count    int
	held     bool
	dead     bool
	gone     bool      // from the log: it leaves the line before the next of its key comes
	until    time.Time // of the lease
	due      time.Time
}

// shareWalk drives a share and its lineup beside a model that knows only lists.
type shareWalk struct {
	t       *testing.T
	rng     *rand.Rand
	now     time.Time
	most    int16
	ordered bool
	share   *share
	line    *lineup
	model   map[int64]*modelRecord
	done    map[int64]bool
	end     int64 // of the model
	floor   int64
	held    map[int64]*slot
	locks   map[int64]uint64
	starts  int64
	turns   map[int][]string       // of tenants, by priority
	flights map[string][]time.Time // when those of a key were taken; "" is all
	ticking bool
}

func newShareWalk(t *testing.T, seed uint64) *shareWalk {
	w := &shareWalk{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1000, 0), most: 3, line: newLineup(), ordered: seed%2 == 0,
		model: map[int64]*modelRecord{}, done: map[int64]bool{}, held: map[int64]*slot{}, locks: map[int64]uint64{}, turns: map[int][]string{},
		flights: map[string][]time.Time{},
	}
	l := &w.line.limits
	if seed%3 == 1 {
		l.most, l.keyMost = 4, 1+int(seed%2)
	}
	if seed%4 >= 2 {
		l.rate = pace{2 * time.Second, 3}
	}
	if seed%5 >= 3 {
		l.keyRate = pace{5 * time.Second, 2}
	}
	w.share = newShare(w.most, newShareState(0))
	return w
}

func (w *shareWalk) step() {
	switch w.rng.IntN(8) {
	case 0, 1:
		w.fill()
	case 2, 3:
		w.take()
	case 4, 5, 6:
		w.answer()
	default:
		w.pass(time.Duration(w.rng.IntN(8)) * time.Second)
		if w.rng.IntN(20) == 0 {
			w.raise()
		}
	}
	w.check()
}

func (w *shareWalk) fill() {
	at := w.end + int64(w.rng.IntN(3)/2) // now and then a gap
	key, priority := string(rune('a'+w.rng.IntN(4))), w.rng.IntN(2)
	var k []byte
	if key != "d" {
		k = []byte(key)
	} else {
		key = fmt.Sprint(at)
	}
	s := w.share.fill(at)
	w.end = at + 1
	if at < w.floor {
		require.Nil(w.t, s)
		return
	}
	s.line.tenant = fmt.Sprint("tenant ", w.rng.IntN(3))
	w.line.enter(s, k, w.ordered, priority, w.now)
	w.model[at] = &modelRecord{key: key, priority: priority, tenant: s.line.tenant}
	w.line1()
}

// flying is how many of a key are under way, "" for all.
func (w *shareWalk) flying(key string) (n int) {
	for _, r := range w.model {
		if r.held && !r.dead && (key == "" || r.key == key) {
			n++
		}
	}
	return n
}

// token tells whether a pace allows one more: a bucket filled up second by second.
func (w *shareWalk) token(p pace, key string) bool {
	if p.every == 0 {
		return true
	}
	tokens, last := float64(p.burst), time.Time{}
	for _, at := range append(w.flights[key], w.now) {
		tokens = min(float64(p.burst), tokens+float64(at.Sub(last))/float64(p.every))
		tokens, last = tokens-1, at
	}
	return tokens > -1e-6
}

// ready lists what may be delivered but for the limits of all, by offset.
func (w *shareWalk) ready() (list []int64) {
	limits := w.line.limits
	seen, best := map[string]bool{}, map[string]int64{}
	for _, at := range slices.Sorted(maps.Keys(w.model)) {
		r := w.model[at]
		blocked := w.ordered && seen[r.key]
		seen[r.key] = true
		late := w.ticking && w.share.slots[at].line.place == placeResting // it is told of in a moment
		if blocked || r.held || r.dead || r.due.After(w.now) || late {
			continue
		}
		if !limits.perKey() || r.key[0] >= '0' && r.key[0] <= '9' {
			if !r.gone {
				list = append(list, at)
			}
			continue
		}
		if b, ok := best[r.key]; !ok || r.priority > w.model[b].priority {
			best[r.key] = at
		}
	}
	for key, at := range best {
		if w.model[at].gone || w.ticking && w.share.slots[at].line.in == &w.line.waiting {
			continue
		}
		if limits.keyRoom(w.flying(key)) && w.token(limits.keyRate, key) {
			list = append(list, at)
		}
	}
	slices.Sort(list)
	return list
}

// line1 brings the tenants' turns up to date after one change: who has nothing leaves, who has something again goes to the end.
func (w *shareWalk) line1() {
	now := map[int]map[string]bool{}
	for _, at := range w.ready() {
		r := w.model[at]
		if now[r.priority] == nil {
			now[r.priority] = map[string]bool{}
		}
		now[r.priority][r.tenant] = true
	}
	for p := range 2 {
		w.turns[p] = slices.DeleteFunc(w.turns[p], func(name string) bool { return !now[p][name] })
		for _, name := range slices.Sorted(maps.Keys(now[p])) {
			if !slices.Contains(w.turns[p], name) {
				w.turns[p] = append(w.turns[p], name)
			}
		}
	}
}

// turn is the offset that the model would give out.
func (w *shareWalk) turn() int64 {
	for _, at := range slices.Sorted(maps.Keys(w.model)) {
		if r := w.model[at]; r.dead && !r.held {
			return at
		}
	}
	limits := w.line.limits
	if !limits.room(w.flying("")) || !w.token(limits.rate, "") {
		return -1
	}
	for p := 1; p >= 0; p-- {
		for _, at := range w.ready() {
			if r := w.model[at]; r.priority == p && r.tenant == w.turns[p][0] {
				w.turns[p] = append(w.turns[p][1:], r.tenant)
				return at
			}
		}
	}
	return -1
}

func (w *shareWalk) take() {
	want := w.turn()
	require.Equal(w.t, want >= 0, w.line.able(w.now))
	first := w.line.ready.first(1)
	s := w.line.take(w.now)
	if want < 0 {
		require.Nil(w.t, s)
		return
	}
	if s != nil && s.dead == deadNot {
		require.Equal(w.t, []*slot{s}, first)
	}
	require.NotNil(w.t, s)
	require.Equal(w.t, want, s.offset)
	r := w.model[want]
	until := time.Time{}
	if w.rng.IntN(2) == 0 && !r.dead {
		until = w.now.Add(5 * time.Second)
		w.line.wait(s, until)
	}
	w.share.acquire(s, until)
	r.held, r.until = true, until
	if !r.dead {
		r.count++
		w.flights[r.key] = append(w.flights[r.key], w.now)
		w.flights[""] = append(w.flights[""], w.now)
	}
	require.EqualValues(w.t, r.count, s.count)
	require.LessOrEqual(w.t, s.count, w.most)
	w.held[want], w.locks[want] = s, s.lock
	w.line1()
}

// answer ends a random delivery.
func (w *shareWalk) answer() {
	if len(w.held) == 0 {
		return
	}
	offsets := slices.Sorted(maps.Keys(w.held))
	at := offsets[w.rng.IntN(len(offsets))]
	s, r := w.held[at], w.model[at]
	require.True(w.t, s.holds(w.locks[at], w.now))
	require.False(w.t, s.holds(w.locks[at]+1, w.now), "another delivery's answer")
	delete(w.held, at)
	switch kind := w.rng.IntN(4); {
	case r.dead:
		w.share.finish(s, stateArchived)
		w.end1(s)
	case kind < 2:
		w.share.finish(s, stateAcknowledged)
		w.end1(s)
	case kind == 2:
		due := w.now.Add(time.Duration(w.rng.IntN(4)) * time.Second)
		w.give(s, w.share.release(s, due), due, r.count >= int(w.most))
	default:
		r.count--
		w.give(s, w.share.undo(s), r.due, false)
	}
}

// end1 ends a record in lineup and model.
func (w *shareWalk) end1(s *slot) {
	w.line.finished(s, w.now)
	if r := w.model[s.offset]; !r.held {
		r.gone = true
		w.line1()
	}
	delete(w.model, s.offset)
	w.done[s.offset] = true
	w.line1()
}

// give is what follows a release.
func (w *shareWalk) give(s *slot, back bool, due time.Time, dead bool) {
	require.Equal(w.t, s.offset >= w.floor, back)
	if !back {
		w.end1(s)
		return
	}
	w.line.admit(s, w.now)
	r := w.model[s.offset]
	r.held, r.due = false, due
	if dead {
		r.dead, r.due = true, time.Time{}
	}
	w.line1()
}

func (w *shareWalk) pass(d time.Duration) {
	for range d / time.Second {
		w.tick()
	}
}

// tick is one second, the step of all times here.
func (w *shareWalk) tick() {
	w.now = w.now.Add(time.Second)
	w.ticking = true
	for s := w.line.due(w.now); s != nil; s = w.line.due(w.now) {
		w.timeUp(s)
		w.line1()
	}
	for at := range w.held {
		r := w.model[at]
		require.True(w.t, r.until.IsZero() || r.until.After(w.now), "a lease that has ended was noticed")
	}
	w.ticking = false
}

func (w *shareWalk) timeUp(s *slot) {
	if s.state != stateAcquired {
		w.line.admit(s, w.now)
		return
	}
	r := w.model[s.offset]
	require.False(w.t, r.until.After(w.now), "a lease ends in time, not before")
	require.False(w.t, s.holds(w.locks[s.offset], w.now))
	delete(w.held, s.offset)
	back := w.share.release(s, time.Time{})
	w.give(s, back, time.Time{}, r.count >= int(w.most))
}

func (w *shareWalk) raise() {
	w.floor = max(w.floor, w.share.start+int64(w.rng.IntN(4)))
	for _, s := range w.share.raise(w.floor) {
		require.False(w.t, w.model[s.offset].held)
		require.Less(w.t, s.offset, w.floor)
		w.end1(s)
	}
	for at, r := range w.model {
		require.True(w.t, at >= w.floor || r.held)
	}
}

func (w *shareWalk) check() {
	p := w.share
	require.Equal(w.t, w.end, p.end)
	require.Equal(w.t, len(w.model), p.unfinished())
	lowest := w.end
	for at := range w.model {
		require.NotNil(w.t, p.slots[at], "S2")
		lowest = min(lowest, at)
	}
	require.Equal(w.t, lowest, p.start, "S1")
	require.GreaterOrEqual(w.t, p.start, w.starts, "S3")
	w.starts = p.start
	require.Equal(w.t, w.flying(""), w.line.flying)
	var places [placesEnd]int
	for _, s := range p.slots {
		inHeap := s.line.in != nil
		first := !w.ordered || s.line.lane == nil || s.line.lane.slots[0] == s
		held := w.model[s.offset].held
		if !first && inHeap || held != (s.state == stateAcquired || s.state == stateArchiving) || !inHeap && first && !held {
			w.t.Fatalf("record %d: first of its key %v, in a heap %v, held %v, state %d", s.offset, first, inHeap, held, s.state)
		}
		places[s.line.place]++
	}
	places[placeNone] = w.line.places[placeNone]
	require.Equal(w.t, places, w.line.places)
	ready := slices.Collect(maps.Keys(w.line.ready.levels))
	require.Len(w.t, w.line.ready.order.All(), len(ready))
	require.Equal(w.t, places[placeReady], w.line.ready.n)
	require.Len(w.t, w.ready(), w.line.ready.n)
}

// The machine and the order of records agree with a model that looks at everything, step by step.
func TestShareWalk(t *testing.T) {
	for seed := range uint64(thin.Raced(20, 4)) {
		w := newShareWalk(t, seed)
		for range 400 {
			w.step()
		}
		require.NotEmpty(t, w.done, "seed %d", seed)
		w.now = w.now.Add(time.Hour)
		w.line.clear(w.now)
		keys := map[string]bool{}
		for _, r := range w.model {
			keys[r.key] = true
		}
		require.LessOrEqual(t, len(w.line.lanes), len(keys), "keys without records are forgotten once their buckets are full")
	}
}

// Keys are remembered while their buckets fill up, and no longer.
func TestIdleKeysAreForgotten(t *testing.T) {
	l, p, now := newLineup(), newShare(3, newShareState(0)), time.Unix(1000, 0)
	l.limits.keyRate = pace{time.Second, 10}
	for n := range int64(5000) {
		s := p.fill(n)
		l.enter(s, fmt.Append(nil, n), false, 0, now)
		require.Equal(t, s, l.take(now))
		p.acquire(s, time.Time{})
		p.finish(s, stateAcknowledged)
		l.finished(s, now)
		now = now.Add(10 * time.Millisecond)
		require.LessOrEqual(t, len(l.lanes), 101, "a token comes back in a second")
	}
	require.Greater(t, len(l.lanes), 50)
	l.clear(now.Add(time.Second))
	require.Empty(t, l.lanes)
}

// What is stored brings back the same: what was finished stays so, counts and rests go on.
func TestShareGoesOnFromWhatIsStored(t *testing.T) {
	at := time.Unix(5000, 0)
	s := newShareState(10)
	s.apply(12, runs{{12, 14, stateAvailable, 1}, {15, 20, stateAcknowledged, 0}, {21, 21, stateAvailable, 3}},
		map[int64]story{13: {attempts: []Attempt{{1, at, "no"}}, due: at.Add(time.Hour)}, 16: {}, 11: {}})
	require.Equal(t, []int64{13}, slices.Collect(maps.Keys(s.stories)), "stories of what is finished are of no use")
	p := newShare(3, s)
	require.EqualValues(t, 12, p.start)
	require.EqualValues(t, 1, p.fill(12).count)
	x := p.fill(13)
	require.Equal(t, at.Add(time.Hour), x.due)
	require.Equal(t, "no", x.story[0].Error)
	require.Nil(t, p.fill(15))
	require.Nil(t, p.fill(20))
	require.Equal(t, deadAttempts, p.fill(21).dead, "no attempt is left")
	require.EqualValues(t, 0, p.fill(22).count)
	require.EqualValues(t, 12, p.start)
}

// Lists of runs say what a map of offsets says.
func TestRunsAgreeWithAMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		var l runs
		want := map[int64]stateRun{}
		for range 60 {
			first := rng.Int64N(50)
			r := stateRun{first, first + rng.Int64N(6), []recordState{stateAvailable, stateAcknowledged, stateArchived}[rng.IntN(3)], int16(rng.IntN(3))}
			l = l.put(r)
			for at := r.first; at <= r.last; at++ {
				want[at] = r
			}
			if rng.IntN(10) == 0 {
				to := rng.Int64N(20)
				l.cut(to)
				maps.DeleteFunc(want, func(at int64, _ stateRun) bool { return at < to })
			}
			for i := 1; i < len(l); i++ {
				require.Less(t, l[i-1].last, l[i].first)
				require.False(t, l[i-1].goesOn(l[i]), "neighbours that say the same are one")
			}
			for at := range int64(60) {
				state, count := l.at(at)
				if want[at].state != state || want[at].count != count {
					t.Fatalf("offset %d: %v %d, not %v", at, state, count, want[at])
				}
			}
		}
	}
}

// What is finished behind a record that stays is let go of.
func TestFinishedRecordsAreLetGoOf(t *testing.T) {
	p := newShare(3, newShareState(0))
	p.fill(0)
	for at := range int64(10_000) {
		s := p.fill(at + 1)
		p.acquire(s, time.Time{})
		p.finish(s, stateAcknowledged)
		require.LessOrEqual(t, len(p.order), 2+keptFinished+1)
	}
	require.Zero(t, p.start)
	require.Len(t, p.open(), 1)
}

// Rests grow up to the longest, whatever that is, and stay there.
func TestRestsDoNotOverflow(t *testing.T) {
	c := queueConfig{backoffMin: time.Second, backoffMax: math.MaxInt64}
	for n := 1; n <= 200; n++ {
		require.GreaterOrEqual(t, c.rest(n), min(time.Second<<min(n-1, 32), math.MaxInt64)/2, "attempt %d", n)
	}
}
