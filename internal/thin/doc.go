// Package thin has sweeps do less where they show less. For tests alone.
//
// Its invariant is that without the race detector, or without -short, a sweep is whole. Any goroutine may call it once flags are parsed; it has no errors.
package thin
