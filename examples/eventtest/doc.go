// Package eventtest shows how event-driven code is unit-tested: a small service, and a test that waits for half an
// hour, cuts the power and fills the disk, all within a millisecond.
//
//	reminder.go        the service: who fills a cart and does not pay is reminded, once
//	reminder_test.go   its test, in a testing/synctest bubble, with package topictest
//
// The service knows nothing of tests: it takes an engine, and its time is package time's. [Remind] may be called by one
// goroutine per engine. The package is an example and promises nothing.
package eventtest
