package main

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/quirelog/quire/compress"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

// engineDir is where engines of this program live on disks in memory.
const engineDir = "/data"

// reference is a closed directory with every kind of file, and what is in it.
type reference struct {
	disk  *vfs.Crash
	files []string // paths, sorted
	sizes map[string]int64
	want  *content
	parts map[string]*part // by directory
}

// total is the bytes of all files.
func (ref *reference) total() (n int64) {
	for _, size := range ref.sizes {
		n += size
	}
	return n
}

// clone gives a copy that shares pages with the reference until they are written.
func (ref *reference) clone() *vfs.Crash { return ref.disk.After(vfs.KeepAll, 0) }

// fork gives a worker a reference of its own, so that workers share no lock.
func (ref *reference) fork() *reference {
	own := *ref
	own.disk, own.parts = ref.clone(), map[string]*part{}
	for dir, p := range ref.parts {
		own.parts[dir] = p.fork()
	}
	return &own
}

// referenceBytes is the least size of the directory whose bits are flipped.
const referenceBytes = 256 << 10

// buildReference makes the directory: sealed segments with indexes and side files,
// compacted ones with gaps, an index of aborted transactions, active ones, producer snapshots, epoch files, slots, ids, both generations of the
// manifest, checkpoints, the clean mark.
func buildReference(atLeast int64) (*reference, error) {
	disk := vfs.NewCrash()
	for round := 0; ; round++ {
		if err := fillReference(disk, round); err != nil {
			return nil, err
		}
		ref := &reference{disk: disk.After(vfs.KeepAll, 0), sizes: map[string]int64{}}
		if err := ref.list("/"); err != nil {
			return nil, err
		}
		if ref.total() >= atLeast {
			return ref, ref.describe()
		}
	}
}

// list collects the files below dir.
func (ref *reference) list(dir string) error {
	names, err := ref.disk.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		p := path.Join(dir, name)
		info, err := ref.disk.Stat(p)
		if err != nil {
			return err
		}
		if info.IsDir {
			if err := ref.list(p); err != nil {
				return err
			}
			continue
		}
		ref.files = append(ref.files, p)
		ref.sizes[p] = info.Size
	}
	slices.Sort(ref.files)
	return nil
}

func (ref *reference) describe() error {
	got, err := contentOf(ref.clone(), nil, nil)
	if err != nil {
		return fmt.Errorf("reference directory: %w", err)
	}
	ref.want = got
	return ref.divide()
}

// fillReference opens the engine, appends to all topics, and closes it.
func fillReference(disk *vfs.Crash, round int) error {
	eng, err := topic.Open(engineDir, topic.On(disk), topic.DiskReserve(700))
	if err != nil {
		return err
	}
	first := round * 100_000
	for i, set := range []struct {
		name string
		opts []topic.TopicOption
	}{
		{"plain", []topic.TopicOption{topic.Partitions(8), topic.SegmentBytes(3000), topic.Set("index.interval.bytes", "256")}},
		{"packed", []topic.TopicOption{topic.Partitions(4), topic.Compression(compress.LZ4), topic.SegmentBytes(3000), topic.Set("index.interval.bytes", "256")}},
		{"quick", []topic.TopicOption{topic.NoSync()}},
	} {
		t, err := eng.Topic(ctx(), set.name, set.opts...)
		if err != nil {
			return err
		}
		if err := fillTopic(eng, t, first+i*3000); err != nil {
			return err
		}
	}
	kept, err := eng.Topic(ctx(), "kept", topic.SegmentBytes(2000), topic.CleanupWith(topic.CleanupCompact), topic.Set("index.interval.bytes", "256"))
	if err != nil {
		return err
	}
	if err := fillKept(kept, first+9000); err != nil {
		return err
	}
	if err := eng.Flush(ctx()); err != nil {
		return err
	}
	if err := eng.Checkpoint(ctx()); err != nil {
		return err
	}
	return eng.Close()
}

// fillTopic appends batches of several records, and a few by an idempotent producer.
func fillTopic(eng *topic.Engine, t *topic.Topic, id int) error {
	for n := range int32(t.Partitions()) {
		p, err := t.Partition(n)
		if err != nil {
			return err
		}
		for range 6 {
			var recs []topic.Record
			for range 6 {
				recs = append(recs, topicRecord(id))
				id++
			}
			if _, err := p.Append(ctx(), recs...); err != nil {
				return err
			}
		}
		if _, err := p.DeleteRecords(ctx(), 3); err != nil {
			return err
		}
	}
	producer, err := eng.NewProducer(topic.PartitionBy(topic.Manual()))
	if err != nil {
		return err
	}
	for range 8 {
		r := topicRecord(id)
		id++
		if _, err := producer.SendSync(ctx(), t.Name(), r); err != nil {
			return err
		}
	}
	return producer.Close()
}

// scopeOf is the partition that a file belongs to, or one of them for the engine's files.
func scopeOf(file string) scope {
	dir := path.Base(path.Dir(file))
	i := strings.LastIndexByte(dir, '-')
	if i < 0 {
		return func(topic string, partition int32) bool { return topic == "quick" && partition == 0 }
	}
	n, err := strconv.Atoi(dir[i+1:])
	if err != nil {
		return nil
	}
	return func(topic string, partition int32) bool { return topic == dir[:i] && int(partition) == n }
}

// fileClass is the kind of a file, for summing up.
func fileClass(p string) string {
	base := path.Base(p)
	if i := strings.LastIndexByte(base, '.'); i > 0 && strings.Trim(base[:i], "0123456789") == "" {
		return "*" + base[i:]
	}
	return base
}
