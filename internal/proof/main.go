package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime/debug"
	"time"
)

// options is what the flags say.
type options struct {
	tier     string
	lanes    *regexp.Regexp
	only     *regexp.Regexp // scenarios
	seed     uint64
	count    int
	duration time.Duration
	workers  int
	verbose  bool
	ledger   bool
	failfast bool
	learn    bool
	replay   string
}

func main() {
	if os.Getenv(childEnv) != "" {
		os.Exit(childMain())
	}
	o, err := parseFlags(os.Args[1:])
	if err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(2)
	}
	os.Exit(prove(o))
}

func parseFlags(args []string) (*options, error) {
	o := &options{}
	var lanes, only string
	f := flag.NewFlagSet("proof", flag.ContinueOnError)
	f.StringVar(&o.tier, "tier", "fast", "fast: all lanes in some eight minutes; long: more of everything")
	f.StringVar(&lanes, "lane", "", "run the lanes whose name matches this regular expression:\n"+laneHelp())
	f.StringVar(&only, "scenario", "", "of lanes crash and engine, run scenarios whose name matches this regular expression")
	f.Uint64Var(&o.seed, "seed", 1, "seed of all that is random")
	f.IntVar(&o.count, "count", 1, "multiplies seeds, cycles and programs")
	f.DurationVar(&o.duration, "duration", 0, "repeat with new seeds until this time is over")
	f.IntVar(&o.workers, "workers", 0, "cases at once; 0: one for each processor")
	f.BoolVar(&o.verbose, "v", false, "print scenarios as they end")
	f.BoolVar(&o.failfast, "failfast", false, "exit at the first case that fails")
	f.BoolVar(&o.learn, "learn", false, "lane sabotage notes which test noticed what")
	f.BoolVar(&o.ledger, "ledger", false, "append this run to LEDGER.md")
	f.StringVar(&o.replay, "replay", "", "play one case again: lane:scenario:op:policy:seed")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if o.tier != "fast" && o.tier != "long" {
		return nil, fmt.Errorf("proof: tier %q is neither fast nor long", o.tier)
	}
	if o.tier == "long" {
		o.count *= 10
	}
	var err1, err2 error
	o.lanes, err1 = regexp.Compile(lanes)
	o.only, err2 = regexp.Compile(only)
	return o, errors.Join(err1, err2)
}

// memoryLimit is from where on memory is collected sooner, in bytes: a proof runs
// beside other things on a machine of a few GiB.
const memoryLimit = 1 << 30

// prove runs what was asked for and returns the exit status.
func prove(o *options) int {
	debug.SetGCPercent(400) // cases are short-lived and small
	debug.SetMemoryLimit(memoryLimit)
	r := newRunner(o)
	defer r.watchdog.stop()
	if o.replay != "" {
		return r.replay(o.replay)
	}
	began := time.Now()
	for round := uint64(0); ; round++ {
		r.round(o.seed + round*1_000_003)
		if o.duration == 0 || time.Since(began) >= o.duration {
			break
		}
	}
	r.print(os.Stdout, time.Since(began))
	if o.ledger {
		if err := r.writeLedger(time.Since(began)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	if r.failed() {
		return 1
	}
	return 0
}
