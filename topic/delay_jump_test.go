package topic

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quirelog/quire/internal/invariant"
	"github.com/quirelog/quire/internal/thin"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// wrongClock is a clock of the machine that is ahead of time by as much as a test says.
type wrongClock struct{ ahead atomic.Int64 }

func (c *wrongClock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// set puts the clock ahead of time by d, and lets the engine notice.
func (c *wrongClock) set(d time.Duration) {
	c.ahead.Store(int64(d))
	time.Sleep(lookAtClock + time.Second)
	synctest.Wait()
}

func (c *wrongClock) option() Option { return func(o *options) { o.wall = c.now } }

// jumps is a random use of delayed messages under a clock that jumps.
type jumps struct {
	t        *testing.T
	seed     uint64
	r        *rand.Rand
	disk     vfs.FS
	clock    *wrongClock
	eng      *Engine
	tp       *Topic
	refusing bool // partition 2 refuses appends
	due      map[int]int64
	part     map[int]int32
	at       map[int]Position
	ripe     map[int]bool // due by the clock, now or earlier
	came     map[int]bool
	gone     map[int]bool
}

func (j *jumps) open() {
	j.eng = openOn(j.t, j.disk, j.clock.option(), DelayedInMemory(8))
	j.tp = openTopic(j.t, j.eng, "mails", Partitions(3), quick(), Retention(-1))
}

func (j *jumps) refuse(on bool) {
	p := partitionOf(j.t, j.tp, 2)
	if j.refusing = on; on {
		require.NoError(j.t, p.Fence(errors.New("out of order")))
		return
	}
	_, err := p.Unfence()
	require.NoError(j.t, err)
}

func (j *jumps) jump() {
	j.clock.ahead.Store(int64(j.r.IntN(3)) * j.r.Int64N(int64(time.Minute)<<j.r.IntN(12)))
}

func (j *jumps) schedule(i int) {
	due := j.clock.now().Add(time.Minute + time.Duration(j.r.Int64N(int64(time.Minute)<<j.r.IntN(12))))
	part := j.r.Int32N(3)
	pos, err := j.tp.Append(j.t.Context(), say(fmt.Sprint(i)), DeliverAt(due), AppendTo(part))
	require.NoError(j.t, err)
	ms, err := dueMillis(due)
	require.NoError(j.t, err)
	j.due[i], j.at[i], j.part[i] = ms, pos, part
}

// cancel tries one that did not come.
func (j *jumps) cancel() {
	for i, pos := range j.at {
		if !j.came[i] && !j.gone[i] {
			stopped, err := j.tp.Cancel(j.t.Context(), pos)
			require.NoError(j.t, err)
			j.gone[i] = stopped
			return
		}
	}
}

// check holds what came to the clock: nothing before its time by that, nothing late, nothing twice.
func (j *jumps) check() {
	time.Sleep(lookAtClock + 2*delayPatience) // a clock that jumped is noticed, and what was refused is tried again
	synctest.Wait()
	now := j.clock.now().UnixMilli()
	for i, due := range j.due {
		j.ripe[i] = j.ripe[i] || due <= now
	}
	seen := map[int]bool{}
	for rec, err := range j.tp.Read(j.t.Context(), UntilEnd()) {
		require.NoError(j.t, err)
		i, err := strconv.Atoi(string(rec.Value))
		require.NoError(j.t, err)
		require.False(j.t, seen[i], "seed %d: %d came twice", j.seed, i)
		require.False(j.t, j.gone[i], "seed %d: %d was cancelled", j.seed, i)
		require.True(j.t, j.ripe[i], "seed %d: %d is early", j.seed, i)
		seen[i], j.came[i] = true, true
	}
	for i, due := range j.due {
		held := j.refusing && j.part[i] == 2
		require.True(j.t, seen[i] || j.gone[i] || held || due > now-clockSlack.Milliseconds()-1, "seed %d: %d is late", j.seed, i)
	}
}

func (j *jumps) step(i int) {
	k := j.r.IntN(20)
	if k < 10 {
		j.schedule(i)
		return
	}
	if k < 11 {
		j.cancel()
		return
	}
	if k < 14 {
		time.Sleep(time.Duration(j.r.Int64N(int64(time.Minute) << j.r.IntN(12))))
	}
	j.check()
	switch {
	case k < 14:
	case k < 17:
		j.jump()
		j.check()
	case k < 18:
		j.refuse(!j.refusing)
	default:
		require.NoError(j.t, j.eng.Close())
		if k < 19 {
			j.jump()
		}
		j.refusing = false
		j.open()
		j.check()
	}
}

// seedsFor are the seeds of a random test: the first n, or QUIRE_SEED alone.
func seedsFor(t *testing.T, n int) []uint64 {
	if text := os.Getenv("QUIRE_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
		return []uint64{seed}
	}
	list := make([]uint64, n)
	for i := range list {
		list[i] = uint64(i)
	}
	return list
}

func TestDelayedMessagesUnderAClockThatJumps(t *testing.T) {
	for _, seed := range seedsFor(t, thin.Raced(6, 2)) {
		synctest.Test(t, func(t *testing.T) {
			j := &jumps{t: t, seed: seed, r: rand.New(rand.NewPCG(seed, 7)), disk: vfs.NewMem(), clock: new(wrongClock),
				due: map[int]int64{}, part: map[int]int32{}, at: map[int]Position{}, ripe: map[int]bool{},
				came: map[int]bool{}, gone: map[int]bool{}}
			j.open()
			for i := range 120 {
				j.step(i)
			}
			if j.refusing {
				j.refuse(false)
			}
			j.clock.ahead.Store(0)
			time.Sleep(month)
			j.check()
			assert.Empty(t, waiting(t, j.tp))
			require.NoError(t, j.eng.Close())
		})
	}
}

// playWrongClock is a scenario whose clock is ahead and put back twice, once across a restart. What comes while it is
// ahead has come due.
func (p *promises) playWrongClock(t testing.TB, disk vfs.FS, clock *wrongClock) {
	open := func() {
		if p.err == nil {
			var eng *Engine
			if eng, p.err = Open("data", On(disk), clock.option()); p.err == nil {
				p.eng = eng
			}
		}
	}
	open()
	if p.eng == nil {
		return
	}
	defer func() { p.eng.Close() }()
	for _, name := range []string{"a", "b"} {
		if p.err == nil {
			_, p.err = p.eng.Topic(t.Context(), name)
		}
	}
	ahead := func(topic, value string, d time.Duration) {
		p.schedule(t, topic, value, d)
		if made := p.made[value]; made != nil {
			made.due = time.Now()
		}
	}
	ahead("a", "a1", 30*time.Minute)
	ahead("b", "b1", 50*time.Minute)
	p.schedule(t, "a", "a2", 90*time.Minute)
	clock.set(time.Hour)
	clock.set(0)
	p.schedule(t, "a", "a3", time.Second)
	gone := p.schedule(t, "b", "b3", time.Minute)
	ahead("b", "b4", 35*time.Minute)
	p.cancel(t, "b", "b3", gone)
	time.Sleep(2 * time.Second)
	clock.set(40 * time.Minute)
	if p.err == nil {
		p.err = p.eng.Close()
	}
	clock.ahead.Store(0)
	open()
	p.schedule(t, "a", "a5", 2*time.Second)
	p.schedule(t, "b", "b5", 20*time.Minute)
	time.Sleep(3 * time.Second)
}

// The power fails in every third call while the clock is wrong and put back; with QUIRE_EVERY_CUT set in every call and in
// every way.
func TestClockThatWasPutBackBearsPowerCuts(t *testing.T) {
	var calls int
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewCrash()
		p := &promises{made: map[string]*promise{}}
		p.playWrongClock(t, disk, new(wrongClock))
		require.NoError(t, p.err)
		calls = disk.Ops()
		require.NoError(t, p.verify(t, disk))
	})
	stride := thin.Raced(3, 9)
	if invariant.Enabled {
		stride = 17
	}
	if os.Getenv("QUIRE_EVERY_CUT") != "" {
		stride = 1
	}
	policies, states := vfs.Policies(), 0
	for n := 1; n <= calls; n += stride {
		for i, policy := range policies {
			if stride > 1 && i != n/stride%len(policies) {
				continue
			}
			synctest.Test(t, func(t *testing.T) {
				disk := vfs.NewCrash()
				disk.CrashAt(n)
				p := &promises{made: map[string]*promise{}}
				p.playWrongClock(t, disk, new(wrongClock))
				if err := p.verify(t, disk.After(policy, uint64(n))); err != nil {
					t.Fatalf("power cut at call %d of %d, %v: %v", n, calls, policy, err)
				}
				states++
			})
		}
	}
	t.Logf("%d calls, %d states", calls, states)
	require.Positive(t, states)
}
