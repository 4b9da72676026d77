package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// clockTests are the tests of times of day that have cases without end: each seed plays others. They set a clock of their
// engine's, which no caller can.
var clockTests = []struct {
	name  string
	seeds int // of the fast tier
}{
	{"TestDelayedMessagesUnderAClockThatJumps", 60},
	{"TestRecurringMessagesUnderAClockThatJumps", 60},
	{"TestCronAgreesWithTheModelAtRandom", 40},
	{"TestClockThatWasPutBackBearsPowerCuts", 1},
}

// clockPatience is when a test that has not ended never will.
const clockPatience = 5 * time.Minute

// runClocks plays them with seeds that the tests themselves do not have.
func runClocks(r *runner, t *tally, seed uint64) {
	room, err := os.MkdirTemp("", "quire-clocks-")
	if err != nil {
		t.add(caseName{t.lane.name, "build", "0", "none", 0}, err)
		return
	}
	defer func() { _ = os.RemoveAll(room) }()
	binary, err := clockBinary(room)
	if err != nil {
		t.add(caseName{t.lane.name, "build", "0", "none", 0}, err)
		return
	}
	for _, test := range clockTests {
		n := test.seeds
		if n > 1 {
			n *= r.count
		}
		r.each(n, func(i int) {
			name := caseName{t.lane.name, test.name, strconv.Itoa(i), r.tier, seed}
			r.try(t, name, func() error { return playClock(binary, name) })
		})
	}
}

func replayClocks(_ *runner, c caseName) error {
	room, err := os.MkdirTemp("", "quire-clocks-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(room) }()
	binary, err := clockBinary(room)
	if err != nil {
		return err
	}
	return playClock(binary, c)
}

// clockBinary compiles the tests of package topic.
func clockBinary(room string) (string, error) {
	binary := filepath.Join(room, "topic.test")
	if out, err := command(moduleRoot, "go", "test", "-c", "-o", binary, "./topic"); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return binary, nil
}

// playClock runs one test with one seed. In the long tier, tests that cut the power do so at every call.
func playClock(binary string, c caseName) error {
	number, err := strconv.ParseUint(c.Op, 10, 64)
	if err != nil {
		return fmt.Errorf("proof: operation %q is not the number of a seed", c.Op)
	}
	cmd := exec.Command(binary, "-test.run", "^"+c.Scenario+"$", "-test.timeout", clockPatience.String(), "-test.v")
	cmd.Dir = filepath.Join(moduleRoot, "topic")
	cmd.Env = append(os.Environ(), "QUIRE_SEED="+strconv.FormatUint(c.Seed<<32|number, 10))
	if c.Policy == "long" {
		cmd.Env = append(cmd.Env, "QUIRE_EVERY_CUT=1")
	}
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil && bytes.Contains(out, []byte("--- PASS: "+c.Scenario)):
		return nil
	case err == nil:
		return faultf(wrong, "no test %s", c.Scenario)
	case bytes.Contains(out, []byte("panic:")):
		return faultf(death, "%v\n%s", err, tail(out, 2000))
	}
	return faultf(wrong, "%v\n%s", err, tail(out, 2000))
}
