package thin

import "testing"

// Raced is all, and with -short under the race detector few. It is for sweeps that have no two goroutines of their own at once: they show no
// race that a few of their cases do not, and take ten times as long there.
func Raced(all, few int) int {
	if raced && testing.Short() {
		return few
	}
	return all
}
