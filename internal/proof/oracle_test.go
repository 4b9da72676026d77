package main

import (
	"slices"
	"testing"
	"time"

	"github.com/quirelog/quire/log/vfs"
)

// told is a history of three batches: records 0 and 1 acked and durable, 2 acked only, 3 unknown.
func told() *history {
	h := newHistory()
	h.tell(h.plan(0, 2), acked, 0, true)
	h.tell(h.plan(0, 1), acked, 2, false)
	h.plan(1, 1)
	return h
}

func of(ids ...int) *found {
	g := &found{end: int64(len(ids)), high: int64(len(ids))}
	for i, id := range ids {
		g.recs = append(g.recs, got{offset: int64(i), id: id})
	}
	return g
}

func TestOracle(t *testing.T) {
	moved := of(0, 1, 2)
	moved.recs[2].offset, moved.end = 3, 4
	for name, c := range map[string]struct {
		g    *found
		s    state
		want kind
		ok   bool
	}{
		"all":                      {g: of(0, 1, 2, 3), s: killed, ok: true},
		"without the unknown":      {g: of(0, 1, 2), s: killed, ok: true},
		"weak ack lost by power":   {g: of(0, 1), s: powered, ok: true},
		"weak ack lost by a kill":  {g: of(0, 1), s: killed, want: lost},
		"acked lost":               {g: of(), s: powered, want: lost},
		"torn batch":               {g: of(0), s: powered, want: lost},
		"hole":                     {g: moved, s: killed, want: hole},
		"record nobody wrote":      {g: of(0, 1, 9), s: powered, want: wrong},
		"record there twice":       {g: of(0, 1, 2, 2), s: killed, want: wrong},
		"at another offset":        {g: of(0, 1, 3, 2), s: killed, want: wrong},
		"first batch out of order": {g: of(1, 0), s: powered, want: wrong},
	} {
		err := told().verify(c.g, c.s)
		if (err == nil) != c.ok || (err != nil && kindOf(err) != c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOracleAlternatives(t *testing.T) {
	h := told()
	h.begin(func(next *history) { next.truncate(2) })
	for _, g := range []*found{of(0, 1), of(0, 1, 2), of(0, 1, 2, 3)} {
		if err := h.verify(g, killed); err != nil {
			t.Errorf("during the truncation: %v", err)
		}
	}
	h.done()
	if err := h.verify(of(0, 1), killed); err != nil {
		t.Errorf("after the truncation: %v", err)
	}
	if err := h.verify(of(0, 1, 2), killed); err == nil {
		t.Error("a record that was cut came back unnoticed")
	}
}

// compacted is a history of records 0 to 11 with keys, each a batch of its own, which a compaction covered up to upper.
// Keys and tombstones follow from the numbers; see keyed.go.
func compacted(upper int64, nows ...time.Time) *history {
	h := newHistory()
	h.compacting(time.Hour)
	for i := range 12 {
		h.tell(h.plan(0, 1), acked, int64(i), true)
	}
	for _, now := range nows {
		h.beginPass(now, upper)
		h.donePass(upper)
	}
	return h
}

// survivors are the records of a history that is compacted by the plainest of means.
func survivors(upper int64, tombstones bool) *found {
	g := &found{end: 12, high: 12}
	for i := range 12 {
		id := keyedIDs + i
		newest := true
		for j := i + 1; j < int(upper); j++ {
			newest = newest && keyNumber(keyedIDs+j) != keyNumber(id)
		}
		if i >= int(upper) || newest && (tombstones || !isTombstone(id)) {
			g.recs = append(g.recs, got{offset: int64(i), id: id})
		}
	}
	return g
}

func TestOracleOfCompaction(t *testing.T) {
	first := cleanTime()
	without := func(g *found, offset int64) *found {
		g.recs = slices.DeleteFunc(g.recs, func(r got) bool { return r.offset == offset })
		return g
	}
	with := func(g *found, offset int64) *found {
		g.recs = append(without(g, offset).recs, got{offset: offset, id: keyedIDs + int(offset)})
		slices.SortFunc(g.recs, func(a, b got) int { return int(a.offset - b.offset) })
		return g
	}
	later := first.Add(time.Hour)
	gone := survivors(10, true)
	last := gone.recs[0].offset
	var dead, value, old int64 = -1, -1, -1 // a tombstone that is the newest of its key, a value that is, and one that is not
	for _, r := range gone.recs {
		switch {
		case r.offset >= 10:
		case isTombstone(r.id):
			dead = r.offset
		default:
			value = r.offset
		}
	}
	for i := range int64(10) {
		if keyNumber(keyedIDs+int(i)) == keyNumber(keyedIDs+int(dead)) && i < dead {
			old = i
		}
	}
	if last < 0 || dead < 0 || value < 0 || old < 0 {
		t.Fatal("these records show too little", last, dead, value, old)
	}
	for name, c := range map[string]struct {
		h    *history
		g    *found
		want kind
		ok   bool
	}{
		"compacted":                     {h: compacted(10, first), g: survivors(10, true), ok: true},
		"not compacted":                 {h: compacted(10), g: survivors(0, true), ok: true},
		"newest value is gone":          {h: compacted(10, first), g: without(survivors(10, true), value), want: hole},
		"beyond the pass":               {h: compacted(10, first), g: without(survivors(10, true), 10), want: hole},
		"tombstone went at once":        {h: compacted(10, first), g: without(survivors(10, true), dead), want: hole},
		"tombstone went in time":        {h: compacted(10, first, later), g: survivors(10, false), ok: true},
		"tombstone stays too long":      {h: compacted(10, first, later), g: survivors(10, true), want: wrong},
		"superseded record is there":    {h: compacted(10, first), g: with(survivors(10, true), old), want: wrong},
		"nothing was compacted, told":   {h: compacted(10, first), g: survivors(0, true), want: wrong},
		"deleted key is back, told not": {h: compacted(10), g: without(survivors(0, true), dead), want: hole},
	} {
		err := c.h.verify(c.g, killed)
		if (err == nil) != c.ok || (err != nil && kindOf(err) != c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNamesOfCases(t *testing.T) {
	name := caseName{"crash", "roll", "12+torn.3+4", "kill", 7}
	back, err := parseCase(name.String())
	if err != nil || back != name {
		t.Fatal(back, err)
	}
	n, first, k, err := parseOp(back.Op)
	if err != nil || n != 12 || first != (cutting{"torn", 3}) || k != 4 {
		t.Fatal(n, first, k, err)
	}
	for _, bad := range []string{"", "crash:roll:1:torn", "a:b:c:d:e"} {
		if _, err := parseCase(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

// TestScenariosRun plays each scenario without a crash and checks what is left.
func TestScenariosRun(t *testing.T) {
	for _, sc := range append(logScenarios(), engineScenarios()...) {
		if _, err := countOps(sc, 1); err != nil {
			t.Errorf("%s: %v", sc.name, err)
		}
	}
}

// TestDamageIsSeen breaks a record behind the checksums' back: the lanes' reader must tell.
func TestDamageIsSeen(t *testing.T) {
	ref, err := buildReference(1)
	if err != nil {
		t.Fatal(err)
	}
	got, err := contentOf(ref.clone(), ref.want, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := got.same(ref.want); err != nil {
		t.Fatal(err)
	}
	got.topics[0].partitions[0].raw[70] ^= 4
	if kindOf(got.same(ref.want)) != undetected {
		t.Fatal("a difference was not seen")
	}
}

// TestCutsAreNamed parses back the ways to crash.
func TestCutsAreNamed(t *testing.T) {
	for _, c := range cuts(vfs.NewCrash(), 3, 1, 1) {
		if c.policy == crashKill {
			continue
		}
		if _, err := vfs.ParsePolicy(c.policy); err != nil {
			t.Error(err)
		}
	}
}
