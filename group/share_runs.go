package group

import "slices"

// stateRun says that the records at the offsets first to last have one state and one delivery count.
type stateRun struct {
	first, last int64
	state       recordState
	count       int16
}

// runs is a list of stateRuns in ascending order that do not overlap. An offset in none of them is available and was not delivered yet.
type runs []stateRun

// at is the state of one offset.
func (l runs) at(offset int64) (recordState, int16) {
	i := l.find(offset)
	if i < len(l) && l[i].first <= offset {
		return l[i].state, l[i].count
	}
	return stateAvailable, 0
}

// find is the first run that does not end before offset.
func (l runs) find(offset int64) int {
	i, _ := slices.BinarySearchFunc(l, offset, func(r stateRun, offset int64) int {
		if r.last < offset {
			return -1
		}
		return 1
	})
	return i
}

// put overrides what the list says about the offsets of r.
func (l runs) put(r stateRun) runs {
	i, j := l.find(r.first), l.find(r.last)
	between := make([]stateRun, 0, 3)
	if i < len(l) && l[i].first < r.first {
		left := l[i]
		left.last = r.first - 1
		between = append(between, left)
	}
	between = append(between, r)
	if j < len(l) && l[j].first <= r.last {
		if l[j].last > r.last {
			right := l[j]
			right.first = r.last + 1
			between = append(between, right)
		}
		j++
	}
	l = slices.Replace(l, i, j, between...)
	return l.join(l.find(r.first))
}

// join makes one of run i and its neighbours where they say the same.
func (l runs) join(i int) runs {
	from, to := i, i
	if i > 0 && l[i-1].goesOn(l[i]) {
		from--
	}
	if i+1 < len(l) && l[i].goesOn(l[i+1]) {
		to++
	}
	if from == to {
		return l
	}
	l[from].last = l[to].last
	return slices.Delete(l, from+1, to+1)
}

// goesOn tells whether next follows r at once and says the same.
func (r stateRun) goesOn(next stateRun) bool {
	return r.last+1 == next.first && r.state == next.state && r.count == next.count
}

// cut drops what lies below offset.
func (l *runs) cut(offset int64) {
	rest := *l
	for len(rest) > 0 && rest[0].last < offset {
		rest = rest[1:]
	}
	if len(rest) > 0 && rest[0].first < offset {
		rest[0].first = offset
	}
	*l = rest
}
