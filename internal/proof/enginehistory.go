package main

import (
	"maps"

	"github.com/quirelog/quire/topic"
)

// topicHistory is what was told of one topic.
type topicHistory struct {
	id       topic.ID // zero: not told, any will do
	settings map[string]string
	parts    []*history
}

func (t *topicHistory) clone() *topicHistory {
	c := &topicHistory{id: t.id, settings: maps.Clone(t.settings)}
	for _, h := range t.parts {
		c.parts = append(c.parts, h.clone())
	}
	return c
}

// engineHistory is what an engine's callers were told: which topics there are, and
// what is in them. Changes of topics come one at a time; appends may race.
type engineHistory struct {
	topics map[string]*topicHistory
	// gone holds the ids of deleted topics: they never come back.
	gone map[topic.ID]string
	// alt is the other state that may be found while a change is under way.
	alt *engineHistory
}

func newEngineHistory() *engineHistory {
	return &engineHistory{topics: map[string]*topicHistory{}, gone: map[topic.ID]string{}}
}

func (h *engineHistory) clone() *engineHistory {
	if h == nil {
		return nil
	}
	c := &engineHistory{topics: make(map[string]*topicHistory, len(h.topics)), gone: maps.Clone(h.gone), alt: h.alt.clone()}
	for name, t := range h.topics {
		c.topics[name] = t.clone()
	}
	return c
}

// begin says that a change has begun: until done, either state may be found.
func (h *engineHistory) begin(change func(next *engineHistory)) {
	next := h.clone()
	change(next)
	h.alt = next
}

func (h *engineHistory) done() {
	a := h.alt
	h.topics, h.gone, h.alt = a.topics, a.gone, nil
}

// create is the change of a topic's creation.
func (h *engineHistory) create(name string, partitions int, settings map[string]string) {
	t := &topicHistory{settings: settings}
	for range partitions {
		t.parts = append(t.parts, newHistory())
		if settings["delete.retention.ms"] == "0" { // the mark of topics whose records have keys
			t.parts[len(t.parts)-1].compacting(0)
		}
	}
	h.topics[name] = t
}

// remove is the change of a topic's deletion.
func (h *engineHistory) remove(name string) {
	h.gone[h.topics[name].id] = name
	delete(h.topics, name)
}

// alter is the change of a topic's settings and partitions.
func (h *engineHistory) alter(name string, partitions int, settings map[string]string) {
	t := h.topics[name]
	for len(t.parts) < partitions {
		t.parts = append(t.parts, newHistory())
	}
	maps.Copy(t.settings, settings)
}
