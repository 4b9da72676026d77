package main

import (
	"errors"
	"fmt"
	"path"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
)

// part is one partition of the reference on a disk of its own. What only the log
// reads can be damaged and read here, without an engine around it, at a third of the cost.
type part struct {
	source *vfs.Crash // never changed
	disk   *vfs.Crash
	dir    string
	cfg    *log.Config
	st     log.OpenState
	want   *partContent
	buf    []byte // of reads
}

// divide makes the parts of the reference, by directory. Each must read as it does
// through the engine.
func (ref *reference) divide() error {
	ref.parts = map[string]*part{}
	for _, t := range ref.want.topics {
		for n, want := range t.partitions {
			dir := path.Join(engineDir, fmt.Sprintf("%s-%d", t.name, n))
			p := &part{dir: dir, want: want, cfg: &log.Config{TopicID: t.id},
				st: log.OpenState{Kafka: log.KafkaState{Clean: true, RecoveryPoint: want.end, Start: want.start}}}
			disk := vfs.NewCrash()
			if err := ref.copyTo(disk, dir); err != nil {
				return err
			}
			p.source = disk.After(vfs.KeepAll, 0)
			p = p.fork()
			got, err := p.content(p.disk)
			if err == nil {
				err = got.same(want)
			}
			if err != nil {
				return fmt.Errorf("%s without an engine: %w", dir, err)
			}
			ref.parts[dir] = p
		}
	}
	return nil
}

// copyTo copies the files of one directory to an empty disk.
func (ref *reference) copyTo(disk *vfs.Crash, dir string) error {
	if err := disk.MkdirAll(dir); err != nil {
		return err
	}
	for _, file := range ref.files {
		if path.Dir(file) != dir {
			continue
		}
		data, err := vfs.ReadFile(ref.disk, file, ref.sizes[file])
		if err != nil {
			return err
		}
		f, err := disk.Create(file)
		if err != nil {
			return err
		}
		if err := errors.Join(writeAt(f, data, 0), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// fork gives a worker a part whose disk it can change.
func (p *part) fork() *part {
	own := *p
	own.disk, own.buf = p.source.After(vfs.KeepAll, 0), nil
	return &own
}

// content opens the log on a disk and reads all of it by offset and by time.
func (p *part) content(disk vfs.FS) (*partContent, error) {
	l, report, err := log.Open(disk, p.dir, p.cfg, p.st)
	if err != nil {
		return nil, err
	}
	if len(report.Damage) > 0 {
		return nil, fmt.Errorf("damage found at open: %+v", report.Damage)
	}
	c := &partContent{start: l.Start(), high: l.High(), end: l.End(), asked: p.want.asked, raw: make([]byte, 0, len(p.want.raw))}
	for at := log.At(c.start); at.Offset < c.high; {
		run, next, err := l.Read(p.buf, at, log.ReadOptions{MaxBytes: 8 << 10, Check: true})
		if err != nil {
			return nil, err
		}
		if len(run) == 0 {
			break
		}
		if c.raw, err = appendUseful(c.raw, run); err != nil {
			return nil, err
		}
		at, p.buf = next, run
	}
	aborted, err := l.AbortedIn(c.start, c.high)
	if err != nil {
		return nil, err
	}
	if c.committed, err = committedIn(c.raw, c.start, aborted); err != nil {
		return nil, err
	}
	for _, ts := range c.asked {
		found, ok, err := l.OffsetFor(ts, log.High)
		if err != nil {
			return nil, err
		}
		if !ok {
			found.Offset = -1
		}
		c.answers = append(c.answers, found.Offset)
	}
	return c, nil
}

// appendUseful appends the batches that hold records of users, which are all that an
// engine's readers get.
func appendUseful(raw, run []byte) ([]byte, error) {
	for b, err := range record.Batches(run) {
		if err != nil {
			return nil, err
		}
		if b.Count() > 0 && !b.Control() {
			raw = append(raw, b...)
		}
	}
	return raw, nil
}
