// Package watermark holds one number that many goroutines read, a few raise,
// and anyone may wait for.
//
// It is the only place of the engine where waiting is built: a [Mark] wakes its
// waiters by closing a channel and forgetting it, so waits are durable in a
// testing/synctest bubble, end with a context, and cost nothing while nobody
// waits.
//
// Invariants:
//
//	I1  A waiter that returns nil has seen a value at or above what it asked for.
//	I2  No wake-up is lost: a value stored before or after a waiter registers
//	    either is seen by it or closes its channel.
//	I3  A Mark nobody waits for holds no channel and takes no lock.
package watermark
