package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// A deadline is a row that has no log beneath it to be compared with; it prints a table of its own and lists what is broken.
type deadline struct {
	name    string
	measure func(*env, io.Writer) (broken []string, err error)
	asked   bool // only when -run names it
}

func deadlines() []deadline {
	return []deadline{
		{name: "P14", measure: measureTimers}, {name: "delayed", measure: measureDelays},
		{name: "rebalance", measure: measureRebalance}, {name: "commits", measure: measureCommits}, {name: "groups", measure: measureIdleGroups},
		{name: "jetstream", measure: measureQueues}, {name: "storm", measure: measureStorm}, {name: "bombs", measure: measureBombs},
		{name: "topics", measure: measureManyTopics}, {name: "pollmany", measure: measurePollMany}, {name: "waits", measure: measureWaits},
		{name: "syncs", measure: measureSharedSyncs, asked: true},
	}
}

// splitDeadlines takes the names of deadlines out of a -run list; or gives those that nothing has to name.
func splitDeadlines(run []string, everything bool) (list []deadline, rest []string) {
	rest = slices.Clone(run)
	for _, d := range deadlines() {
		named := func(name string) bool { return name == d.name }
		if everything && !d.asked || slices.ContainsFunc(run, named) {
			list = append(list, d)
		}
		rest = slices.DeleteFunc(rest, named)
	}
	return list, rest
}

// measureDeadlines runs them. The code is 1 when something is broken that noise cannot move.
func measureDeadlines(s settings, list []deadline, w io.Writer) (code int, err error) {
	if len(list) == 0 {
		return 0, nil
	}
	e, err := newEnv(s)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(e.dir)) }()
	for _, d := range list {
		broken, err := d.measure(e, w)
		if err != nil {
			return 1, fmt.Errorf("%s: %w", d.name, err)
		}
		for _, b := range broken {
			code = 1
			if _, err := fmt.Fprintln(w, "FAILS:", b); err != nil {
				return 1, err
			}
		}
	}
	return code, nil
}
