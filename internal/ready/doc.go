// Package ready holds the list of those that have something to do, out of many that mostly have nothing: a step of its owner costs what is
// ready, however many are not.
//
//	out ----Add----> in ----Rest----> idle
//	 ^               | ^                |
//	 +-----Drop------+ +--Add, Changed--+
//
// Invariants:
//
//	I1  A mark is in the list at most once, and not at all while it is out or idle.
//	I2  No change is lost: one that comes after Rest brings the mark into the list, one that came before is seen by the look that the
//	    owner takes after Rest.
//	I3  When Front has found the list empty, the next Changed of an idle mark sends on Signal.
//	I4  Changed never waits, takes no lock and allocates nothing; unless the mark is idle it costs one load.
//
// A list has one owner at a time, who calls everything but [Mark.Changed], which anyone may call at any time.
package ready
