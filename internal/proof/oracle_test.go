package main

import (
	"testing"

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
	got, err := contentOf(ref.clone(), ref.want, nil, true)
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
