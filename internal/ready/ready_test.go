package ready

import (
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// log is what a reader follows: how far it is written, and how far it was read.
type log struct {
	mark      Mark[*log]
	end, read atomic.Int64
}

func logs(l *List[*log], n int) []*log {
	list := make([]*log, n)
	for i := range list {
		list[i] = &log{}
		l.Init(&list[i].mark, list[i])
	}
	return list
}

// reader is the owner's program, a step at a time.
type reader struct {
	list *List[*log]
	at   *log
	step func() bool
}

func newReader(l *List[*log]) *reader {
	r := &reader{list: l}
	r.step = r.front
	return r
}

func (r *reader) front() bool {
	m := r.list.Front()
	if m == nil {
		r.step = r.sleep
		return true
	}
	r.at, r.step = m.Of, r.look
	return true
}

func (r *reader) sleep() bool {
	select {
	case <-r.list.Signal():
		r.step = r.front
		return true
	default:
		return false
	}
}

func (r *reader) look() bool {
	if end := r.at.end.Load(); r.at.read.Load() < end {
		r.at.read.Store(end)
		r.list.Last(&r.at.mark)
		r.step = r.front
		return true
	}
	r.list.Rest(&r.at.mark)
	r.step = r.again
	return true
}

func (r *reader) again() bool {
	if r.at.read.Load() < r.at.end.Load() {
		r.list.Add(&r.at.mark)
	}
	r.step = r.front
	return true
}

// Whatever comes between two steps of the reader, it sleeps only when it has read all there is.
func TestNoChangeIsLost(t *testing.T) {
	for _, c := range []struct{ logs, appends int }{{1, 2}, {2, 1}} {
		if c.logs > 1 && testing.Short() {
			continue
		}
		runs := 0
		for schedule := []int{}; schedule != nil; runs++ {
			schedule = follow(t, schedule, c.logs, c.appends)
		}
		t.Logf("%d logs, %d appends to each: %d schedules", c.logs, c.appends, runs)
	}
}

// follow runs a schedule of who takes the next step, the reader or a log's writer, completes it with the first who can, and gives the next
// one in order, nil behind the last.
func follow(t *testing.T, schedule []int, n, appends int) []int {
	l := New[*log]()
	all := logs(l, n)
	for _, o := range all {
		l.Add(&o.mark)
	}
	actors := []func() bool{newReader(l).runs()}
	for _, o := range all {
		actors = append(actors, writer(o, appends))
	}
	var taken, last []int // at each step: who took it; the last who could have
	for {
		from := 0
		if len(taken) < len(schedule) {
			from = schedule[len(taken)]
		}
		who := from
		for who < len(actors) && !actors[who]() {
			who++
		}
		if who == len(actors) {
			if from > 0 { // none behind this choice can go on: it is another schedule's prefix
				return next(taken, last)
			}
			break
		}
		taken, last = append(taken, who), append(last, len(actors)-1)
	}
	for _, o := range all {
		require.Equal(t, o.end.Load(), o.read.Load(), "schedule %v", taken)
		require.EqualValues(t, appends, o.end.Load())
	}
	return next(taken, last)
}

func next(taken, last []int) []int {
	for i := len(taken) - 1; i >= 0; i-- {
		if taken[i] < last[i] {
			return append(slices.Clone(taken[:i]), taken[i]+1)
		}
	}
	return nil
}

func (r *reader) runs() func() bool { return func() bool { return r.step() } }

// writer appends and tells, in two steps.
func writer(o *log, appends int) func() bool {
	told := true
	return func() bool {
		switch {
		case !told:
			o.mark.Changed()
			told = true
		case appends > 0:
			o.end.Add(1)
			appends--
			told = false
		default:
			return false
		}
		return true
	}
}

// Writers that really run at once: a lost wake-up would leave all asleep, which the bubble tells.
func TestNoChangeIsLostBetweenProcessors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const writers, appends = 8, 2000
		l := New[*log]()
		all := logs(l, 4)
		for _, o := range all {
			l.Add(&o.mark)
		}
		for i := range writers {
			go func() {
				for range appends {
					o := all[i%len(all)]
					o.end.Add(1)
					o.mark.Changed()
				}
			}()
		}
		r := newReader(l)
		for left := int64(writers * appends); left > 0; {
			if !r.step() {
				<-l.Signal()
				r.step = r.front
			}
			left = writers * appends
			for _, o := range all {
				left -= o.read.Load()
			}
		}
	})
}

// The list does what a slice and a map of states would do.
func TestListAgainstAModel(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		l := New[*log]()
		all := logs(l, 5)
		states := map[*log]int32{}
		var seen, told []*log
		for range 200 {
			o := all[rnd.IntN(len(all))]
			known := slices.Contains(seen, o)
			switch op := rnd.IntN(7); op {
			case 0:
				o.mark.Changed()
				if states[o] == idle {
					states[o], told = in, append(told, o)
				}
			case 1:
				l.Add(&o.mark)
				if states[o] != in {
					states[o], seen = in, append(seen, o)
				}
			case 2:
				l.Last(&o.mark)
				if known {
					seen = append(without(seen, o), o)
				}
			case 3, 4:
				leave, to := l.Rest, idle
				if op == 4 {
					leave, to = l.Drop, out
				}
				leave(&o.mark)
				if known {
					states[o], seen = to, without(seen, o)
				}
			case 5:
				l.Leave(&o.mark)
				seen, told = without(append(seen, told...), o), nil
				states[o] = out
			case 6:
				seen, told = append(seen, told...), nil
				require.True(t, slices.Equal(seen, members(l)), "seed %d", seed)
			}
			for _, o := range all {
				require.Equal(t, states[o], o.mark.state.Load())
			}
		}
	}
}

func without(list []*log, o *log) []*log {
	return slices.DeleteFunc(list, func(x *log) bool { return x == o })
}

func members(l *List[*log]) (list []*log) {
	for m := l.Front(); m != nil; m = l.Next(m) {
		list = append(list, m.Of)
	}
	return list
}

func TestChangedAllocatesNothing(t *testing.T) {
	l := New[*log]()
	o := logs(l, 1)[0]
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		l.Add(&o.mark)
		l.Rest(l.Front())
		o.mark.Changed()
		o.mark.Changed()
		<-l.Signal()
		l.Drop(l.Front())
	}))
}
