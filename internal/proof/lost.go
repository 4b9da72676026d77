package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

const (
	lostCases    = 1200 // in the fast tier, of some fifty thousand
	lostRecords  = 12   // a partition
	paddingTopic = "padding"
	lostPadding  = 1500 // changes of the manifest that make its two generations differ
)

// keptTopics are the topics of the directories of lane lost. Their records are three years old, and by no setting that is in force may one of them
// go; by those that a topic had before, or by Kafka's defaults, all would.
func keptTopics() map[string]struct{ before, after []topic.TopicOption } {
	list := func(opts ...topic.TopicOption) []topic.TopicOption { return opts }
	return map[string]struct{ before, after []topic.TopicOption }{
		"plain":   {nil, nil},
		"forever": {list(topic.Retention(-1), topic.Partitions(2)), nil},
		"altered": {list(topic.Retention(time.Hour), topic.CleanupWith(topic.CleanupCompact|topic.CleanupDelete)),
			list(topic.Retention(-1), topic.CleanupWith(topic.CleanupDelete), topic.Partitions(2))},
		"decade": {list(topic.Retention(10*365*24*time.Hour), topic.RetentionBytes(1<<30)), nil},
		"keyed":  {list(topic.CleanupWith(topic.CleanupCompact), topic.Partitions(2)), nil},
		"many":   {list(topic.RetentionRecords(2)), list(topic.RetentionRecords(1000))},
	}
}

// lostDirectory is one that the public API made.
type lostDirectory struct {
	disk     *vfs.Crash
	files    []string // all but data files
	settings map[string]map[string]string
}

// lostDirectories makes them: stopped in order, killed, and killed after a new snapshot of the manifest.
func lostDirectories() (map[string]*lostDirectory, error) {
	all := map[string]*lostDirectory{}
	for _, state := range []string{"stopped", "killed", "folded"} {
		d, err := makeLost(state)
		if err != nil {
			return nil, err
		}
		all[state] = d
	}
	return all, nil
}

func makeLost(state string) (*lostDirectory, error) {
	disk := vfs.NewCrash()
	eng, err := topic.Open(engineDir, topic.On(disk))
	if err != nil {
		return nil, err
	}
	d := &lostDirectory{settings: map[string]map[string]string{}}
	err = d.fill(eng)
	if state == "folded" && err == nil {
		err = pad(eng)
	}
	switch {
	case err != nil:
		return nil, errors.Join(err, eng.Close())
	case state == "stopped":
		err = eng.Close()
	default:
		err = errors.Join(eng.Flush(ctx()), eng.Checkpoint(ctx()))
		disk = disk.Kill(1)
		_ = eng.Close() // of the program that is dead
	}
	ref := &reference{disk: disk.After(vfs.KeepAll, 0), sizes: map[string]int64{}}
	err = errors.Join(err, ref.list("/"))
	d.disk = ref.disk
	d.files = slices.DeleteFunc(ref.files, func(file string) bool { return path.Ext(file) == ".log" })
	return d, err
}

// fill makes the topics, with records in each of their partitions. A producer has ids, and epochs rise, so that there are files of them.
func (d *lostDirectory) fill(eng *topic.Engine) error {
	producer, err := eng.NewProducer(topic.PartitionBy(topic.Manual()))
	if err != nil {
		return err
	}
	for name, set := range keptTopics() {
		t, err := eng.Topic(ctx(), name, append(set.before, topic.SegmentBytes(400), topic.NoSync(), topic.Set("file.delete.delay.ms", "0"))...)
		if err != nil {
			return err
		}
		if set.after != nil {
			// A partition is used before and after the alteration, so that its copy of the settings has both.
			if _, err := t.Append(ctx(), lostRecord(name, 0, 0), topic.AppendTo(0)); err != nil {
				return err
			}
			if err := eng.AlterTopic(ctx(), name, set.after...); err != nil {
				return err
			}
		}
		d.settings[name] = t.Overrides()
		for n := range int32(t.Partitions()) {
			p, err := t.Partition(n)
			if err != nil {
				return err
			}
			end, err := p.End()
			if err != nil {
				return err
			}
			for i := int(end); i < lostRecords; i++ {
				r := lostRecord(name, n, i)
				if _, err := producer.SendSync(ctx(), name, r); err != nil {
					return err
				}
			}
		}
	}
	return producer.Close()
}

// lostRecord is a record three years old. Only the keys of a topic that is compacted differ.
func lostRecord(name string, n int32, i int) topic.Record {
	key := "key"
	if name == "keyed" {
		key = fmt.Sprint(i)
	}
	at := time.Now().AddDate(-3, 0, 0).Add(time.Duration(i) * time.Second)
	return topic.Record{Partition: n, Key: []byte(key), Value: lostValue(name, n, i), Time: at}
}

func lostValue(name string, n int32, i int) []byte {
	return fmt.Appendf(nil, "%s-%d record %d", name, n, i)
}

// pad changes the manifest until there is a new snapshot of it.
func pad(eng *topic.Engine) error {
	if _, err := eng.CreateTopic(ctx(), paddingTopic); err != nil {
		return err
	}
	for i := range lostPadding {
		if err := eng.AlterTopic(ctx(), paddingTopic, topic.RetentionBytes(int64(i)), topic.Set("leader.replication.throttled.replicas", strings.Repeat("0:1,", 40)+"0:1")); err != nil {
			return err
		}
	}
	return eng.DeleteTopic(ctx(), paddingTopic)
}

// classOfSmall is the kind of a small file.
func classOfSmall(file string) string {
	base := path.Base(file)
	inPartition := path.Dir(file) != engineDir
	switch ext := path.Ext(base); {
	case ext == ".journal":
		return "journals"
	case strings.HasPrefix(base, "quire.manifest"):
		return "manifests"
	case base == "quire.topic":
		return "copies"
	case base == "partition.metadata":
		return "identities"
	case base == "meta.properties":
		return "meta"
	case base == ".kafka_cleanshutdown":
		return "mark"
	case strings.HasSuffix(base, "-checkpoint") && inPartition:
		return "epochs"
	case strings.HasSuffix(base, "-checkpoint"):
		return "checkpoints"
	case ext == ".index", ext == ".timeindex", ext == ".txnindex":
		return "indexes"
	case strings.Trim(strings.TrimSuffix(base, ext), "0123456789") == "":
		return strings.TrimPrefix(ext, ".") // of segments: snapshot, sums
	}
	return base
}

// targets are what is harmed at once: one file, all of a kind, or all of two or three kinds.
func (d *lostDirectory) targets() []string {
	var classes []string
	for _, file := range d.files {
		classes = append(classes, classOfSmall(file))
	}
	slices.Sort(classes)
	classes = slices.Compact(classes)
	list := append(slices.Clone(d.files), classes...)
	for i, a := range classes {
		for _, b := range classes[i+1:] {
			list = append(list, a+"+"+b)
		}
		if a != "journals" && a != "manifests" {
			list = append(list, "manifests+journals+"+a)
		}
	}
	return list
}

// harms are what is done to a file.
func harms() map[string]func(disk *vfs.Crash, file string, size int64, dice *rand.Rand) error {
	return map[string]func(disk *vfs.Crash, file string, size int64, dice *rand.Rand) error{
		"missing": func(disk *vfs.Crash, file string, _ int64, _ *rand.Rand) error { return disk.Remove(file) },
		"empty": func(disk *vfs.Crash, file string, _ int64, _ *rand.Rand) error {
			return change(disk, file, func(f vfs.File) error { return f.Truncate(0) })
		},
		"cut": func(disk *vfs.Crash, file string, size int64, dice *rand.Rand) error {
			return change(disk, file, func(f vfs.File) error { return f.Truncate(dice.Int64N(size + 1)) })
		},
		"zeroed": func(disk *vfs.Crash, file string, size int64, _ *rand.Rand) error {
			return change(disk, file, func(f vfs.File) error { return writeAt(f, make([]byte, size), 0) })
		},
		"garbage": func(disk *vfs.Crash, file string, size int64, dice *rand.Rand) error {
			junk := make([]byte, size)
			for i := range junk {
				junk[i] = byte(dice.Uint32())
			}
			return change(disk, file, func(f vfs.File) error { return writeAt(f, junk, 0) })
		},
	}
}

// harmed is a copy of the directory with a target harmed.
func (d *lostDirectory) harmed(c caseName) (*vfs.Crash, error) {
	disk, how := d.disk.After(vfs.KeepAll, 0), harms()[c.Policy]
	if how == nil {
		return nil, unknownScenario(c)
	}
	dice := rand.New(rand.NewPCG(c.Seed, uint64(len(c.Scenario))))
	parts := strings.Split(c.Scenario, "+")
	for _, file := range d.files {
		if !slices.Contains(parts, file) && !slices.Contains(parts, classOfSmall(file)) {
			continue
		}
		info, err := disk.Stat(file)
		if err != nil {
			return nil, err
		}
		if err := how(disk, file, info.Size, dice); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return disk, nil
}

// runLost takes small files away from directories whose records are to be kept, goes in by every way, and lets retention and compaction loose.
func runLost(r *runner, t *tally, seed uint64) {
	dirs, err := lostDirectories()
	if err != nil {
		t.add(caseName{t.lane.name, "directories", "0", "none", seed}, err)
		return
	}
	var cases []caseName
	for state, d := range dirs {
		for _, target := range d.targets() {
			for harm := range harms() {
				for way := range lostWays() {
					cases = append(cases, caseName{t.lane.name, target, way + "/" + state, harm, seed})
				}
			}
		}
	}
	slices.SortFunc(cases, func(a, b caseName) int { return strings.Compare(a.String(), b.String()) })
	dice := rand.New(rand.NewPCG(seed, 1))
	dice.Shuffle(len(cases), func(i, j int) { cases[i], cases[j] = cases[j], cases[i] })
	cases = slices.DeleteFunc(cases, func(c caseName) bool { return !r.only.MatchString(c.Scenario) })
	cases = cases[:min(len(cases), lostCases*r.count)]
	var told sync.Map
	r.each(len(cases), func(i int) {
		r.try(t, cases[i], func() error { return goIn(dirs, cases[i], &told) })
	})
	t.note("told by an error, the others went on: %s", classSums(&told))
}

func replayLost(_ *runner, c caseName) error {
	dirs, err := lostDirectories()
	if err != nil {
		return err
	}
	var told sync.Map
	err = goIn(dirs, c, &told)
	fmt.Printf("told by an error: %s\n", classSums(&told))
	return err
}
