package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/quirelog/quire/topic"
)

// topics is the command of that name; without another word it lists.
func (t *tool) topics(name string, args []string) error {
	if len(args) == 0 {
		args = []string{"list"}
	}
	return t.choose(name, []command{
		{"list", "names, partitions and ids", (*tool).topicsList},
		{"create", "make a topic", (*tool).topicsCreate},
		{"alter", "change settings, add partitions", (*tool).topicsAlter},
		{"delete", "remove a topic and its records for good", (*tool).topicsDelete},
	}, args)
}

func (t *tool) topicsList(name string, args []string) error {
	f := t.flags(name, "", "List the topics of a directory.")
	dir := dirFlag(f)
	internal := f.Bool("internal", false, "list the engine's own topics too")
	asJSON := f.Bool("json", false, "one JSON object a line")
	if _, err := t.parse(f, args, 0, 0); err != nil {
		return err
	}
	return t.reading(*dir, func(eng *topic.Engine) error {
		var opts []topic.ListOption
		if *internal {
			opts = append(opts, topic.WithInternal())
		}
		list, err := eng.Topics(t.ctx, opts...)
		if err != nil {
			return err
		}
		if *asJSON {
			for _, have := range list {
				if err := t.json(topicFacts(have)); err != nil {
					return err
				}
			}
			return nil
		}
		w := tabwriter.NewWriter(t.stdout, 0, 0, 2, ' ', 0)
		for _, have := range list {
			fmt.Fprintf(w, "%s\t%d partitions\t%s\n", have.Name(), have.Partitions(), have.ID())
		}
		return w.Flush()
	})
}

// topicFact is what list and describe tell of a topic in JSON.
type topicFact struct {
	Topic      string            `json:"topic"`
	ID         string            `json:"id"`
	Partitions int               `json:"partitions"`
	Internal   bool              `json:"internal,omitempty"`
	Chosen     map[string]string `json:"chosen,omitempty"` // settings that differ from the defaults by choice
}

func topicFacts(have *topic.Topic) topicFact {
	return topicFact{have.Name(), have.ID().String(), have.Partitions(), have.Internal(), have.Overrides()}
}

func (t *tool) topicsCreate(name string, args []string) error {
	f := t.flags(name, "TOPIC", "Make a topic, and the directory if there is none. It is an error if the topic exists. Records are kept for ever unless -set retention.ms=... says\notherwise.")
	dir := dirFlag(f)
	partitions := f.Int("partitions", 1, "number of partitions")
	var settings settingFlags
	f.Var(&settings, "set", "a setting as `name=value`, by Kafka's name, such as retention.ms=-1; may be given more than once")
	rest, err := t.parse(f, args, 1, 1)
	if err != nil {
		return err
	}
	return t.withEngine(*dir, func(eng *topic.Engine) error {
		_, err := eng.CreateTopic(t.ctx, rest[0], append(settings, topic.Partitions(*partitions))...)
		return err
	})
}

func (t *tool) topicsAlter(name string, args []string) error {
	f := t.flags(name, "TOPIC", "Change settings of a topic, or add partitions.")
	dir := dirFlag(f)
	partitions := f.Int("partitions", 0, "new number of partitions; it can only grow")
	var settings settingFlags
	f.Var(&settings, "set", "a setting as `name=value`; may be given more than once")
	f.Func("reset", "put the setting of this `name` back to its default; may be given more than once", func(name string) error {
		settings = append(settings, topic.Reset(name))
		return nil
	})
	rest, err := t.parse(f, args, 1, 1)
	if err != nil {
		return err
	}
	if *partitions > 0 {
		settings = append(settings, topic.Partitions(*partitions))
	}
	if len(settings) == 0 {
		return t.misuse(f, "nothing to change")
	}
	return t.withData(*dir, func(eng *topic.Engine) error {
		return eng.AlterTopic(t.ctx, rest[0], settings...)
	})
}

func (t *tool) topicsDelete(name string, args []string) error {
	f := t.flags(name, "TOPIC", "Remove a topic and all its records for good.")
	dir := dirFlag(f)
	rest, err := t.parse(f, args, 1, 1)
	if err != nil {
		return err
	}
	return t.withData(*dir, func(eng *topic.Engine) error {
		return eng.DeleteTopic(t.ctx, rest[0])
	})
}
