package catalog

import (
	"maps"
	"slices"
	"strings"
)

// state is the catalog in memory.
type state struct {
	generation     uint64
	nextProducerID int64
	topics         map[string]*Topic // entries are replaced, not changed
}

func newState(m *Manifest) *state {
	s := &state{generation: m.Generation, nextProducerID: m.NextProducerID, topics: make(map[string]*Topic, len(m.Topics))}
	for i := range m.Topics {
		s.topics[m.Topics[i].Name] = &m.Topics[i]
	}
	return s
}

// manifest is the state as a manifest.
func (s *state) manifest() *Manifest {
	m := &Manifest{Format: format, Generation: s.generation, NextProducerID: s.nextProducerID, Topics: make([]Topic, 0, len(s.topics))}
	for _, e := range sorted(slices.Collect(maps.Values(s.topics))) {
		m.Topics = append(m.Topics, *e)
	}
	return m
}

func sorted(entries []*Topic) []*Topic {
	slices.SortFunc(entries, func(a, b *Topic) int { return strings.Compare(a.Name, b.Name) })
	return entries
}

// touched is the entries that a line has changed, as they are now.
func (s *state) touched(l *Line) (entries []*Topic) {
	for _, c := range l.Changes {
		if e := s.topics[c.topic()]; e != nil {
			entries = append(entries, e)
		}
	}
	return entries
}

// topic is the name of the topic that a change leaves behind, if there is one.
func (c *Change) topic() string {
	switch {
	case c.Create != nil:
		return c.Create.Name
	case c.Alter != nil:
		return c.Alter.Name
	case c.Use != nil:
		return c.Use.Topic
	}
	return c.Delete
}

// apply makes the changes of a line. Those of topics that are not there do nothing: a lost line may have made them.
func (s *state) apply(l *Line) {
	s.generation = l.Generation
	for _, c := range l.Changes {
		switch {
		case c.Create != nil:
			e := *c.Create
			e.Changed = l.Generation
			s.topics[e.Name] = &e
		case c.Alter != nil:
			s.edit(c.Alter.Name, func(e *Topic) {
				e.Unused = e.Unused.With(e.Partitions, c.Alter.Partitions)
				e.Partitions = max(e.Partitions, c.Alter.Partitions)
				e.Settings, e.Changed = c.Alter.Settings, l.Generation
			})
		case c.Use != nil:
			s.edit(c.Use.Topic, func(e *Topic) { e.Unused = e.Unused.Without(c.Use.Partition) })
		case c.Delete != "":
			s.mark(c.Delete)
		case c.Drop != "":
			delete(s.topics, c.Drop)
		}
		s.nextProducerID = max(s.nextProducerID, c.NextProducerID)
	}
}

// mark notes that a topic is deleted. One that was never used leaves nothing, not even that.
func (s *state) mark(name string) {
	if e := s.topics[name]; e != nil && e.Unused.Covers(e.Partitions) {
		delete(s.topics, name)
		return
	}
	s.edit(name, func(e *Topic) { e.State, e.Settings = Deleting, nil })
}

func (s *state) edit(name string, f func(*Topic)) {
	if e := s.topics[name]; e != nil {
		fresh := *e
		f(&fresh)
		s.topics[name] = &fresh
	}
}
