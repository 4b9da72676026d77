// Package invariant holds assertions that vanish: they stop the program in test builds and cost nothing in a user's build.
//
// Bad bytes are errors, broken invariants are assertions. What a disk, a caller or a network can cause is never checked here; what only a
// mistake of ours can cause is checked here and nowhere else.
//
// Invariants:
//
//	I1  Without -race and without the tag quire_invariants, Enabled is the constant false and Check does nothing.
//	I2  Check is the one place in the module that panics on purpose; internal/arch holds every other package to that.
//	I3  Neither the format nor the arguments are turned into text unless the check fails in an enabled build.
//
// Arguments are evaluated by the caller, as Go does. A check whose arguments cost something is put inside "if invariant.Enabled { ... }",
// which the compiler drops when the constant is false.
//
// All functions may be called by any number of goroutines at once. The package is internal: its names may change with any version.
package invariant
