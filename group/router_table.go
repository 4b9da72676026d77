package group

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"github.com/quirelog/quire/topic"
)

// routeTable is a router's bindings, arranged so that those of a record are found at once. Changing it costs what one binding is, not what
// all are.
type routeTable struct {
	mu       sync.RWMutex
	all      map[bindingID]*boundRoute
	turn     uint64 // numbers bindings in the order they came
	keys     map[string][]*boundRoute
	patterns patterns
	headers  headerIndex
	every    []*boundRoute
	funcs    []*boundRoute
	targets  map[string]*routeTarget
	numbers  int   // given to targets
	free     []int // of those, not in use
}

// boundRoute is a binding in a table. But for what the table itself keeps there, it never changes.
type boundRoute struct {
	Binding
	turn   uint64
	target *routeTarget // nil for a function
	listed []headerKey  // where the index of headers has it
}

// routeTarget is a topic that bindings name, with a number that tells it from the others of a table.
type routeTarget struct {
	name   string
	number int
	users  int
}

func newRouteTable() *routeTable {
	return &routeTable{all: map[bindingID]*boundRoute{}, keys: map[string][]*boundRoute{}, targets: map[string]*routeTarget{}}
}

// add adds bindings; those that are there already stay, and functions replace those of their names.
func (t *routeTable) add(list []Binding) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, b := range list {
		id := b.id()
		if old := t.all[id]; old != nil {
			if b.Kind != Function {
				continue
			}
			t.removeLocked(id, old)
		}
		t.turn++
		b.Headers = slices.Clone(b.Headers)
		n := &boundRoute{Binding: b, turn: t.turn}
		if b.Kind != Function {
			n.target = t.targetLocked(b.To)
		}
		t.all[id] = n
		t.arrangeLocked(n)
	}
}

func (t *routeTable) arrangeLocked(b *boundRoute) {
	switch b.Kind {
	case ExactKey:
		t.keys[b.Key] = append(t.keys[b.Key], b)
	case KeyPattern:
		t.patterns.add(b.Key, b)
	case AllHeaders, AnyHeaders:
		t.headers.add(b)
	case Everything:
		t.every = append(t.every, b)
	case Function:
		t.funcs = append(t.funcs, b)
	}
}

// remove takes a binding away, and tells whether it was there.
func (t *routeTable) remove(b Binding) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	id := b.id()
	old := t.all[id]
	if old != nil {
		t.removeLocked(id, old)
	}
	return old != nil
}

func (t *routeTable) removeLocked(id bindingID, b *boundRoute) {
	delete(t.all, id)
	switch b.Kind {
	case ExactKey:
		if t.keys[b.Key] = without(t.keys[b.Key], b); len(t.keys[b.Key]) == 0 {
			delete(t.keys, b.Key)
		}
	case KeyPattern:
		t.patterns.remove(b.Key, b)
	case AllHeaders, AnyHeaders:
		t.headers.remove(b)
	case Everything:
		t.every = without(t.every, b)
	case Function:
		t.funcs = without(t.funcs, b)
	}
	if p := b.target; p != nil {
		if p.users--; p.users == 0 {
			delete(t.targets, p.name)
			t.free = append(t.free, p.number)
		}
	}
}

func (t *routeTable) targetLocked(name string) *routeTarget {
	p := t.targets[name]
	if p == nil {
		p = &routeTarget{name: name, number: t.numbers}
		if n := len(t.free); n > 0 {
			p.number, t.free = t.free[n-1], t.free[:n-1]
		} else {
			t.numbers++
		}
		t.targets[name] = p
	}
	p.users++
	return p
}

// list gives the bindings in the order they came.
func (t *routeTable) list() []Binding {
	t.mu.RLock()
	defer t.mu.RUnlock()
	bounds := slices.SortedFunc(maps.Values(t.all), func(a, b *boundRoute) int { return cmp.Compare(a.turn, b.turn) })
	list := make([]Binding, len(bounds))
	for i, b := range bounds {
		list[i] = b.Binding
		list[i].Headers = slices.Clone(b.Headers)
	}
	return list
}

func (t *routeTable) size() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.all)
}

// routeWalk is the memory of looking records up, used again and again by one goroutine.
type routeWalk struct {
	pattern patternWalk
	seen    []uint32 // by number of place: the record that found it last
	record  uint32
	targets []*routeTarget // found, each once
	funcs   []*boundRoute
}

// find finds the targets and functions of one record; those found stay in w until the next call. The table must be locked for reading.
func (t *routeTable) find(w *routeWalk, key []byte, headers []topic.Header) {
	if w.record++; w.record == 0 || len(w.seen) < t.numbers {
		w.seen, w.record = make([]uint32, t.numbers), 1
	}
	w.targets, w.funcs = w.targets[:0], append(w.funcs[:0], t.funcs...)
	one := func(b *boundRoute) {
		if w.seen[b.target.number] != w.record {
			w.seen[b.target.number] = w.record
			w.targets = append(w.targets, b.target)
		}
	}
	many := func(list []*boundRoute) {
		for _, b := range list {
			one(b)
		}
	}
	many(t.keys[string(key)])
	t.patterns.match(key, &w.pattern, many)
	t.headers.match(headers, one)
	many(t.every)
}

// without takes a binding out of a list.
func without(list []*boundRoute, b *boundRoute) []*boundRoute {
	if i := slices.Index(list, b); i >= 0 {
		return slices.Delete(list, i, i+1)
	}
	return list
}
