package main

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

// backupScenarios are names of one act and what goes before it: "new" and "over" make a backup, into no directory or over an earlier backup that
// has less and topics that were deleted since; "restore" and "open" restore one, and open the restored directory, or the backup itself, for writing.
var backupScenarios = []string{"new", "new-copy", "over", "over-copy", "over-deleted", "over-anew", "restore", "restore-link", "open", "open-link", "open-backup"}

const (
	backupSource   = "data"
	backupRestored = "back"
	backupSaved    = "saved"
	backupStride   = 7 // between the operations in which the power goes, in the fast tier
)

// backups are what a directory holds: its topics, each with its records by partition.
type backups map[string]string

// backupWorld is a disk before the act.
type backupWorld struct {
	scenario string
	disk     *vfs.Crash
	holds    map[string]backups // by directory
	want     backups            // what the act makes
	ops      int                // of the act
}

// runBackup cuts the power at the operations of a backup, a restoration, and the first opening of a copy, and in some cases once more while that is
// repeated. The source loses nothing; the copy is what it was, or is to be, or is told to be none; it can be made at last.
func runBackup(r *runner, t *tally, seed uint64) {
	for _, scenario := range backupScenarios {
		w, err := newBackupWorld(scenario)
		if err != nil {
			t.add(caseName{t.lane.name, scenario, "0", "none", seed}, err)
			continue
		}
		policies := vfs.Policies()
		stride := max(backupStride/r.count, 1)
		first := 1 + int(seed)%stride
		r.each((w.ops+1-first)/stride+1, func(i int) {
			at := first + i*stride
			for n := range uint64(r.count) {
				c := caseName{t.lane.name, scenario, strconv.Itoa(at), policies[(uint64(at)+n)%uint64(len(policies))].String(), seed + n}
				r.try(t, c, func() error { return w.cut(c) })
			}
		})
	}
}

func replayBackup(_ *runner, c caseName) error {
	if !slices.Contains(backupScenarios, c.Scenario) {
		return unknownScenario(c)
	}
	w, err := newBackupWorld(c.Scenario)
	if err != nil {
		return err
	}
	return w.cut(c)
}

func newBackupWorld(scenario string) (*backupWorld, error) {
	w := &backupWorld{scenario: scenario, disk: vfs.NewCrash(), holds: map[string]backups{}}
	if err := w.prepare(); err != nil {
		return nil, err
	}
	w.disk = w.disk.After(vfs.KeepAll, 0)
	disk := w.disk.After(vfs.KeepAll, 0)
	var err error
	if w.ops, err = w.act(disk, 0); err != nil {
		return nil, err
	}
	if w.want, err = readBackup(disk, w.target()); err != nil {
		return nil, err
	}
	from := map[string]string{backupSaved: backupSource, backupRestored: backupSaved}[w.target()]
	if !w.opens() && !maps.Equal(w.want, w.holds[from]) {
		return nil, faultf(wrong, "the copy holds %v, not %v", w.want, w.holds[from])
	}
	return w, nil
}

// prepare makes what is there before the act.
func (w *backupWorld) prepare() error {
	eng, err := openBackup(w.disk, backupSource)
	if err != nil {
		return err
	}
	err = fillBackup(eng, "orders", "prices", "gone")
	if err == nil && !strings.HasPrefix(w.scenario, "new") {
		_, err = eng.Backup(ctx(), backupSaved, topic.BackupOptions{})
	}
	if err == nil && strings.HasPrefix(w.scenario, "over") {
		err = w.moreThanEarlier(eng)
	}
	if err = errors.Join(err, eng.Close()); err != nil {
		return err
	}
	if strings.HasPrefix(w.scenario, "open") {
		_, err = topic.Restore(ctx(), backupSaved, backupRestored, topic.RestoreOptions{FS: w.disk, Link: w.scenario == "open-link"})
	}
	for _, dir := range []string{backupSource, backupSaved, backupRestored} {
		if names, e := w.disk.List(dir); e == nil && len(names) > 0 && err == nil {
			w.holds[dir], err = readBackup(w.disk, dir)
		}
	}
	return err
}

// moreThanEarlier changes the source after an earlier backup.
func (w *backupWorld) moreThanEarlier(eng *topic.Engine) error {
	var err error
	if w.scenario == "over-deleted" || w.scenario == "over-anew" {
		err = eng.DeleteTopic(ctx(), "gone")
	}
	if err == nil && w.scenario == "over-anew" {
		err = fillBackup(eng, "gone")
	}
	if err == nil {
		err = fillBackup(eng, "orders", "prices", "new")
	}
	if err == nil {
		err = eng.Compact(ctx())
	}
	if err != nil {
		return err
	}
	t, err := eng.Topic(ctx(), "orders")
	if err != nil {
		return err
	}
	p, err := t.Partition(0)
	if err == nil {
		_, err = p.DeleteRecords(ctx(), 5)
	}
	return err
}

func openBackup(disk vfs.FS, dir string, opts ...topic.Option) (*topic.Engine, error) {
	return topic.Open(dir, append(opts, topic.On(disk), topic.Logger(slog.New(slog.DiscardHandler)))...)
}

// fillBackup appends records of several segments to topics.
func fillBackup(eng *topic.Engine, names ...string) error {
	for _, name := range names {
		opts := []topic.TopicOption{topic.Partitions(2), topic.SegmentBytes(300)}
		if name == "prices" {
			opts = append(opts, topic.Set("cleanup.policy", "compact"), topic.Set("min.cleanable.dirty.ratio", "0"))
		}
		t, err := eng.Topic(ctx(), name, opts...)
		for i := range int32(8) {
			if err == nil {
				_, err = t.Append(ctx(), topic.Record{Key: []byte{byte(i % 4)}, Value: fmt.Appendf(nil, "%s %d %080d", name, i, i)}, topic.AppendTo(i%2))
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readBackup reads all that a directory holds, which must be sound. The engine is one that may write, to a copy of the disk: another does not
// show what was written last, as long as the slot does not say that it is durable.
func readBackup(disk *vfs.Crash, dir string) (backups, error) {
	eng, err := openBackup(disk.After(vfs.KeepAll, 0), dir, topic.MustExist())
	if err != nil {
		return nil, err
	}
	all, err := foundBackup(eng)
	if err = errors.Join(err, eng.Close()); err != nil {
		return nil, faultf(lost, "%s cannot be read: %v", dir, err)
	}
	report, err := topic.VerifyDirectory(ctx(), disk, dir, topic.VerifyOptions{})
	if err != nil {
		return nil, faultf(wrong, "%s cannot be verified: %v", dir, err)
	}
	if len(report.Faults) > 0 {
		return nil, faultf(wrong, "%s has faults: %v", dir, &report.Faults[0])
	}
	return all, nil
}

func foundBackup(eng *topic.Engine) (backups, error) {
	list, err := eng.Topics(ctx())
	if err != nil {
		return nil, err
	}
	all := backups{}
	for _, t := range list {
		var b strings.Builder
		for n := range int32(t.Partitions()) {
			p, err := t.Partition(n)
			if err != nil {
				return nil, err
			}
			o, err := p.Offsets()
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(&b, "%d from %d to %d\n", n, o.Start, o.High)
			if o.Start == o.High {
				continue
			}
			for rec, err := range t.Read(ctx(), topic.OnPartitions(n), topic.FromStart(), topic.UntilEnd()) {
				if err != nil {
					return nil, err
				}
				fmt.Fprintf(&b, "%d %x %s\n", rec.Offset, rec.Key, rec.Value)
			}
		}
		all[t.Name()] = b.String()
	}
	return all, nil
}

// cut cuts the power in an operation of the act, in some cases once more when it is repeated, and looks at what is there; then the act must succeed.
func (w *backupWorld) cut(c caseName) error {
	at, err1 := strconv.Atoi(c.Op)
	policy, err2 := vfs.ParsePolicy(c.Policy)
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("proof: %w", err)
	}
	dice := rand.New(rand.NewPCG(c.Seed, uint64(at)))
	cuts := []int{at}
	if dice.IntN(3) == 0 {
		cuts = append(cuts, 1+dice.IntN(w.ops))
	}
	disk := w.disk.After(vfs.KeepAll, 0)
	done, kept := false, false
	for _, at := range append(cuts, 0) {
		if done && !w.opens() {
			return nil
		}
		_, err := w.act(disk, at)
		if err != nil && !disk.Crashed() {
			return faultf(wrong, "not repeated: %v", err)
		}
		kept = err == nil || kept && w.opens()
		if at > 0 {
			disk = disk.After(policy, dice.Uint64())
		}
		if done, err = w.check(disk, kept); err != nil {
			return err
		}
	}
	return nil
}

func (w *backupWorld) opens() bool { return strings.HasPrefix(w.scenario, "open") }

// target is the directory that the act is about.
func (w *backupWorld) target() string {
	if strings.HasPrefix(w.scenario, "restore") || w.opens() && w.scenario != "open-backup" {
		return backupRestored
	}
	return backupSaved
}

// act does what the scenario is about, with a power cut in its at-th operation unless at is 0, and tells how many operations there were.
func (w *backupWorld) act(disk *vfs.Crash, at int) (ops int, err error) {
	dir := backupSource
	if w.opens() {
		dir = w.target()
	}
	begin := disk.Ops()
	arm := func() {
		if begin = disk.Ops(); at > 0 {
			disk.CrashAt(begin + at)
		}
	}
	if strings.HasPrefix(w.scenario, "restore") {
		arm()
		_, err = topic.Restore(ctx(), backupSaved, backupRestored, topic.RestoreOptions{FS: disk, Link: w.scenario == "restore-link"})
		return disk.Ops() - begin, err
	}
	if w.opens() {
		arm()
	}
	eng, err := openBackup(disk, dir)
	if err != nil {
		return disk.Ops() - begin, err
	}
	if w.opens() {
		err = appendLate(eng)
		_ = eng.Close() // of a program that may be dead
		return disk.Ops() - begin, err
	}
	arm()
	opts := topic.BackupOptions{Copy: strings.HasSuffix(w.scenario, "-copy")}
	if w.scenario == "over-deleted" || w.scenario == "over-anew" {
		opts.Remove = []string{"gone"}
	}
	_, err = eng.Backup(ctx(), backupSaved, opts)
	ops = disk.Ops() - begin
	_ = eng.Close()
	return ops, err
}

// appendLate appends a record to a copy that has not got it yet.
func appendLate(eng *topic.Engine) error {
	t, err := eng.Topic(ctx(), "orders")
	if err != nil {
		return err
	}
	p, err := t.Partition(0)
	if err != nil {
		return err
	}
	if o, err := p.Offsets(); err != nil || o.High > 4 {
		return err
	}
	_, err = t.Append(ctx(), topic.Record{Value: []byte("late")}, topic.AppendTo(0))
	return err
}

// check holds the directories against what they are to hold; told says that the act was told to have succeeded. done tells that it has.
func (w *backupWorld) check(disk *vfs.Crash, told bool) (done bool, err error) {
	for dir, want := range w.holds {
		if dir == w.target() {
			continue
		}
		got, err := readBackup(disk, dir)
		if err != nil {
			return false, fmt.Errorf("%s: %w", dir, err)
		}
		if !maps.Equal(got, want) {
			return false, faultf(lost, "%s holds %v, not %v", dir, got, want)
		}
	}
	got, err := readBackup(disk, w.target())
	var f *fault
	switch was, there := w.holds[w.target()]; {
	case errors.As(err, &f):
		return false, err
	case err != nil && (told || w.opens()):
		return false, faultf(lost, "the copy is refused: %v", err)
	case errors.Is(err, topic.ErrCorrupt), !there && errors.Is(err, topic.ErrNotData):
		return false, nil // told
	case err != nil:
		return false, faultf(wrong, "what is left of the copy: %v", err)
	case maps.Equal(got, w.want):
		return true, nil
	case told:
		return false, faultf(lost, "the copy holds %v, not %v", got, w.want)
	case !maps.Equal(got, was):
		return false, faultf(undetected, "the copy holds %v, neither %v nor %v", got, was, w.want)
	}
	return false, nil
}
