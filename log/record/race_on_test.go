//go:build race

package record

// raceEnabled: under the race detector counts of allocations mean nothing.
const raceEnabled = true
