package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

// lostWays are the ways into a directory. What they return is the engine, or why they refuse.
func lostWays() map[string]func(disk *vfs.Crash) (*topic.Engine, error) {
	quiet := topic.Logger(slog.New(slog.DiscardHandler))
	open := func(disk *vfs.Crash, opts ...topic.Option) (*topic.Engine, error) {
		return topic.Open(engineDir, append(opts, topic.On(disk), quiet)...)
	}
	return map[string]func(disk *vfs.Crash) (*topic.Engine, error){
		"open":    func(disk *vfs.Crash) (*topic.Engine, error) { return open(disk) },
		"rebuild": func(disk *vfs.Crash) (*topic.Engine, error) { return open(disk, topic.RebuildManifest()) },
		"broker": func(disk *vfs.Crash) (*topic.Engine, error) {
			return open(disk, topic.RebuildManifest(), topic.Defaults(topic.Retention(7*24*time.Hour), topic.CleanupWith(topic.CleanupCompact)))
		},
		"repair": func(disk *vfs.Crash) (*topic.Engine, error) {
			if _, err := topic.Repair(ctx(), engineDir, topic.RepairOptions{FS: disk}); err != nil {
				return nil, err
			}
			return open(disk)
		},
		"verify": func(disk *vfs.Crash) (*topic.Engine, error) {
			if _, err := topic.VerifyDirectory(ctx(), disk, engineDir, topic.VerifyOptions{}); err != nil {
				return nil, err
			}
			return open(disk)
		},
		"reading": func(disk *vfs.Crash) (*topic.Engine, error) { return open(disk, topic.ReadOnlyMode()) },
	}
}

// goIn goes into one harmed directory. A way that refuses must say so by an error of its own kind and leave the records to the next: rebuilding what
// is lost, which must find all of them.
func goIn(dirs map[string]*lostDirectory, c caseName, told *sync.Map) error {
	way, state, _ := strings.Cut(c.Op, "/")
	d, in := dirs[state], lostWays()[way]
	if d == nil || in == nil {
		return unknownScenario(c)
	}
	disk, err := d.harmed(c)
	if err != nil {
		return err
	}
	err = d.enter(disk, in)
	if typedRefusal(err) {
		countIn(told, way)
		err = d.enter(disk, lostWays()["rebuild"])
	}
	if typedRefusal(err) {
		countIn(told, "rebuild after "+way)
		err = d.enter(disk, func(disk *vfs.Crash) (*topic.Engine, error) {
			_, err := topic.Repair(ctx(), engineDir, topic.RepairOptions{FS: disk, AcceptLoss: true})
			if err != nil {
				return nil, err
			}
			return topic.Open(engineDir, topic.On(disk), topic.AcceptDataLoss(), topic.Logger(slog.New(slog.DiscardHandler)))
		})
	}
	return err
}

// typedRefusal tells an error that says what is damaged from a fault of the case.
func typedRefusal(err error) bool {
	var f *fault
	if errors.As(err, &f) {
		return false
	}
	return errors.Is(err, topic.ErrCorrupt) || errors.Is(err, topic.ErrDataLoss) || errors.Is(err, topic.ErrNewerFormat)
}

// enter goes in by one way, lets duties loose that remove records, and looks for all of them.
func (d *lostDirectory) enter(disk *vfs.Crash, in func(disk *vfs.Crash) (*topic.Engine, error)) error {
	eng, err := in(disk)
	if err != nil {
		return err
	}
	var faults []error
	if err := eng.ApplyRetention(ctx()); !errors.Is(err, topic.ErrReadOnly) {
		faults = append(faults, err)
	}
	if err := eng.Compact(ctx()); !errors.Is(err, topic.ErrReadOnly) {
		faults = append(faults, err)
	}
	return errors.Join(d.look(eng), errors.Join(faults...), eng.Close())
}

// look looks for every topic, its settings, and its records.
func (d *lostDirectory) look(eng *topic.Engine) error {
	list, err := eng.Topics(ctx())
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(t *topic.Topic) bool { return t.Name() == paddingTopic }) // its deletion may be lost: it is empty
	if len(list) != len(d.settings) {
		return faultf(lost, "%d topics of %d", len(list), len(d.settings))
	}
	var refusals []error
	for _, t := range list {
		if got, want := t.Overrides(), d.settings[t.Name()]; !maps.Equal(got, want) && !keepsEverything(t.Settings()) {
			return faultf(wrong, "topic %s has the settings %v, not %v", t.Name(), got, want)
		}
		for n := range int32(t.Partitions()) {
			if err := lookInto(t, n); typedRefusal(err) {
				refusals = append(refusals, err)
			} else if err != nil {
				return err
			}
		}
	}
	return errors.Join(refusals...)
}

func keepsEverything(s topic.Settings) bool {
	return s.Cleanup == topic.CleanupDelete && s.Retention < 0 && s.RetentionBytes < 0 && s.RetentionRecords < 0 && s.RetentionGroups == ""
}

func lookInto(t *topic.Topic, n int32) error {
	found := 0
	for r, err := range t.Read(ctx(), topic.OnPartitions(n), topic.FromStart(), topic.UntilEnd()) {
		if err != nil {
			return fmt.Errorf("%s-%d: %w", t.Name(), n, err)
		}
		if int(r.Offset) != found || !bytes.Equal(r.Value, lostValue(t.Name(), n, found)) {
			return faultf(lost, "%s-%d: offset %d holds %q where record %d should be", t.Name(), n, r.Offset, r.Value, found)
		}
		found++
	}
	if found != lostRecords {
		return faultf(lost, "%s-%d: %d of %d records", t.Name(), n, found, lostRecords)
	}
	return nil
}
