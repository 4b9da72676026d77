package group

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// modelRecord is what the model knows of a record that is not finished.
type modelRecord struct {
	key      string
	priority int
	count    int
	held     bool
	dead     bool
	until    time.Time // of the lease
	due      time.Time
}

// shareWalk drives a share and its lineup beside a model that knows only lists.
type shareWalk struct {
	t      *testing.T
	rng    *rand.Rand
	now    time.Time
	most   int16
	share  *share
	line   *lineup
	model  map[int64]*modelRecord
	done   map[int64]bool
	end    int64 // of the model
	floor  int64
	held   map[int64]*slot
	locks  map[int64]uint64
	starts int64
}

func newShareWalk(t *testing.T, seed uint64) *shareWalk {
	w := &shareWalk{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1000, 0), most: 3, line: newLineup(),
		model: map[int64]*modelRecord{}, done: map[int64]bool{}, held: map[int64]*slot{}, locks: map[int64]uint64{},
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
	w.line.enter(s, k, true, priority, w.now)
	w.model[at] = &modelRecord{key: key, priority: priority}
}

// turn is the offset that the model would give out.
func (w *shareWalk) turn() int64 {
	first := map[string]int64{}
	best := int64(-1)
	for _, at := range slices.Sorted(maps.Keys(w.model)) {
		r := w.model[at]
		if _, ok := first[r.key]; ok {
			continue
		}
		first[r.key] = at
		if r.held || r.due.After(w.now) {
			continue
		}
		if best < 0 || r.priority > w.model[best].priority {
			best = at
		}
	}
	return best
}

func (w *shareWalk) take() {
	want := w.turn()
	s := w.line.take()
	if want < 0 {
		require.Nil(w.t, s)
		return
	}
	// Among equals the lineup goes by arrival in the heap's order, which is by offset.
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
	}
	require.EqualValues(w.t, r.count, s.count)
	require.LessOrEqual(w.t, s.count, w.most)
	w.held[want], w.locks[want] = s, s.lock
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
	delete(w.model, s.offset)
	w.done[s.offset] = true
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
}

func (w *shareWalk) pass(d time.Duration) {
	w.now = w.now.Add(d)
	for s := w.line.due(w.now); s != nil; s = w.line.due(w.now) {
		if s.state != stateAcquired {
			w.line.admit(s, w.now)
			continue
		}
		r := w.model[s.offset]
		require.False(w.t, r.until.After(w.now), "a lease ends in time, not before")
		require.False(w.t, s.holds(w.locks[s.offset], w.now))
		delete(w.held, s.offset)
		back := w.share.release(s, time.Time{})
		w.give(s, back, time.Time{}, r.count >= int(w.most))
	}
	for at := range w.held {
		r := w.model[at]
		require.True(w.t, r.until.IsZero() || r.until.After(w.now), "a lease that has ended was noticed")
	}
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
	for _, s := range p.slots {
		inHeap := s.line.in != nil
		first := s.line.lane == nil || s.line.lane.slots[0] == s
		held := w.model[s.offset].held
		if !first && inHeap || held != (s.state == stateAcquired || s.state == stateArchiving) || !inHeap && first && !held {
			w.t.Fatalf("record %d: first of its key %v, in a heap %v, held %v, state %d", s.offset, first, inHeap, held, s.state)
		}
	}
}

// The machine and the order of records agree with a model that looks at everything, step by step.
func TestShareWalk(t *testing.T) {
	for seed := range uint64(20) {
		w := newShareWalk(t, seed)
		for range 800 {
			w.step()
		}
		require.NotEmpty(t, w.done)
	}
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
