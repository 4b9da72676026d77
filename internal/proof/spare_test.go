package main

import "testing"

// One is named, two are a failure.
func TestOneOfASampleMayLive(t *testing.T) {
	for lived, bad := range map[int]int64{0: 0, 1: 0, 2: 2} {
		y := &tally{lane: lane{name: "sabotage"}, seen: map[string]int{}}
		var list []failure
		for range lived {
			list = append(list, failure{caseName{Lane: "sabotage"}, faultf(undetected, "no test notices")})
		}
		for range 40 - lived {
			y.add(caseName{Lane: "sabotage"}, nil)
		}
		y.spare(list)
		if y.bad() != bad || y.cases.Load() != 40 {
			t.Errorf("%d lived: %d of %d are bad", lived, y.bad(), y.cases.Load())
		}
	}
}
