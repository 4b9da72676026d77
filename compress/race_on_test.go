//go:build race

package compress

// raceEnabled: the race detector makes sync.Pool drop objects, so that counts of
// allocations mean nothing.
const raceEnabled = true
