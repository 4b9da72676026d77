package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// A tally counts checks and tells of each in one line.
type tally struct {
	out            io.Writer
	passed, failed int
}

// check runs one check. It returns what was seen, told behind the name, or why it failed.
func (t *tally) check(name string, f func() (seen string, err error)) {
	began := time.Now()
	seen, err := f()
	took := time.Since(began).Seconds()
	if err != nil {
		t.failed++
		fmt.Fprintf(t.out, "FAIL  %s (%.1f s)\n\t%s\n", name, took, strings.ReplaceAll(err.Error(), "\n", "\n\t"))
		return
	}
	t.passed++
	fmt.Fprintf(t.out, "ok    %s: %s (%.1f s)\n", name, seen, took)
}

// must is check for a step without which the rest of its part is in vain; it tells whether to go on.
func (t *tally) must(name string, f func() (seen string, err error)) bool {
	before := t.failed
	t.check(name, f)
	return t.failed == before
}

// disagreement is an error that lists at most a few of many differences; nil if there is none.
func disagreement(list []string) error {
	const shown = 10
	if len(list) == 0 {
		return nil
	}
	head := list
	if len(head) > shown {
		head = head[:shown]
	}
	return fmt.Errorf("%d differences\n\t%s", len(list), strings.Join(head, "\n\t"))
}
