package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/quirelog/quire/internal/kafkadir"
	"github.com/quirelog/quire/log/vfs"
)

// kafkaDirectories is how many directories a round of the fast tier makes.
const kafkaDirectories = 150

// runKafka makes sound directories of Kafka's at random, compacted with gaps, transactional, with and without indexes, snapshots and
// checkpoints, and goes into each by every way. The oracle is the model: what Kafka would show, and nothing told as wrong.
func runKafka(r *runner, t *tally, seed uint64) {
	ways := kafkadir.Ways()
	r.each(kafkaDirectories*r.count, func(i int) {
		for _, w := range ways {
			name := caseName{"kafka", scenarioOf(w), strconv.Itoa(i), "none", seed}
			if r.only.MatchString(name.Scenario) {
				r.try(t, name, func() error { return enterKafka(w, uint64(i), seed) })
			}
		}
	})
}

func scenarioOf(w kafkadir.Way) string { return strings.ReplaceAll(w.Name, " ", "-") }

// enterKafka goes into the i-th directory of a seed.
func enterKafka(w kafkadir.Way, i, seed uint64) error {
	p := kafkadir.Random(rand.New(rand.NewPCG(seed, i)))
	disk := vfs.NewMem()
	if err := p.Write(disk); err != nil {
		return err
	}
	got, err := w.Go(disk)
	if err != nil {
		return faultf(wrong, "%v; of %+v", err, *p)
	}
	return sameKafka(got, p.Content(), p)
}

// sameKafka compares what was found with the model.
func sameKafka(got, want kafkadir.Content, p *kafkadir.Partition) error {
	kind := wrong
	if len(got.All) < len(want.All) {
		kind = lost
	}
	if text := fmt.Sprintf("%+v", got); text != fmt.Sprintf("%+v", want) {
		return faultf(kind, "found %s, not %+v; of %+v", text, want, *p)
	}
	return nil
}

func replayKafka(_ *runner, c caseName) error {
	ways := kafkadir.Ways()
	at := slices.IndexFunc(ways, func(w kafkadir.Way) bool { return scenarioOf(w) == c.Scenario })
	i, err := strconv.ParseUint(c.Op, 10, 64)
	if at < 0 || err != nil {
		return unknownScenario(c)
	}
	return enterKafka(ways[at], i, c.Seed)
}
