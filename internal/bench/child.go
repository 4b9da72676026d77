package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/quirelog/quire/internal/bench/growth"
)

// An order is what a child process does. Children measure what only a fresh process shows: opening after a kill, and idle cost.
type order struct {
	Do     string // "open", "idle" or "tail"
	System string
	Dir    string
	Fill   int64 // payload bytes appended after opening
	Kill   bool  // end by SIGKILL instead of Close
	Logs   int
}

// A report is what the child prints as its only line.
type report struct {
	Opened  time.Duration // directory to a log that knows its end
	Records int64         // in the log when opened
	After   int64         // in the log at the end
	Idle    idleCost
	Err     string
}

// runChild starts this program again with the order and waits for its report.
func runChild(o order) (report, error) {
	var rep report
	self, err := os.Executable()
	if err != nil {
		return rep, err
	}
	text, err := json.Marshal(o)
	if err != nil {
		return rep, err
	}
	cmd := exec.Command(self, "-child", string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if len(out) == 0 {
		return rep, fmt.Errorf("child without a report: %w", err) // a child that was told to kill itself reports first
	}
	if err := json.Unmarshal(out, &rep); err != nil {
		return rep, err
	}
	if rep.Err != "" {
		return rep, fmt.Errorf("child: %s", rep.Err)
	}
	return rep, nil
}

// carryOut does what the order says; the store is still open then.
func (o order) carryOut() (rep report, st Store, err error) {
	if o.Do == "tail" {
		return rep, nil, growth.Tail(o.Dir, o.Fill)
	}
	sys, err := systemNamed(o.System)
	if err != nil {
		return rep, nil, err
	}
	switch o.Do {
	case "open":
		return o.open(sys)
	case "idle":
		return o.idle(sys)
	}
	return rep, nil, fmt.Errorf("no such order %q", o.Do)
}

// child carries out an order and prints the report.
func child(text string) error {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	rep, st, err := o.carryOut()
	if err != nil {
		rep.Err = err.Error()
	}
	if err == nil && !o.Kill {
		err = st.Close()
	}
	if err := json.NewEncoder(os.Stdout).Encode(rep); err != nil {
		return err
	}
	if err == nil && o.Kill {
		self, err := os.FindProcess(os.Getpid())
		if err != nil {
			return err
		}
		return self.Kill()
	}
	return err
}
