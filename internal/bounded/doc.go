// Package bounded lets a context end waits that Go's own means cannot end: for a mutex, and for a call that hangs in the
// operating system because a disk does not answer.
//
//	Mutex   a mutex that may be locked with a context
//	Calls   calls that run apart from their callers when a context can end those
//
// Both cost a context that cannot end (Done is nil) nothing but a comparison.
//
// Invariants:
//
//	I1  A Mutex has one holder. One who has ended its wait never holds it.
//	I2  No wake-up is lost: while a Mutex is free, either none waits for it or one of those who wait is awake.
//	I3  While [MostAlone] calls of a Calls go on without a caller none begins whose context can end: it waits until one of them has ended.
//	I4  A panic or runtime.Goexit in a call that is waited for is its caller's; in one that goes on alone it ends there.
package bounded
