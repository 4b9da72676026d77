package main

import "testing"

// TestFewOfASampleMayLive: of forty, four are named, five are a failure.
func TestFewOfASampleMayLive(t *testing.T) {
	for lived, bad := range map[int]int64{0: 0, 4: 0, 5: 5} {
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
