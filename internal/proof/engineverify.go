package main

import (
	"fmt"
	"maps"
	"slices"

	"github.com/quirelog/quire/topic"
)

// foundTopic is a topic as it was found.
type foundTopic struct {
	id       topic.ID
	settings map[string]string
	parts    []*found
}

// foundEngine reads everything through the front door.
func foundEngine(eng *topic.Engine) (map[string]*foundTopic, error) {
	list, err := eng.Topics(ctx())
	if err != nil {
		return nil, err
	}
	all := map[string]*foundTopic{}
	for _, t := range list {
		f := &foundTopic{id: t.ID(), settings: t.Overrides()}
		for n := range int32(t.Partitions()) {
			g, err := foundIn(t, n)
			if err != nil {
				return nil, fmt.Errorf("%s-%d: %w", t.Name(), n, err)
			}
			f.parts = append(f.parts, g)
		}
		all[t.Name()] = f
	}
	return all, nil
}

// verify compares what was found with what was told.
func (h *engineHistory) verify(all map[string]*foundTopic, s state) error {
	err := h.matches(all, s)
	if err != nil && h.alt != nil && h.alt.matches(all, s) == nil {
		return nil
	}
	return err
}

func (h *engineHistory) matches(all map[string]*foundTopic, s state) error {
	for name, f := range all {
		if was, deleted := h.gone[f.id]; deleted {
			return faultf(wrong, "deleted topic %s came back as %s", was, name)
		}
		t := h.topics[name]
		if t == nil {
			return faultf(wrong, "topic %s is there, which nobody created or which was deleted", name)
		}
		if err := t.matches(f, s); err != nil {
			return fmt.Errorf("topic %s: %w", name, err)
		}
	}
	for name := range h.topics {
		if all[name] == nil {
			return faultf(lost, "topic %s is gone", name)
		}
	}
	return nil
}

func (t *topicHistory) matches(f *foundTopic, s state) error {
	switch {
	case t.id != (topic.ID{}) && t.id != f.id:
		return faultf(wrong, "id is %v, was told to be %v", f.id, t.id)
	case !maps.Equal(t.settings, f.settings):
		return faultf(wrong, "settings are %v, were told to be %v", f.settings, t.settings)
	case len(t.parts) != len(f.parts):
		return faultf(wrong, "%d partitions, were told to be %d", len(f.parts), len(t.parts))
	}
	for n, g := range f.parts {
		if err := t.parts[n].verify(g, s); err != nil {
			return fmt.Errorf("partition %d: %w", n, err)
		}
	}
	return nil
}

// adopt makes what was found the truth.
func (h *engineHistory) adopt(all map[string]*foundTopic) {
	if h.alt != nil && h.matches(all, powered) != nil {
		h.done()
	}
	h.alt = nil
	for name, f := range all {
		t := h.topics[name]
		t.id = f.id
		for n, g := range f.parts {
			t.parts[n].adopt(g)
		}
	}
}

// names lists the topics, sorted.
func (h *engineHistory) names() []string { return slices.Sorted(maps.Keys(h.topics)) }
