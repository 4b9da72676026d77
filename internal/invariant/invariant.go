package invariant

import "fmt"

// Check panics when the build has assertions (see [Enabled]) and ok is false. The panic's value is an [Error] made of format and args as by
// [fmt.Sprintf]; they are not looked at otherwise.
func Check(ok bool, format string, args ...any) {
	if Enabled && !ok {
		panic(Error("invariant: " + fmt.Sprintf(format, args...)))
	}
}

// Error is the value of a failed check's panic. It is a type of its own so that a test, or a guard around a callback, can tell a broken
// invariant of ours from a panic of the user's code.
type Error string

// Error returns the message, prefixed "invariant: ".
func (e Error) Error() string { return string(e) }
