package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/quirelog/quire/topic"
)

func viewWith(lines ...string) view {
	v := view{}
	for _, line := range lines {
		v.add(line)
	}
	return v
}

func TestDifferences(t *testing.T) {
	want := viewWith("record a-0 0 time=1 key=x value=null", "record a-0 1 time=2 key=x value=x", "offsets a-0 start=0 stable=2 high=2")
	for name, tc := range map[string]struct {
		got  view
		want int
	}{
		"the same":         {viewWith("offsets a-0 start=0 stable=2 high=2", "record a-0 0 time=1 key=x value=null", "record a-0 1 time=2 key=x value=x"), 0},
		"null is no empty": {viewWith("offsets a-0 start=0 stable=2 high=2", "record a-0 0 time=1 key=x value=x", "record a-0 1 time=2 key=x value=x"), 1},
		"one is missing":   {viewWith("offsets a-0 start=0 stable=2 high=2", "record a-0 0 time=1 key=x value=null"), 1},
		"one too many":     {viewWith("offsets a-0 start=0 stable=2 high=2", "record a-0 0 time=1 key=x value=null", "record a-0 1 time=2 key=x value=x", "record a-0 2 time=2 key=x value=x"), 1},
		"another order":    {viewWith("offsets a-0 start=0 stable=2 high=2", "record a-0 1 time=2 key=x value=x", "record a-0 0 time=1 key=x value=null"), 1},
		"sections":         {viewWith("producer a-0 id=1"), 3},
	} {
		t.Run(name, func(t *testing.T) {
			if found := want.differences(tc.got); len(found) != tc.want {
				t.Fatalf("%d differences instead of %d: %v", len(found), tc.want, found)
			}
		})
	}
}

func TestReadView(t *testing.T) {
	path := filepath.Join(t.TempDir(), "view")
	if err := os.WriteFile(path, []byte("record a-0 0 x\nrecord b-0 0 x\ncommitted a-0 0 x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	v, err := readView(path)
	if err != nil || v.count("record") != 2 || v.count("committed") != 1 {
		t.Fatal(v, err)
	}
	part := v.only(func(partition string) bool { return isOf(partition, "a") })
	if got := part.partitions(); len(got) != 1 || got[0] != "a-0" {
		t.Fatal(got)
	}
}

func TestMendTimes(t *testing.T) {
	v := viewWith("record compacted-0 4 time=10 key=x value=x", "record compacted-0 9 time=30 key=x value=x",
		"time compacted-0 20 found=-1 at=-1", "time compacted-0 40 found=-1 at=-1")
	v.mendTimes()
	want := []string{"time compacted-0 20 found=9 at=30", "time compacted-0 40 found=-1 at=-1"}
	if d := firstDifference(want, v[section{"time", "compacted-0"}]); d != "" {
		t.Fatal(d)
	}
}

func TestRecordLine(t *testing.T) {
	r := &topic.Record{Offset: 7, Time: time.UnixMilli(5), Value: []byte{}, Headers: []topic.Header{{Key: "h", Value: nil}}}
	want := "a-0 7 time=5 key=null value=x header=x68:null"
	if got := recordLine("a-0", r); got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
}
