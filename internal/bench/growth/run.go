package growth

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/quirelog/quire/internal/bench/machine"
)

// A Scale says how large sizes become and how long each is looked at.
type Scale int

// The scales: one that only shows that everything runs, the thinned form, and all.
const (
	Smoke Scale = iota
	Quick
	Full
)

// Config is what a run is told.
type Config struct {
	Dir      string   // where logs lie
	Scale    Scale    //
	Rounds   int      // samples of each contender at each size; 0: the scale's
	Only     []string // ids of curves or their first parts; empty: all
	NoRaw    bool     // quire alone, for a profile
	Progress io.Writer
	// Kill starts a process that appends so many bytes to the log of topic in dir, tells of none, and kills itself: see Tail.
	Kill func(dir string, bytes int64) error
}

// env is what the families share in a run.
type env struct {
	Config
	slice time.Duration // how long a sample of a rate takes
	heap  float64       // before the engine of this point
	next  int
}

// A rig is one contender set up at one size.
type rig struct {
	shows []func() (sample, error) // one for each curve of its family; or
	all   func() ([]sample, error) // the same at once, where one follows from the other
	close func() error
}

// samples are those of the curves that are wanted, empty for the others.
func (r *rig) samples(wanted []bool) (list []sample, err error) {
	if r.all != nil {
		return r.all()
	}
	list = make([]sample, len(r.shows))
	for i, show := range r.shows {
		if wanted[i] && err == nil {
			list[i], err = show()
		}
	}
	return list, err
}

// A family is the curves that one set-up shows.
type family struct {
	id, axis string
	curves   []Curve // what is said of them; without points
	points   [3][]int
	once     bool // a sample makes everything anew: none is needed to warm up
	// quire and raw set up a contender; ground is what both work on.
	ground func(e *env, n int) (any, error)
	quire  func(e *env, n int, ground any) (*rig, error)
	raw    func(e *env, n int, ground any) (*rig, error)
	leave  func(ground any) error
}

func families() []*family {
	var all []*family
	for _, list := range [][]*family{partitionFamilies(), lifeFamilies(), sizeFamilies(), readerFamilies(), memberFamilies(), backlogFamilies()} {
		all = append(all, list...)
	}
	return all
}

// List is the ids, names and units of all curves.
func List() (list [][]string) {
	for _, f := range families() {
		for _, c := range f.curves {
			list = append(list, []string{f.id + "/" + c.ID, c.Name, "a " + c.Unit, f.axis})
		}
	}
	return list
}

// wanted tells which curves a list of ids or parts of them names.
func (f *family) wanted(only []string) (which []bool, some bool) {
	which = make([]bool, len(f.curves))
	for i, c := range f.curves {
		which[i] = len(only) == 0 || slices.ContainsFunc(only, func(name string) bool { return name == f.id || name == f.id+"/"+c.ID })
		some = some || which[i]
	}
	return which, some
}

// Run measures the curves that are wanted.
func Run(c Config) (curves []*Curve, err error) {
	e := &env{Config: c, slice: [...]time.Duration{3 * time.Millisecond, 60 * time.Millisecond, 500 * time.Millisecond}[c.Scale]}
	if e.Rounds == 0 {
		e.Rounds = [...]int{1, 3, 5}[c.Scale]
	}
	for _, f := range families() {
		if _, some := f.wanted(c.Only); !some {
			continue
		}
		list, err := e.family(f)
		curves = append(curves, list...)
		if err != nil {
			return curves, fmt.Errorf("growth/%s: %w", f.id, err)
		}
	}
	if len(curves) == 0 {
		return nil, fmt.Errorf("no curve is called %v", c.Only)
	}
	return curves, nil
}

func (e *env) family(f *family) (curves []*Curve, err error) {
	which, _ := f.wanted(e.Only)
	all := make([]*Curve, len(f.curves))
	for i, c := range f.curves {
		c.ID, c.Axis = f.id+"/"+c.ID, f.axis
		all[i] = &c
		if which[i] {
			curves = append(curves, &c)
		}
	}
	for _, n := range f.points[e.Scale] {
		ours, raws, err := e.point(f, n)
		if err != nil {
			return curves, fmt.Errorf("at %d: %w", n, err)
		}
		for i, c := range all {
			c.Points = append(c.Points, point(n, column(ours, i), column(raws, i)))
		}
	}
	return curves, nil
}

func column(rounds [][]sample, i int) (list []sample) {
	for _, r := range rounds {
		list = append(list, r[i])
	}
	return list
}

// mostTogether is the size up to which both contenders are set up at once: above it their descriptors might not find room together.
const mostTogether = 3000

// point measures one size: both contenders in turns, or one after the other.
func (e *env) point(f *family, n int) (ours, raws [][]sample, err error) {
	var ground any
	if f.ground != nil {
		if ground, err = f.ground(e, n); err != nil {
			return nil, nil, err
		}
	}
	if f.leave != nil {
		defer func() { err = errors.Join(err, f.leave(ground)) }()
	}
	c := contest{e: e, f: f, n: n, ground: ground}
	c.wanted, _ = f.wanted(e.Only)
	c.together = n <= mostTogether && !e.NoRaw
	return c.run()
}

// A contest is both contenders at one size.
type contest struct {
	e        *env
	f        *family
	n        int
	ground   any
	wanted   []bool
	together bool
	ours     entrant
	raw      entrant
}

// An entrant is what one contender showed.
type entrant struct {
	rig    *rig
	rounds [][]sample
}

func (c *contest) run() (ours, raws [][]sample, err error) {
	c.e.heap = machine.HeapInUse()
	if err := c.open(&c.ours, c.f.quire); err != nil {
		return nil, nil, err
	}
	if !c.together {
		if err := errors.Join(c.take(&c.ours), c.ours.rig.close()); err != nil || c.e.NoRaw {
			return c.ours.rounds, nil, err
		}
	}
	before := machine.HeapInUse()
	if err := c.open(&c.raw, c.f.raw); err != nil {
		return nil, nil, err
	}
	c.e.heap += machine.HeapInUse() - before
	if !c.together {
		err = errors.Join(c.take(&c.raw), c.raw.rig.close())
		return c.ours.rounds, c.raw.rounds, err
	}
	err = c.take(&c.ours, &c.raw)
	return c.ours.rounds, c.raw.rounds, errors.Join(err, c.ours.rig.close(), c.raw.rig.close())
}

// open sets a contender up, and has it show once what is not counted.
func (c *contest) open(who *entrant, set func(*env, int, any) (*rig, error)) (err error) {
	if who.rig, err = set(c.e, c.n, c.ground); err != nil || c.f.once {
		return err
	}
	if _, err = who.rig.samples(c.wanted); err != nil {
		return errors.Join(err, who.rig.close())
	}
	return nil
}

// take has them show in turns.
func (c *contest) take(all ...*entrant) error {
	rounds := c.e.Rounds
	if c.f.once {
		rounds = min(rounds, [...]int{1, 1, 3}[c.e.Scale])
	}
	for round := range rounds {
		for i := range all {
			who := all[(i+round)%len(all)]
			_, _ = fmt.Fprintf(c.e.Progress, "\r\x1b[Kgrowth/%s, %d %s, round %d of %d", c.f.id, c.n, c.f.axis, round+1, rounds)
			s, err := who.rig.samples(c.wanted)
			if err != nil {
				return err
			}
			who.rounds = append(who.rounds, s)
		}
	}
	_, _ = fmt.Fprint(c.e.Progress, "\r\x1b[K")
	return nil
}

// fresh makes a new directory.
func (e *env) fresh(name string) (string, error) {
	e.next++
	dir := filepath.Join(e.Dir, fmt.Sprintf("%s-%d", name, e.next))
	return dir, os.MkdirAll(dir, 0o750)
}
