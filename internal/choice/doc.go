// Package choice applies lists of functional options, so that each call that takes options refuses a nil one in the same way. It keeps no
// state.
package choice
