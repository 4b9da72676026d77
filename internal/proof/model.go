package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/quirelog/quire/compress"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/vfs"
)

// modelPrograms is how many random programs run in the fast tier.
const modelPrograms = 1500

// runModel runs random programs with random settings, crashes among them, and
// compares the log with the model after every step. Half of the seeds are fixed,
// half are new each time.
func runModel(r *runner, t *tally, seed uint64) {
	fresh := uint64(time.Now().UnixNano()) % 1_000_000_000
	r.each(modelPrograms*r.count, func(i int) {
		s := seed + uint64(i)
		if i%2 == 1 {
			s = fresh + uint64(i)
		}
		err := r.guarded(caseName{t.lane.name, "program", "all", "random", s}, func() error { return program(s, nil, nil) })
		name := caseName{t.lane.name, "program", "all", "random", s}
		if err != nil {
			keep := shrink(r, s, kindOf(err))
			name.Op = spell(keep)
		}
		t.add(name, err)
	})
	t.note("programs of %d steps, seeds from %d and from %d", programSteps, seed, fresh)
}

// programSteps is the length of a program.
const programSteps = 60

// program runs the program of a seed; only the steps in keep, if that is not nil.
// A step is the same whichever others run.
func program(seed uint64, keep []int, tell func(format string, args ...any)) error {
	dice := rand.New(rand.NewPCG(seed, 0))
	m := &modelRun{disk: vfs.NewCrash(), cfg: randomConfig(dice), codec: compress.Codec(dice.IntN(5))}
	m.tell = tell
	m.say("config %+v", m.cfg)
	h := newHistory()
	if dice.IntN(2) == 0 {
		h.compacting(tombstoneTime)
		m.keyed, m.cfg.Compacted, m.cfg.DeleteRetention = true, dice.IntN(3) > 0, tombstoneTime
	}
	m.begin(h)
	if m.s.err != nil {
		return m.s.trouble()
	}
	for i := range programSteps {
		if keep != nil && !slices.Contains(keep, i) {
			continue
		}
		m.say("step %d at %d..%d..%d", i, m.s.l.Start(), m.s.l.High(), m.s.l.End())
		if err := m.step(rand.New(rand.NewPCG(seed, uint64(i+1)))); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	return m.end()
}

// randomConfig draws settings; every combination must read the same.
func randomConfig(dice *rand.Rand) *log.Config {
	return &log.Config{
		Durability:    log.Durability(dice.IntN(3)),
		SyncBytes:     int64(dice.IntN(3) * 500),
		SegmentBytes:  int64(1200 + dice.IntN(4000)),
		IndexInterval: 1 + dice.IntN(600),
		IndexBytes:    120 + dice.IntN(4)*400,
		PreWrite:      []int64{-1, 512, 4096, 1500}[dice.IntN(4)],
		Replicated:    dice.IntN(3) == 0,
	}
}

// modelRun is a program under way.
type modelRun struct {
	disk  *vfs.Crash
	cfg   *log.Config
	codec compress.Codec
	s     *script
	epoch int32
	keyed bool                             // its records have keys, so that it can be compacted
	clock time.Duration                    // how long after cleanTime it is
	tell  func(format string, args ...any) // nil: silent
}

// say tells what happens, for whoever watches a replay.
func (m *modelRun) say(format string, args ...any) {
	if m.tell != nil {
		m.tell(format, args...)
		m.disk.OnOp(func(op vfs.Op, path string) { m.tell("\t%s %s", op, path) })
	}
}

// begin opens the log with what is known of it.
func (m *modelRun) begin(h *history) {
	m.s = newScript(m.disk, m.cfg, m.disk.Crashed)
	m.s.h, m.s.codec = h, m.codec
	m.s.open()
}

// step does one random thing.
func (m *modelRun) step(dice *rand.Rand) error {
	s, n := m.s, dice.IntN(50)
	m.say("draws %d", n)
	switch {
	case n < 18:
		s.append(1 + dice.IntN(6))
	case n < 20:
		s.appendAs(0, 1+dice.IntN(3), log.AppendOptions{Synced: true})
	case n < 22:
		s.appendAs(0, 1+dice.IntN(3), log.AppendOptions{NoWait: true})
	case n < 24:
		s.flush()
	case n < 25:
		s.tick()
	case n < 27:
		m.deleteSome(dice)
	case n < 29:
		m.truncateSome(dice)
	case n == 29:
		s.truncateFully(s.l.End() + int64(dice.IntN(9)))
	case n == 30:
		m.epoch += int32(dice.IntN(3))
		if m.epoch > s.l.LeaderEpoch() {
			s.setEpoch(m.epoch)
		}
	case n < 33:
		s.reopen()
	case n < 36:
		s.askTimes()
	case n < 40:
		return m.crash(dice)
	default:
		m.keep(dice, n)
	}
	s.look()
	return s.trouble()
}

// keep does one thing that makes the log smaller, or changes its settings.
func (m *modelRun) keep(dice *rand.Rand, n int) {
	s := m.s
	m.clock += time.Duration(dice.Int64N(int64(tombstoneTime)))
	switch {
	case n < 45 && m.keyed:
		s.compact(cleanTime().Add(m.clock))
	case n < 46:
		s.retain(cleanTime(), log.Retention{Records: 1 + dice.Int64N(40)})
	case n == 46:
		s.retain(cleanTime(), log.Retention{Bytes: 1 + dice.Int64N(8000)})
	case n == 47:
		m.redactSome(dice)
	default:
		next := randomConfig(dice)
		next.Durability, next.Replicated = m.cfg.Durability, m.cfg.Replicated
		next.Compacted, next.DeleteRetention = m.keyed && dice.IntN(2) == 0, m.cfg.DeleteRetention
		s.configure(next)
		m.cfg = s.cfg
	}
}

// redactSome redacts a record that readers see, if there is one with a value of some length.
func (m *modelRun) redactSome(dice *rand.Rand) {
	l := m.s.l
	span := l.High() - l.Start()
	if span <= 0 {
		return
	}
	from := l.Start() + dice.Int64N(span)
	g, err := readLog(l)
	if m.s.failed(err) {
		return
	}
	for _, r := range g.recs {
		if r.offset >= from && r.offset < g.high && !isTombstone(r.id) && !r.redacted && len(valueOf(r.id)) > 2*len(redactedMark) {
			m.s.redact(r.offset)
			return
		}
	}
}

func (m *modelRun) deleteSome(dice *rand.Rand) {
	l := m.s.l
	if span := l.High() - l.Start(); span > 0 {
		m.s.deleteRecords(l.Start() + dice.Int64N(span+1))
	}
}

// truncateSome cuts a part that readers have not seen.
func (m *modelRun) truncateSome(dice *rand.Rand) {
	l := m.s.l
	if span := l.End() - l.High(); span > 0 {
		if dice.IntN(2) == 0 {
			m.s.advanceHigh(m.s.boundary(l.High() + dice.Int64N(span)))
		}
		m.s.truncate(l.High() + dice.Int64N(l.End()-l.High()+1))
	} else {
		m.s.advanceHigh(l.End())
	}
}

// crash cuts the power, or kills, during the next appends, and goes on with what is left.
func (m *modelRun) crash(dice *rand.Rand) error {
	m.disk.CrashAt(m.disk.Ops() + 1 + dice.IntN(12))
	for range 12 {
		m.s.append(1 + dice.IntN(4))
		if dice.IntN(4) == 0 {
			m.s.reopen()
		}
	}
	if m.s.told != nil {
		return m.s.told
	}
	if m.s.l != nil {
		_ = m.s.l.Close()
	}
	all := vfs.Policies()
	c := cutting{all[dice.IntN(len(all))].String(), dice.Uint64N(1000)}
	if dice.IntN(3) == 0 {
		c.policy = crashKill
	}
	m.disk = c.leave(m.disk)
	m.say("crash %s", c.policy)
	h, cleaned := m.s.h, m.s.cleaned
	m.s = newScript(m.disk, m.cfg, m.disk.Crashed)
	m.s.h, m.s.codec, m.s.cleaned = h, m.codec, cleaned
	_, err := m.s.comeBack(c.state())
	if err != nil {
		return fmt.Errorf("%s.%d: %w", c.policy, c.seed, err)
	}
	return nil
}

// end closes, opens and compares a last time.
func (m *modelRun) end() error {
	m.s.reopen()
	m.s.look()
	m.s.askTimes()
	m.s.close()
	return m.s.trouble()
}

// shrink finds a shorter program that fails too: ever smaller parts are left out.
func shrink(r *runner, seed uint64, like kind) []int {
	keep := make([]int, programSteps)
	for i := range keep {
		keep[i] = i
	}
	fails := func(steps []int) bool {
		name := caseName{"model", "program", spell(steps), "random", seed}
		err := r.guarded(name, func() error { return program(seed, steps, nil) })
		return err != nil && kindOf(err) == like
	}
	for part := len(keep) / 2; part > 0; part /= 2 {
		for at := 0; at+part <= len(keep); {
			if shorter := slices.Delete(slices.Clone(keep), at, at+part); fails(shorter) {
				keep = shorter
			} else {
				at += part
			}
		}
	}
	return keep
}

// spell writes the steps that a program is reduced to.
func spell(steps []int) string {
	var parts []string
	for _, i := range steps {
		parts = append(parts, strconv.Itoa(i))
	}
	return strings.Join(parts, ",")
}

func replayModel(r *runner, c caseName) error {
	if c.Op == "all" {
		return program(c.Seed, nil, r.debugf)
	}
	keep := []int{}
	for part := range strings.SplitSeq(c.Op, ",") {
		i, err := strconv.Atoi(part)
		if err != nil {
			return fmt.Errorf("proof: operation %q is not a list of steps", c.Op)
		}
		keep = append(keep, i)
	}
	return program(c.Seed, keep, r.debugf)
}
