package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// deadlines are the rows that have no log beneath them to be compared with; each prints a table of its own.
func deadlines() map[string]func(*env, io.Writer) ([]string, error) {
	return map[string]func(*env, io.Writer) ([]string, error){
		"P14": measureTimers, "delayed": measureDelays,
		"rebalance": measureRebalance, "commits": measureCommits, "groups": measureIdleGroups, "jetstream": measureQueues, "storm": measureStorm, "bombs": measureBombs, "topics": measureManyTopics,
		"syncs": measureSharedSyncs, "pollmany": measurePollMany, "producermany": measureSpread, "waits": measureWaits,
	}
}

// splitDeadlines takes the names of deadlines out of a -run list; or gives them all.
func splitDeadlines(run []string, everything bool) (names, rest []string) {
	all := []string{"P14", "delayed", "rebalance", "commits", "groups", "jetstream", "storm", "bombs", "topics", "pollmany", "pollmany", "syncs", "producermany", "waits"}
	if everything {
		return all, nil
	}
	for _, name := range run {
		if slices.Contains(all, name) {
			names = append(names, name)
		} else {
			rest = append(rest, name)
		}
	}
	return names, rest
}

// measureDeadlines runs the named ones. The code is 1 when something is broken that noise cannot move.
func measureDeadlines(s settings, names []string, w io.Writer) (code int, err error) {
	if len(names) == 0 {
		return 0, nil
	}
	e, err := newEnv(s)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(e.dir)) }()
	for _, name := range names {
		broken, err := deadlines()[name](e, w)
		if err != nil {
			return 1, fmt.Errorf("%s: %w", name, err)
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
