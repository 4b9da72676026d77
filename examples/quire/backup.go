package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/quirelog/quire/topic"
)

func (t *tool) backup(name string, args []string) error {
	f := t.flags(name, "TARGET [TOPIC...]", `Make TARGET, a new or empty directory or an earlier backup, a copy of the directory, or of some topics of it, that opens
as one stopped in order. Sealed segments become hard links where the file system has them, the rest is copied up to
what is visible; a further backup into the same TARGET costs only what is new. Every copy is read back and checked.
What an earlier backup holds and this one would not is refused unless -remove names it, as is another cluster's backup.
A program that has the directory open is not disturbed; what it removes meanwhile makes the backup fail.`)
	dir := dirFlag(f)
	copies := f.Bool("copy", false, "copy instead of linking")
	damaged := f.Bool("allow-damage", false, "succeed though what is copied is damaged")
	var remove []string
	f.Func("remove", "let this `topic`, which an earlier backup in TARGET holds and this one will not, go; may be given more than once", func(name string) error {
		remove = append(remove, name)
		return nil
	})
	asJSON := f.Bool("json", false, "one JSON object")
	rest, err := t.parse(f, args, 1, -1)
	if err != nil {
		return err
	}
	bar := t.progress("copying")
	opts := topic.BackupOptions{Topics: rest[1:], Remove: remove, Copy: *copies, AllowDamage: *damaged, Progress: bar.show}
	var done *topic.BackupReport
	work := func(eng *topic.Engine) error {
		done, err = eng.Backup(t.ctx, rest[0], opts)
		return err
	}
	err = t.reading(*dir, work)
	bar.done()
	return t.tellCopy(done, rest[0], *asJSON, err)
}

// tellCopy tells what a backup or a restoration came to.
func (t *tool) tellCopy(done *topic.BackupReport, dir string, asJSON bool, err error) error {
	if done == nil {
		return err
	}
	out := teller{t: t, dir: dir, asJSON: asJSON}
	out.faults("damage", done.Faults)
	if err == nil {
		out.tell(copyFact{"copy", done.Partitions, done.Linked, done.Copied, done.Kept, len(done.Faults)})
	}
	return errors.Join(err, out.err)
}

// copyFact is the last line.
type copyFact struct {
	Kind       string `json:"kind"`
	Partitions int    `json:"partitions"`
	Linked     int64  `json:"linkedBytes"`
	Copied     int64  `json:"copiedBytes"`
	Kept       int64  `json:"keptBytes"`
	Damaged    int    `json:"damaged"`
}

func (c copyFact) String() string {
	return fmt.Sprintf("%d partitions: %d bytes linked, %d copied, %d there already", c.Partitions, c.Linked, c.Copied, c.Kept)
}

func (t *tool) restore(name string, args []string) error {
	f := t.flags(name, "BACKUP TARGET [TOPIC...]", `Make the new or empty directory TARGET out of a backup: the whole of it, or up to a time or to offsets. The backup is not
changed. Every copy is read back and checked.`)
	until := f.String("until", "", "restore what lies in front of the first batch with a record of this `time` or later: 2006-01-02T15:04:05Z, or an age (-90m)")
	offsets := untilFlags{}
	f.Var(offsets, "until-offset", "restore a partition up to an offset: `topic/partition=offset`; may be given more than once")
	link := f.Bool("link", false, "make hard links instead of copies")
	asJSON := f.Bool("json", false, "one JSON object")
	rest, err := t.parse(f, args, 2, -1)
	if err != nil {
		return err
	}
	opts := topic.RestoreOptions{Topics: rest[2:], Until: offsets, Link: *link}
	if *until != "" {
		at, err := parsePlace(*until, time.Now())
		if err != nil || at.word != "time" {
			return t.misuse(f, "%q is not a time", *until)
		}
		opts.UntilTime = at.at
	}
	if _, err := os.Stat(rest[0]); err != nil {
		return err
	}
	bar := t.progress("copying")
	opts.Progress = bar.show
	done, err := topic.Restore(t.ctx, rest[0], rest[1], opts)
	bar.done()
	return t.tellCopy(done, rest[1], *asJSON, err)
}

// untilFlags is a flag that may be given more than once: topic/partition=offset.
type untilFlags map[topic.TopicPartition]int64

func (u untilFlags) String() string { return "" }

// Set reads one topic/partition=offset.
func (u untilFlags) Set(text string) error {
	place, end, ok := strings.Cut(text, "=")
	slash := strings.LastIndexByte(place, '/')
	if !ok || slash <= 0 {
		return errors.New("not in the form topic/partition=offset")
	}
	partition, err := strconv.ParseInt(place[slash+1:], 10, 32)
	if err != nil || partition < 0 {
		return fmt.Errorf("%q is not a partition", place[slash+1:])
	}
	offset, err := strconv.ParseInt(end, 10, 64)
	if err != nil || offset < 0 {
		return fmt.Errorf("%q is not an offset", end)
	}
	u[topic.TopicPartition{Topic: place[:slash], Partition: int32(partition)}] = offset
	return nil
}
