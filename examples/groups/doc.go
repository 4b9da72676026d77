// Groups is three members that share the work of reading the access log, one of which leaves on the way:
//
//	go run ./examples/groups
//
// Everything is kept in memory. What the members print depends on who was faster; that every line was counted once does not.
//
//	main.go     the topic, the members, the sum
//	member.go   one member
package main
