// Package topictest gives unit tests a real engine that lives in memory, closes itself, and crashes by one call.
//
//	func TestCheckout(t *testing.T) {
//		eng := topictest.New(t)               // closed and looked through for leaks when the test ends
//		orders := eng.OpenTopic("orders")
//		shop := NewShop(orders)               // the code under test
//
//		shop.Checkout(t.Context(), "o-1")
//		orders = eng.Crash(topictest.LoseUnsynced).OpenTopic("orders")
//		topictest.RequireKeys(t, orders, "o-1")
//	}
//
// It is the engine of package topic itself, on a disk in memory that can lose power and fail: nothing is mocked. It
// works inside a testing/synctest bubble, on the bubble's clock, and outside of one; give New the bubble's own t.
//
// # Invariants
//
//	I1  When the test has ended nothing is left: no goroutine, no open file, and an error of Close fails the test,
//	    unless the test made the disk fail by itself.
//	I2  After Crash(LoseUnsynced) the disk holds what was durable at one moment, and nothing was acknowledged after
//	    that moment.
//	I3  No assertion library, no global state; failures are told through testing.TB, at the caller's line.
//
// # Who may call what
//
// The methods of [Engine] itself are for the test's own goroutine. The [topic.Engine] inside may be used by any.
//
// # Errors
//
// There are none: what cannot go on fails the test with Fatalf.
//
// # File map
//
//	engine.go     Engine, New, Reopen, the end
//	crash.go      Crash
//	faults.go     disks that fail
//	require.go    what is in a topic
//	artifacts_go126.go, artifacts_off.go   the disk of a failed test, for whoever looks
//
// Stability: firm, as package topic.
package topictest
