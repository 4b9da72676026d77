package main

import (
	"bufio"
	"strings"
	"testing"
)

// TestServiceBookNotices tells a book what must not happen.
func TestServiceBookNotices(t *testing.T) {
	cases := []struct{ name, told, want string }{
		{"a good life", "job 1\ntry 1 1\nfail 1\ntry 1 2\nknown 1 1\nack 1\nknown 1 2\n", ""},
		{"killed before the answer was known", "try 1 1\nack 1\ntry 1 2\n", ""},
		{"a line cut short", "try 1 1\nack 1\nknown 1", ""},
		{"delivered after its end", "try 1 1\nack 1\nknown 1 1\ntry 1 2\n", "wrong: job 1 was delivered again after its end was known"},
		{"delivered after its rejection", "try 11 1\nreject 11\nknown 11 1\ntry 11 2\n", "wrong: job 11 was delivered again after its end was known"},
		{"the same attempt again", "try 1 2\ntry 1 2\n", "wrong: attempt 2 of job 1 after attempt 2"},
		{"an attempt too many", "try 1 5\n", "wrong: attempt 5 of job 1"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := ""
			if err := newServiceBook().write(bufio.NewReader(strings.NewReader(c.told))); err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// TestServiceBookKnowsTheEnd asks a book whether all is done.
func TestServiceBookKnowsTheEnd(t *testing.T) {
	b := newServiceBook()
	b.present[1], b.present[2] = true, true
	b.eventEnds = map[int64]int64{0: 10}
	tell := func(lines string) {
		t.Helper()
		if err := b.write(bufio.NewReader(strings.NewReader(lines))); err != nil {
			t.Fatal(err)
		}
	}
	tell("try 1 1\nack 1\ntry 2 1\nreject 2\nread 0 4 10\n")
	if b.jobsEnded() || b.eventsRead() {
		t.Error("job 2 has no dead letter, events 0 to 3 were not read")
	}
	if err := b.finished(); err == nil || kindOf(err) != lost {
		t.Errorf("job 2 is lost, and that is not told: %v", err)
	}
	b.dead[2] = "rejected"
	if err := b.finished(); err == nil || kindOf(err) != hole {
		t.Errorf("events are missing, and that is not told: %v", err)
	}
	tell("read 0 0 5\n")
	if err := b.finished(); err != nil {
		t.Error(err)
	}
}

// TestServiceLives plays one service to its end without killing it in between.
func TestServiceLives(t *testing.T) {
	dir := t.TempDir()
	told := newServiceBook()
	if err := endService(dir, told); err != nil {
		t.Fatal(err)
	}
	s, err := openService(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.eng.Close()
	jobs, err := s.eng.Topic(ctx(), jobsTopic)
	if err != nil {
		t.Fatal(err)
	}
	for id := range int64(60) {
		if _, err := jobs.Append(ctx(), jobRecord(id)); err != nil {
			t.Fatal(err)
		}
		told.hear("job", [3]int64{id})
	}
	if err := s.eng.Close(); err != nil {
		t.Fatal(err)
	}
	if err := endService(dir, told); err != nil {
		t.Fatal(err)
	}
	if len(told.dead) == 0 || len(told.jobs) != 60 {
		t.Errorf("%d jobs, %d dead", len(told.jobs), len(told.dead))
	}
}
