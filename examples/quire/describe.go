package main

import (
	"fmt"
	"maps"
	"slices"
	"text/tabwriter"

	"github.com/quirelog/quire/topic"
)

func (t *tool) describe(name string, args []string) error {
	f := t.flags(name, "[TOPIC...]", "Tell the settings of topics and the offsets and sizes of their partitions. Without names, of all topics.")
	dir := dirFlag(f)
	all := f.Bool("all", false, "every setting, not only those that were chosen")
	asJSON := f.Bool("json", false, "one JSON object a line: a topic, then its partitions")
	rest, err := t.parse(f, args, 0, -1)
	if err != nil {
		return err
	}
	return t.reading(*dir, func(eng *topic.Engine) error {
		list, err := t.wanted(eng, rest)
		if err != nil {
			return err
		}
		for _, have := range list {
			parts, err := partitionFacts(have)
			if err != nil {
				return err
			}
			if *asJSON {
				err = t.describeJSON(have, parts)
			} else {
				err = t.describeText(have, parts, *all)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// wanted gives the named topics, or all.
func (t *tool) wanted(eng *topic.Engine, names []string) ([]*topic.Topic, error) {
	if len(names) == 0 {
		return eng.Topics(t.ctx)
	}
	var list []*topic.Topic
	for _, name := range names {
		have, err := t.existing(eng, name)
		if err != nil {
			return nil, err
		}
		list = append(list, have)
	}
	return list, nil
}

// partitionFact is what describe tells of a partition.
type partitionFact struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Start     int64  `json:"start"`
	Stable    int64  `json:"stable"`
	High      int64  `json:"high"`
	End       int64  `json:"end"`
	Durable   int64  `json:"durable"`
	Bytes     int64  `json:"bytes"`
}

func partitionFacts(have *topic.Topic) ([]partitionFact, error) {
	var list []partitionFact
	for n := range int32(have.Partitions()) {
		p, err := have.Partition(n)
		if err != nil {
			return nil, err
		}
		at, err := p.Offsets()
		if err != nil {
			return nil, err
		}
		size, err := p.Size()
		if err != nil {
			return nil, err
		}
		list = append(list, partitionFact{have.Name(), n, at.Start, at.Stable, at.High, at.End, at.Durable, size})
	}
	return list, nil
}

func (t *tool) describeJSON(have *topic.Topic, parts []partitionFact) error {
	if err := t.json(topicFacts(have)); err != nil {
		return err
	}
	for _, p := range parts {
		if err := t.json(p); err != nil {
			return err
		}
	}
	return nil
}

func (t *tool) describeText(have *topic.Topic, parts []partitionFact, all bool) error {
	settings, overrides := have.Settings(), have.Overrides()
	shown := overrides
	if all {
		shown = settings.Map()
	}
	fmt.Fprintf(t.stdout, "%s  id %s\n", have.Name(), have.ID())
	for _, key := range slices.Sorted(maps.Keys(shown)) {
		mark := ""
		if _, chosen := overrides[key]; !chosen {
			mark = "  (default)"
		}
		fmt.Fprintf(t.stdout, "  %s=%s%s\n", key, shown[key], mark)
	}
	w := tabwriter.NewWriter(t.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "  partition\tstart\tstable\thigh\tend\tdurable\tbytes\t\n")
	for _, p := range parts {
		fmt.Fprintf(w, "  %d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", p.Partition, p.Start, p.Stable, p.High, p.End, p.Durable, p.Bytes)
	}
	return w.Flush()
}
