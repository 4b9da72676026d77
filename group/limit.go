package group

import (
	"math"
	"time"
)

// limits is how much of a queue may be under way. The zero value limits nothing.
type limits struct {
	most    int // in flight; 0 is no limit
	keyMost int // in flight of one key
	rate    pace
	keyRate pace // of one key
}

// perKey tells whether keys have limits of their own.
func (l *limits) perKey() bool { return l.keyMost > 0 || l.keyRate.every > 0 }

func (l *limits) room(flying int) bool    { return l.most == 0 || flying < l.most }
func (l *limits) keyRoom(flying int) bool { return l.keyMost == 0 || flying < l.keyMost }

// pace is how fast tokens come into a bucket: one in every, up to burst of them. The zero value is without limit.
type pace struct {
	every time.Duration
	burst int
}

// longestFill bounds the time that a bucket takes to fill, so that times stay far from where they overflow.
const longestFill = 100 * 365 * 24 * time.Hour

// newPace makes a pace of a rate; the time between two tokens is rounded up, so that there are never more than asked for. Not ok: it cannot
// be kept.
func newPace(perSecond float64, burst int) (p pace, ok bool) {
	every := math.Ceil(float64(time.Second) / perSecond)
	if !(perSecond > 0) || !(every >= 1) || burst < 1 || every*float64(burst) > float64(longestFill) {
		return pace{}, false
	}
	return pace{time.Duration(every), burst}, true
}

// bucket is a token bucket. It knows one time only: when it will be full. The zero value is full. (The generic cell rate algorithm of ITU-T
// I.371; full is its theoretical arrival time.)
//
//	empty                                                full
//	  |---- every ----|---- every ----|---- every ----|   burst = 3
//	                  ^ now: one token; the next is there when full is less than two of them away
type bucket struct{ full time.Time }

// next is when there is a token to take, zero or in the past if there is one now.
func (b *bucket) next(p pace) time.Time {
	if p.every == 0 || b.full.IsZero() {
		return time.Time{}
	}
	return b.full.Add(-time.Duration(p.burst-1) * p.every)
}

// take takes a token.
func (b *bucket) take(p pace, now time.Time) {
	switch {
	case p.every == 0:
	case b.full.Before(now):
		b.full = now.Add(p.every)
	default:
		b.full = b.full.Add(p.every)
	}
}

// refund puts a token back.
func (b *bucket) refund(p pace) {
	if p.every > 0 && !b.full.IsZero() {
		b.full = b.full.Add(-p.every)
	}
}

func (b *bucket) isFull(now time.Time) bool { return !b.full.After(now) }
