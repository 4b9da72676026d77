// Package handletest calls every method of handles that no constructor gave. For tests alone.
//
// Its invariant is that a method which has not returned after three seconds, or panics, fails the test under its own name, and no other.
package handletest
