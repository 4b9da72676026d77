package group

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/internal/ready"
	"github.com/quirelog/quire/internal/thin"
	"github.com/quirelog/quire/topic"
)

// seeker is a worker of a queue in a wakeWalk: where it is in next, wait and watch.
type seeker struct {
	at       seekerAt
	w        *sleeper
	inWatch  bool
	watching bool      // its partitions
	timer    time.Time // of the watcher
	recs     []topic.Record
	got      *taken
	loop     *loop
	ended    bool // its context
}

type seekerAt int8

const (
	seekTake seekerAt = iota
	seekFetch
	seekPoll
	seekEndFetch
	seekWait
	seekWatch
	seekSleep
	seekBusy
	seekGone
)

// wakeWalk drives a queue by single steps of its workers, in any order: the machine of its partition, its order and its wake rules are the
// real ones; the control flow between two locks is followed here, and so are the log, the timers and the signals.
type wakeWalk struct {
	q       *Queue
	workers []*seeker
	log     int64 // records that are there
	pos     int64 // that the feed has read
	appends int   // that may still come
	cancels int
	fails   int
	trace   []string
}

// wakeCase is where a walk begins: stored records, of which some rest.
type wakeCase struct {
	workers, stored, appends, cancels, fails, window, chunk int
	rests                                                   map[int64]time.Duration
	suspects                                                int64 // so many of the first ones ended the process
	lease                                                   time.Duration
	limits                                                  limits
}

func newWakeWalk(c wakeCase) *wakeWalk {
	cfg := &queueConfig{lease: c.lease, attempts: 9, backoffMin: time.Second, backoffMax: time.Second, window: c.window}
	state := newShareState(0)
	for at, rest := range c.rests {
		state.runs = state.runs.put(stateRun{at, at, stateAvailable, 1})
		state.stories[at] = story{due: time.Now().Add(rest)}
	}
	for at := range c.suspects {
		state.runs = state.runs.put(stateRun{at, at, stateAvailable, 6})
	}
	q := &Queue{cfg: cfg, line: newLineup(), opened: true, topic: &topic.Topic{}, news: ready.New[*stall]()}
	q.line.limits, q.line.quiet = c.limits, c.lease
	s := &stall{q: q, part: &topic.Partition{}, staged: map[int64]stateRun{}, stories: map[int64]story{}, share: newShare(9, state)}
	q.takeInLocked([]*stall{s})
	w := &wakeWalk{q: q, log: int64(c.stored), appends: c.appends, cancels: c.cancels, fails: c.fails}
	for range c.workers {
		w.workers = append(w.workers, &seeker{loop: &loop{open: map[*Delivery]bool{}}})
	}
	return w
}

// step is one choice: a worker's next step, or something that comes from outside.
type step struct {
	kind   string
	worker int
}

func (w *wakeWalk) steps(c wakeCase) (own, outside []step) {
	for i, s := range w.workers {
		switch {
		case s.at == seekGone:
		case s.at == seekBusy:
			outside = append(outside, step{"back", i})
			if s.got != nil {
				outside = append(outside, step{"ack", i})
			}
			if s.got != nil && w.fails > 0 {
				outside = append(outside, step{"fail", i})
			}
		case s.at == seekSleep && len(s.w.ch) == 0 && (s.timer.IsZero() || time.Now().Before(s.timer)) && !s.ended:
		default:
			own = append(own, step{"step", i})
		}
		if w.cancels > 0 && !s.ended && s.at != seekBusy && s.at != seekGone {
			outside = append(outside, step{"cancel", i})
		}
	}
	if w.appends > 0 {
		outside = append(outside, step{"append", -1})
	}
	if !w.q.line.next().IsZero() {
		outside = append(outside, step{"time", -1})
	}
	return own, outside
}

func (w *wakeWalk) do(c wakeCase, x step) {
	w.trace = append(w.trace, fmt.Sprint(x.kind, " ", x.worker))
	switch x.kind {
	case "step":
		w.advance(c, w.workers[x.worker])
	case "append":
		w.appends--
		w.log++
		for _, s := range w.workers {
			if s.watching {
				s.w.wake()
			}
		}
	case "time":
		time.Sleep(time.Until(w.q.line.next()))
	case "cancel":
		w.cancels--
		w.workers[x.worker].ended = true
	case "back": // the loop is asked for the next record; the last one may have its answer, and may not
		w.workers[x.worker].at = seekTake
	default:
		s := w.workers[x.worker]
		o := outcome{kind: accepted}
		if x.kind == "fail" {
			w.fails--
			o = outcome{kind: failed, err: errors.New("no"), after: -1}
		}
		_ = w.q.settle(w.q.delivery(s.got, s.loop), o)
		s.got = nil
	}
}

// advance is what one worker does from one lock to the next.
func (w *wakeWalk) advance(c wakeCase, s *seeker) {
	q := w.q
	switch s.at {
	case seekTake:
		if s.ended {
			w.leave(s)
			return
		}
		q.expireLocked(time.Now())
		if s.got = q.takeLocked(c.lease, time.Now()); s.got != nil {
			s.at = seekBusy
			return
		}
		s.at, s.inWatch = seekFetch, false
	case seekFetch:
		s.at = seekPoll
		if !q.beginFetch() {
			s.at = w.fruitless(s)
		}
	case seekPoll:
		w.poll(c, s)
	case seekEndFetch:
		w.endFetch(s)
	case seekWait:
		s.w = &sleeper{ch: make(chan struct{}, 1)}
		switch at := q.line.next(); {
		case q.line.able(time.Now()):
			s.at, s.w = seekTake, nil
		case q.rota.sleep(s.w, at):
			s.at, s.timer = seekWatch, at
		default:
			s.at = seekSleep
		}
	case seekWatch:
		s.watching, s.inWatch, s.at = true, true, seekFetch
	case seekSleep:
		w.rise(s)
	}
}

func (w *wakeWalk) leave(s *seeker) {
	s.at = seekGone
	w.q.passOn()
}

func (w *wakeWalk) rise(s *seeker) {
	w.q.rota.rise(s.w)
	s.at, s.w, s.timer, s.watching, s.inWatch = seekTake, nil, time.Time{}, false, false
}

// fruitless is where a worker goes that has found nothing.
func (w *wakeWalk) fruitless(s *seeker) seekerAt {
	if s.inWatch {
		return seekSleep
	}
	return seekWait
}

func (w *wakeWalk) poll(c wakeCase, s *seeker) {
	s.at = seekEndFetch
	w.q.crowdLocked()
	if w.q.full == len(w.q.parts) || s.ended {
		return
	}
	for range c.chunk {
		if w.pos < w.log {
			s.recs = append(s.recs, topic.Record{Offset: w.pos})
			w.pos++
		}
	}
}

func (w *wakeWalk) endFetch(s *seeker) {
	var err error
	if s.ended && len(s.recs) == 0 {
		err = errors.New("ended")
	}
	found := len(s.recs) > 0
	again := w.q.endFetch(s.recs, err)
	s.recs = nil
	switch {
	case again:
		s.at = seekPoll
	case !found && err == nil:
		s.at = w.fruitless(s)
	case s.inWatch:
		w.rise(s)
	default:
		s.at = seekTake
	}
}

// check holds a state in which no worker can do anything by itself against Z1 to Z3.
func (w *wakeWalk) check(c wakeCase) error {
	q, sleeps := w.q, 0
	var watcher *seeker
	for _, s := range w.workers {
		if s.at == seekSleep {
			sleeps++
			if q.rota.watcher == s.w {
				watcher = s
			}
		}
	}
	next := q.line.next()
	switch {
	case sleeps == 0:
	case q.line.able(time.Now()):
		return errors.New("a record is ready, and all sleep")
	case w.pos < w.log && q.parts[0].share.unfinished() < c.window:
		return errors.New("a record is not fetched, and all sleep")
	case watcher == nil || !watcher.watching:
		return errors.New("all sleep and none watches")
	case !next.IsZero() && (watcher.timer.IsZero() || watcher.timer.After(next)):
		return errors.New("the watcher sleeps beyond what time changes")
	}
	return nil
}

// key is the state, as far as it matters for what comes.
func (w *wakeWalk) key() string {
	var b strings.Builder
	now := time.Now()
	r := &w.q.rota
	fmt.Fprint(&b, w.log, w.pos, w.appends, w.cancels, w.fails, r.fetching, r.look, len(r.asleep), r.watcher != nil, r.armed.IsZero(), r.armed.Sub(now))
	for _, s := range w.workers {
		order := -1
		for i, x := range r.asleep {
			if x == s.w {
				order = i
			}
		}
		fmt.Fprint(&b, "|", s.at, s.inWatch, s.watching, s.ended, len(s.recs), order, s.w != nil && r.watcher == s.w, s.w != nil && len(s.w.ch) > 0)
		if !s.timer.IsZero() {
			fmt.Fprint(&b, s.timer.Sub(now))
		}
		if s.got != nil {
			fmt.Fprint(&b, "g", s.got.s.offset, s.got.s.holds(s.got.lock, now))
		}
	}
	for _, x := range w.q.parts[0].share.open() {
		fmt.Fprint(&b, "/", x.offset, x.state, x.line.place, x.count, x.known, x.line.alone, w.q.line.last == x, w.q.line.began.Sub(now), x.line.at.Sub(now))
	}
	return b.String()
}

// What a fetch that failed may have passed is for others to look for.
func TestFailedFetchIsMadeGood(t *testing.T) {
	w := newWakeWalk(wakeCase{window: 9})
	sleeping := &sleeper{ch: make(chan struct{}, 1)}
	require.True(t, w.q.rota.sleep(sleeping, time.Time{}))
	require.True(t, w.q.beginFetch())
	require.False(t, w.q.endFetch(nil, errors.New("ended")))
	require.Empty(t, sleeping.ch)
	w.q.passOn()
	require.Len(t, sleeping.ch, 1)
}

// restingCases are small enough to be looked through.
func restingCases() map[string]wakeCase {
	second := map[int64]time.Duration{0: time.Second}
	return map[string]wakeCase{
		"one rests":        {workers: 2, stored: 1, appends: 1, window: 9, chunk: 1, rests: second},
		"three workers":    {workers: 3, stored: 1, window: 9, chunk: 1, rests: second},
		"one is cancelled": {workers: 2, stored: 1, appends: 1, cancels: 1, window: 9, chunk: 1, rests: second},
		"a long read":      {workers: 3, stored: 2, window: 9, chunk: 1},
		"suspects":         {workers: 2, stored: 2, suspects: 1, window: 9, chunk: 2, lease: 2 * time.Second},
		"leases":           {workers: 2, appends: 2, window: 9, chunk: 2, lease: 2 * time.Second},
		"full window":      {workers: 2, stored: 1, appends: 1, fails: 1, window: 1, chunk: 1, rests: second},
		"a rate":           {workers: 2, appends: 2, window: 9, chunk: 2, limits: limits{rate: pace{time.Second, 1}}},
	}
}

// replay brings a walk to the end of a path.
func replayWalk(c wakeCase, path []step) *wakeWalk {
	w := newWakeWalk(c)
	for _, x := range path {
		w.do(c, x)
	}
	return w
}

// Every order of steps of a few workers is looked through: never do all sleep while there is something to do, or will be by time alone.
func TestSleepersMissNothing(t *testing.T) {
	most := 6_000
	if testing.Short() {
		most = thin.Raced(2_500, 600)
	}
	for name, c := range restingCases() {
		synctest.Test(t, func(t *testing.T) {
			seen, paths, quiet := map[string]bool{}, [][]step{nil}, 0
			for len(paths) > 0 && len(seen) < most {
				path := paths[0]
				paths = paths[1:]
				w := replayWalk(c, path)
				key := w.key()
				if seen[key] {
					continue
				}
				seen[key] = true
				own, outside := w.steps(c)
				if len(own) == 0 {
					quiet++
					require.NoError(t, w.check(c), "%s: %v", name, w.trace)
				}
				for _, x := range append(own, outside...) {
					paths = append(paths, append(path[:len(path):len(path)], x))
				}
			}
			t.Logf("%s: %d states, %d of them quiet, all: %v", name, len(seen), quiet, len(paths) == 0)
		})
	}
}

// Many workers, records and faults at random; whatever came, the workers come to rest by themselves, and then all is looked after.
func TestSleepersComeToRest(t *testing.T) {
	walks := 1500
	if testing.Short() {
		walks = 400
	}
	synctest.Test(t, func(t *testing.T) {
		for seed := range uint64(walks) {
			rng := rand.New(rand.NewPCG(seed, 18))
			c := wakeCase{workers: 1 + rng.IntN(6), stored: rng.IntN(5), appends: 12, cancels: rng.IntN(3), fails: 4, window: 1 + rng.IntN(6), chunk: 1 + rng.IntN(3)}
			c.rests = map[int64]time.Duration{}
			for at := range c.stored {
				c.rests[int64(at)] = time.Duration(rng.IntN(3)) * time.Second
			}
			c.lease = time.Duration(rng.IntN(2)) * 3 * time.Second
			c.suspects = int64(rng.IntN(3))
			if rng.IntN(3) == 0 {
				c.limits = limits{most: 1 + rng.IntN(2), rate: pace{time.Second, 2}}
			}
			w := newWakeWalk(c)
			for range 60 {
				budget := 400
				for own, _ := w.steps(c); len(own) > 0 && rng.IntN(30) > 0; own, _ = w.steps(c) {
					w.do(c, own[rng.IntN(len(own))])
					budget--
					require.Positive(t, budget, "seed %d: the workers wake each other for ever: %v", seed, w.trace)
				}
				own, outside := w.steps(c)
				if len(own) == 0 {
					require.NoError(t, w.check(c), "seed %d: %v", seed, w.trace)
				}
				if len(outside) == 0 {
					break
				}
				w.do(c, outside[rng.IntN(len(outside))])
			}
		}
	})
}

// A record that is parked makes room in a window that was full, and one who sleeps is told of it and of the time when it is tried again.
func TestParkedRecordWakesOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWakeWalk(wakeCase{stored: 1, window: 1})
		q := w.q
		require.True(t, q.beginFetch())
		require.False(t, q.endFetch([]topic.Record{{}}, nil))
		got := q.takeLocked(0, time.Now())
		q.crowdLocked()
		require.True(t, q.beginFetch())
		require.False(t, q.endFetch(nil, nil))
		got.s.dead = deadRejected
		sleeping := &sleeper{ch: make(chan struct{}, 1)}
		require.True(t, q.rota.sleep(sleeping, time.Time{}))
		require.True(t, q.parkLocked(got.s, topic.ErrTooLarge, time.Now()))
		require.Len(t, sleeping.ch, 1)
		require.True(t, q.rota.look)
	})
}

// A record that came after the last fetch, and before the watch began, wakes no watcher: it looks once more.
func TestWatcherLooksWhenItHasBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng, err := topic.Open("", topic.InMemory())
		require.NoError(t, err)
		defer eng.Close()
		jobs, err := eng.Topic(t.Context(), "jobs")
		require.NoError(t, err)
		q, err := OpenQueue(t.Context(), eng, "jobs")
		require.NoError(t, err)
		defer q.Close()
		more, err := q.fetch(t.Context())
		require.NoError(t, err)
		require.False(t, more)
		_, err = jobs.Append(t.Context(), topic.Record{})
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		require.NoError(t, q.watch(ctx, &sleeper{ch: make(chan struct{}, 1)}, time.Time{}))
		require.NoError(t, ctx.Err())
		require.True(t, q.line.able(time.Now()))
	})
}
