// Package timingwheel keeps very many deadlines at little cost: adding, cancelling and moving one takes constant time
// and allocates nothing, and asking what is due next does too. It knows nothing of logs and imports nothing of this
// module.
//
// It has three parts, each usable without the next:
//
//	Wheel      deadlines by number, without clock, goroutine or lock: the owner says what time it is
//	Runner     the same on package time: calls functions when their time comes, asleep in between
//	Purgatory  operations that wait for a condition or for their time, whichever comes first
//
// # The picture
//
// Time is a number, read to the base 64. A deadline lies on the level of the highest digit in which it differs from
// the present, in the slot of that digit. With the present at 1,2,5 (level 2 to level 0):
//
//	level 2   slot: 0 [1] 2  3  4 ...     4,096 ticks a slot   3,0,7 waits in slot 3
//	                   |
//	level 1   slot: 0  1 [2] 3  4 ...        64 ticks a slot   1,4,9 waits in slot 4
//	                      |
//	level 0   slot: ...  [5] 6  7 ...         1 tick  a slot   1,2,7 waits in slot 7: due in 2 ticks
//
// When the present reaches a slot of a higher level, its entries move down, to the levels of their next digits: at
// most once per level for each. With ticks of a millisecond, three levels reach four minutes, seven a century, eleven all of an
// int64; a level is made when the first deadline needs it. Each level has a word of bits that says which slots are in
// use, so the next one is found without looking at the others, and time that holds no deadline costs nothing to
// pass.
//
// The hierarchical wheel is that of Varghese and Lauck (1987), which Kafka's purgatory uses with 20 slots a level and a heap
// of slots; placing by the highest different digit makes the levels follow each other in time, so that no heap is
// needed and entries come out exactly by deadline, those of one tick in the order they came.
//
// # Invariants
//
//	I1  An entry is in at most one list, and says in which. It is pending exactly while it is in one.
//	I2  A bit of a level is set exactly while that slot has entries; a bit of the wheel while that level has.
//	I3  Every slot with entries lies ahead of the present, on level 0 possibly at it. So all entries of a
//	    level are due before all entries of the levels above, and the lowest set bits name the earliest slot.
//	I4  Nothing comes out before its tick, nothing twice, and nothing is lost: an entry that is due has come out
//	    when Pop returns nil.
//	I5  A Runner calls functions, and its Go, without holding its lock. At any time at most one goroutine has the duty to
//	    call them; it can be taken away by the next one only while a function hangs.
//	I6  An Operation is in the lists of all its keys before it is asked the last time without a timer.
//
// # Who may call what
//
// A [Wheel] belongs to one goroutine at a time. A [Runner] and a [Purgatory] may be used by all at once, from their own
// callbacks too. There are no errors: what cannot be done is reported by a false. Inside a testing/synctest bubble
// a Runner made there lives on the bubble's clock, exactly.
//
// # File map
//
//	wheel.go      Wheel: add, cancel, advance      level.go       64 slots of one width
//	entry.go      Entry, and the lists it is in    runner.go      Runner: the wheel on the clock
//	purgatory.go  Operation, Purgatory
//
// Stability: firm.
package timingwheel
