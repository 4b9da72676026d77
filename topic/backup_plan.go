package topic

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/quirelog/quire/internal/bounded"
	"github.com/quirelog/quire/topic/internal/catalog"
)

// planned is a partition that is to be copied.
type planned struct {
	tp    TopicPartition
	p     *Partition
	until int64
}

// plan settles what is copied, and up to where: for all partitions as much at the same moment as can be. It writes nothing: what is asked
// for in vain leaves an earlier backup what it is.
func (c *copier) plan() error {
	if err := bounded.Cause(c.ctx); err != nil {
		return err
	}
	if err := c.takeManifest(); err != nil {
		return err
	}
	if err := c.planTopics(); err != nil {
		return err
	}
	if err := c.each(c.measure); err != nil {
		return err
	}
	for _, tp := range c.named {
		if !slices.ContainsFunc(c.list, func(job planned) bool { return job.tp == tp }) {
			return fmt.Errorf("%w: partition %v, which was to end at an offset", ErrNotFound, tp)
		}
	}
	return c.each(c.settle)
}

// takeManifest takes the manifest as it is, with the topics that are wanted and exist.
func (c *copier) takeManifest() error {
	c.manifest = c.e.manifest()
	for _, name := range c.topics {
		if _, found := c.manifest.Find(name); !found {
			return fmt.Errorf("%w: topic %q", ErrNotFound, clip(name))
		}
	}
	c.manifest.Topics = slices.DeleteFunc(c.manifest.Topics, func(t ManifestTopic) bool {
		return t.State != TopicReady || len(c.topics) > 0 && !slices.Contains(c.topics, t.Name)
	})
	return nil
}

// planTopics plans the copies of the topics of the manifest that there are still. What is not copied of them is unused in the copy,
// whether it is used for the first time meanwhile or not.
func (c *copier) planTopics() error {
	entries := c.manifest.Topics
	c.manifest.Topics = nil
	for _, entry := range entries {
		t, err := c.e.lookup(entry.Name)
		switch {
		case errors.Is(err, ErrNotFound), err == nil && t.id != entry.ID:
			if err := c.mayMiss(entry.Name); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		entry.Unused = catalog.Range(0, entry.Partitions)
		for _, p := range t.state.Load().partitions {
			if int(p.id) < entry.Partitions && !p.isUnused() {
				entry.Unused = entry.Unused.Without(p.id)
				c.list = append(c.list, planned{TopicPartition{Topic: t.name, Partition: p.id}, p, -1})
			}
		}
		c.manifest.Topics = append(c.manifest.Topics, entry)
	}
	return nil
}

// measure opens a partition and counts what is to be copied.
func (c *copier) measure(job *planned) error {
	l, err := job.p.openWith(c.ctx)
	if err == nil {
		c.progress.at.Total += l.Size()
	}
	return err
}

// settle notes where a partition's copy ends. All are open by now: between the ends lies no opening.
func (c *copier) settle(job *planned) error {
	l, err := job.p.openWith(c.ctx)
	if err != nil {
		return err
	}
	job.until, err = c.limit(l, job.tp)
	if err == nil && job.until < 0 {
		job.until = l.High()
	}
	return err
}

// each does a step of all partitions that are to be copied, and leaves out the topics that turn out to be deleted.
func (c *copier) each(step func(*planned) error) error {
	for i := range c.list {
		job := &c.list[i]
		if !c.wants(job) {
			continue
		}
		err := step(job)
		if err != nil && job.p.topic.deleted.Load() {
			err = c.leaveOut(job.tp.Topic)
		}
		if err != nil {
			return job.p.waitFault(c.ctx, err)
		}
	}
	return nil
}

// wants tells whether a partition's topic was not left out.
func (c *copier) wants(job *planned) bool {
	_, found := c.manifest.Find(job.tp.Topic)
	return found
}

// leaveOut takes a topic out of the copy that was deleted before its copy was complete.
func (c *copier) leaveOut(name string) error {
	if err := c.mayMiss(name); err != nil {
		return err
	}
	c.manifest.Topics = slices.DeleteFunc(c.manifest.Topics, func(t ManifestTopic) bool { return t.Name == name })
	maps.DeleteFunc(c.out.Ends, func(tp TopicPartition, _ int64) bool { return tp.Topic == name })
	of := func(f Fault) bool { return f.Topic == name }
	c.out.Faults, c.out.Notes = slices.DeleteFunc(c.out.Faults, of), slices.DeleteFunc(c.out.Notes, of)
	return nil
}

// mayMiss tells why a topic that was deleted meanwhile cannot be left out; nil when it can.
func (c *copier) mayMiss(name string) error {
	switch {
	case slices.Contains(c.topics, name):
		return fmt.Errorf("%w: topic %q was deleted", ErrNotFound, clip(name))
	case c.earlier[name] && !slices.Contains(c.remove, name):
		return &DiscardError{Dir: c.dir, Topics: []string{name}}
	}
	return nil
}
