// Package timingwheel is the room for very many deadlines at little cost: add, cancel, and ask what is due next.
//
// It knows nothing of logs and imports nothing of this module. It is empty in this version: the few deadlines there are today are single
// timers of package time, armed for the next thing due; the wheel comes with delayed records and groups in later versions.
package timingwheel
