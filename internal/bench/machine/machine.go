// Package machine is what the benchmarks know of the machine under them: syncs, counts of system calls, memory.
package machine

import "runtime"

// HeapInUse is what lies in the heap when the garbage is gone.
func HeapInUse() float64 {
	runtime.GC()
	runtime.GC() // the second empties what pools kept over the first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
