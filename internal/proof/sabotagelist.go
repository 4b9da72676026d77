package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// entry is one sabotage of the list in testdata, as it is written there:
//
//	log Log.writeLocked
//	- if b.BaseOffset() != end {
//	+ if false {
//
// The first line names a package's folder and a function; further pairs may follow it.
// The old text stands in that function once, perhaps over several lines. A function
// that moved to another package is found there.
type entry struct {
	place    string // file and line of the list
	dir, fn  string
	old, new string
}

// readSabotages reads the files of the list.
func readSabotages() ([]entry, error) {
	names, err := filepath.Glob(sabotageDir + "/*.diff")
	if err != nil {
		return nil, err
	}
	var list []entry
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		found, err := parseSabotages(filepath.Base(name), string(data))
		if err != nil {
			return nil, err
		}
		list = append(list, found...)
	}
	return list, nil
}

func parseSabotages(file, text string) ([]entry, error) {
	var list []entry
	var e entry
	add := func() {
		if e.new = strings.TrimSpace(e.new); e.old != "" {
			list = append(list, e)
		}
		e.old, e.new = "", ""
	}
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
			add()
		case line[0] == '-':
			if e.new != "" {
				add()
			}
			e.place = fmt.Sprintf("%s:%d", file, number)
			e.old = strings.TrimSpace(e.old + "\n" + strings.TrimSpace(line[1:]))
		case line[0] == '+' && e.old != "":
			e.new += strings.TrimSpace(line[1:]) + "\n"
		default:
			add()
			var ok bool
			if e.dir, e.fn, ok = strings.Cut(line, " "); !ok {
				return nil, fmt.Errorf("%s:%d: neither a package and a function, nor a change: %s", file, number, line)
			}
		}
	}
	add()
	return list, nil
}

// find looks for the entry's text in the code: in its own function, else in those of
// that name in other packages.
func (e entry) find(c code) (*sabotage, error) {
	var found []*sabotage
	for _, own := range []bool{true, false} {
		for _, f := range c {
			if f.name != e.fn || (f.dir == e.dir) != own {
				continue
			}
			from, to := f.body()
			for _, at := range findLines(string(f.src[from:to]), e.old) {
				found = append(found, &sabotage{id: f.id(digest(e.old, e.new)), fn: f,
					from: from + at[0], to: from + at[1], text: e.new})
			}
		}
		if len(found) > 0 {
			break
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("%s: %s %s has no %q", e.place, e.dir, e.fn, e.old)
	case 1:
		return found[0], nil
	}
	return nil, errors.New(e.place + ": the old text stands there more than once")
}

// findLines returns where old stands in text, whatever the indentation of its lines.
func findLines(text, old string) (all [][2]int) {
	lines := strings.Split(old, "\n")
	for at := 0; ; {
		i := strings.Index(text[at:], lines[0])
		if i < 0 {
			return all
		}
		from := at + i
		to := from + len(lines[0])
		whole := true
		for _, line := range lines[1:] {
			rest := text[to:]
			trimmed := strings.TrimLeft(rest, " \t\n")
			if !strings.HasPrefix(trimmed, line) {
				whole = false
				break
			}
			to += len(rest) - len(trimmed) + len(line)
		}
		if whole {
			all = append(all, [2]int{from, to})
		}
		at = from + len(lines[0])
	}
}
