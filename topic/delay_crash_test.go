package topic

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quirelog/quire/internal/invariant"
	"github.com/quirelog/quire/internal/thin"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/require"
)

// promise is what a scenario knows of one message while it runs.
type promise struct {
	due       time.Time
	told      bool // the append returned: it must come
	cancelled bool // Cancel was called: it may or may not come
	stopped   bool // Cancel returned true: it must not come
}

// promises is a scenario with delayed messages, up to the power cut.
type promises struct {
	eng  *Engine
	made map[string]*promise
	seen map[string]int // how often each came, at the end
	err  error
}

func (p *promises) schedule(t testing.TB, topic, value string, d time.Duration) Position {
	if p.err != nil {
		return Position{}
	}
	p.made[value] = &promise{due: time.Now().Add(d)}
	tp, err := p.eng.Topic(t.Context(), topic)
	var pos Position
	if err == nil {
		pos, err = tp.Append(t.Context(), say(value), DeliverAfter(d))
	}
	p.made[value].told = err == nil
	p.err = err
	return pos
}

func (p *promises) cancel(t testing.TB, topic, value string, pos Position) {
	if p.err != nil {
		return
	}
	p.made[value].cancelled = true
	tp, err := p.eng.Topic(t.Context(), topic)
	if err == nil {
		p.made[value].stopped, err = tp.Cancel(t.Context(), pos)
	}
	p.err = err
}

// play is the scenario: messages for three partitions at several levels, one batch, two cancellations, a clean
// restart in the middle, and time that passes.
func (p *promises) play(t testing.TB, disk vfs.FS) {
	open := func() {
		if p.err == nil {
			var eng *Engine
			if eng, p.err = Open("data", On(disk)); p.err == nil {
				p.eng = eng
			}
		}
	}
	open()
	if p.eng == nil {
		return
	}
	defer func() { p.eng.Close() }()
	_, p.err = p.eng.Topic(t.Context(), "a", Partitions(2))
	if p.err == nil {
		_, p.err = p.eng.Topic(t.Context(), "b", NoSync())
	}
	p.schedule(t, "a", "a1", time.Second)
	gone := p.schedule(t, "a", "a2", 2*time.Second)
	p.schedule(t, "b", "b1", time.Second)
	p.schedule(t, "b", "b2", 2*time.Minute)
	p.cancel(t, "a", "a2", gone)
	time.Sleep(1500 * time.Millisecond)
	p.schedule(t, "a", "a3", time.Second)
	far := p.schedule(t, "a", "a4", time.Hour)
	time.Sleep(time.Second)
	p.cancel(t, "a", "a4", far)
	if p.err == nil {
		if p.err = p.eng.Close(); p.err == nil {
			open()
		}
	}
	time.Sleep(3 * time.Minute)
	p.schedule(t, "b", "b3", time.Second)
	time.Sleep(2 * time.Second)
}

// verify opens what a crash left and holds it to the promises, now and when all is due. What ticks comes once at each of
// its times.
func (p *promises) verify(t testing.TB, disk vfs.FS, ticks ...string) error {
	eng, err := Open("data", On(disk))
	if err != nil {
		return err
	}
	defer eng.Close()
	p.seen = map[string]int{}
	seen, times := p.seen, map[time.Time]bool{}
	look := func(last bool) error {
		clear(seen)
		clear(times)
		for _, name := range []string{"a", "b"} {
			tp, err := eng.Topic(t.Context(), name)
			if err != nil {
				return err
			}
			for rec, err := range tp.Read(t.Context(), UntilEnd()) {
				if err != nil {
					return err
				}
				v := string(rec.Value)
				seen[v]++
				if slices.Contains(ticks, v) {
					if times[rec.Time] || time.Now().Before(rec.Time) {
						return fmt.Errorf("%s of %v came twice or early", v, rec.Time)
					}
					times[rec.Time] = true
					continue
				}
				if made := p.made[v]; made == nil || time.Now().Before(made.due) {
					return fmt.Errorf("%s is early, or was never scheduled", v)
				}
			}
		}
		for v, made := range p.made {
			switch n := seen[v]; {
			case n > 1:
				return fmt.Errorf("%s came %d times", v, n)
			case n > 0 && made.stopped:
				return fmt.Errorf("%s came although cancelled", v)
			case n == 0 && last && made.told && !made.cancelled:
				return fmt.Errorf("%s is lost", v)
			}
		}
		return nil
	}
	time.Sleep(time.Millisecond)
	synctest.Wait()
	if err := look(false); err != nil {
		return err
	}
	time.Sleep(2 * time.Hour)
	synctest.Wait()
	return look(true)
}

// TestDelayedMessagesBearPowerCuts cuts the power in every third call that changes the disk, each time leaving it in
// another way; with QUIRE_EVERY_CUT set in every call and in every way.
func TestDelayedMessagesBearPowerCuts(t *testing.T) {
	var calls int
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewCrash()
		p := &promises{made: map[string]*promise{}}
		p.play(t, disk)
		require.NoError(t, p.err)
		calls = disk.Ops()
		require.NoError(t, p.verify(t, disk))
	})
	t.Logf("%d calls", calls)
	states, stride := 0, thin.Raced(3, 9)
	if invariant.Enabled {
		stride = 23
	}
	if os.Getenv("QUIRE_EVERY_CUT") != "" {
		stride = 1
	}
	policies := vfs.Policies()
	for n := 1; n <= calls; n += stride {
		for i, policy := range policies {
			if stride > 1 && i != n/stride%len(policies) {
				continue
			}
			synctest.Test(t, func(t *testing.T) {
				disk := vfs.NewCrash()
				disk.CrashAt(n)
				p := &promises{made: map[string]*promise{}}
				p.play(t, disk)
				left := disk.After(policy, uint64(n))
				if err := p.verify(t, left); err != nil {
					t.Fatalf("power cut at call %d of %d, %v: %v", n, calls, policy, err)
				}
				states++
			})
		}
	}
	t.Logf("%d states", states)
	require.Positive(t, states)
}
