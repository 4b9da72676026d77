package topic

import "slices"

// reach is how far delivery has come: the set of messages that are settled, as of all that will ever be stored.
//
// Mostly it is all keys below bound. When the clock of the machine was put back, bound follows it, so that new messages
// are delivered when they are due by the clock as it is now; what was delivered ahead of that time is told from them by its
// offset. A reach is a value: nothing that it points to is ever changed.
type reach struct {
	bound    delayKey
	ceilings []ceiling // keys descending, and offsets ascending: others are part of one of these
}

// ceiling is how far delivery had come when the clock was put back: what lies below key among the records before ends.
type ceiling struct {
	key  delayKey
	ends [delayLevels]int64 // by level
}

// has tells whether a message is settled.
func (r *reach) has(k delayKey) bool {
	if k.before(r.bound) {
		return true
	}
	for i := range r.ceilings {
		if c := &r.ceilings[i]; k.before(c.key) && k.offset < c.ends[k.level] {
			return true
		}
	}
	return false
}

// top is the least key at or above which nothing is settled.
func (r *reach) top() delayKey {
	if len(r.ceilings) > 0 && r.bound.before(r.ceilings[0].key) {
		return r.ceilings[0].key
	}
	return r.bound
}

// hasRun tells whether the records of a level before the offset end, due up to latest, are settled for certain.
func (r *reach) hasRun(level uint8, end, latest int64) bool {
	if latest < r.bound.due {
		return true
	}
	return slices.ContainsFunc(r.ceilings, func(c ceiling) bool { return latest < c.key.due && end <= c.ends[level] })
}

// raised is the reach with a bound that has moved ahead.
func (r reach) raised(bound delayKey) reach {
	r.bound = bound
	if n := len(r.ceilings); n > 0 && !bound.before(r.ceilings[n-1].key) { // the last has the lowest key
		r.ceilings = slices.DeleteFunc(slices.Clone(r.ceilings), func(c ceiling) bool { return !bound.before(c.key) })
	}
	return r
}

// lowered is the reach with a bound that has moved back. Records of offsets below ends are settled as they were; later
// ones are settled below the new bound only.
func (r reach) lowered(bound delayKey, ends [delayLevels]int64) reach {
	if !bound.before(r.bound) {
		return r
	}
	return reach{bound: bound}.with(r.ceilings...).with(ceiling{r.bound, ends})
}

// with is the reach and what further ceilings cover.
func (r reach) with(more ...ceiling) reach {
	if len(more) == 0 {
		return r
	}
	var kept []ceiling
	all := append(slices.Clone(r.ceilings), more...)
	for i, c := range all {
		within := func(o ceiling) bool { return !o.key.before(c.key) && !o.endsBefore(&c) }
		if !r.bound.before(c.key) || slices.ContainsFunc(all[i+1:], within) || slices.ContainsFunc(kept, within) {
			continue
		}
		kept = append(kept, c)
	}
	slices.SortFunc(kept, func(a, b ceiling) int { return b.key.compare(a.key) })
	r.ceilings = kept
	return r
}

// endsBefore tells whether c leaves out records that o has, of some level.
func (c *ceiling) endsBefore(o *ceiling) bool {
	for i, end := range c.ends {
		if end < o.ends[i] {
			return true
		}
	}
	return false
}

// below is the part of the reach that lies below a key.
func (r reach) below(k delayKey) reach {
	part := reach{bound: r.bound}
	if k.before(r.bound) {
		part.bound = k
	}
	for _, c := range r.ceilings {
		if k.before(c.key) {
			c.key = k
		}
		part = part.with(c)
	}
	return part
}

// within is the reach of logs that end where it is said. It reports whether that is less than was known: what a
// crash or a repair took of a log will be other records.
func (r reach) within(ends [delayLevels]int64) (part reach, less bool) {
	part = reach{bound: r.bound}
	for _, c := range r.ceilings {
		for i := range c.ends {
			less = less || c.ends[i] > ends[i]
			c.ends[i] = min(c.ends[i], ends[i])
		}
		part = part.with(c)
	}
	return part, less
}
