package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// caseName names one case so that it can be played again. What Op and Policy mean
// is the lane's business; they hold no colon.
type caseName struct {
	Lane, Scenario, Op, Policy string
	Seed                       uint64
}

func (c caseName) String() string {
	return fmt.Sprintf("%s:%s:%s:%s:%d", c.Lane, c.Scenario, c.Op, c.Policy, c.Seed)
}

func parseCase(s string) (caseName, error) {
	parts := strings.Split(s, ":")
	if len(parts) != 5 {
		return caseName{}, fmt.Errorf("proof: %q is not lane:scenario:op:policy:seed", s)
	}
	seed, err := strconv.ParseUint(parts[4], 10, 64)
	if err != nil {
		return caseName{}, fmt.Errorf("proof: seed of %q: %w", s, err)
	}
	return caseName{parts[0], parts[1], parts[2], parts[3], seed}, nil
}

// replay plays one case again and returns the exit status.
func (r *runner) replay(text string) int {
	name, err := parseCase(text)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	for _, l := range lanes() {
		if l.name != name.Lane {
			continue
		}
		if err := r.guarded(name, func() error { return l.replay(r, name) }); err != nil {
			fmt.Printf("%s\n\t%v\n", name, err)
			return 1
		}
		fmt.Printf("%s: as it should be\n", name)
		return 0
	}
	fmt.Fprintf(os.Stderr, "proof: no lane %q\n", name.Lane)
	return 2
}

// unknownScenario is what a lane's replay returns for a name it does not know.
func unknownScenario(c caseName) error {
	return fmt.Errorf("proof: lane %s has no scenario %q", c.Lane, c.Scenario)
}
