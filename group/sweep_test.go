package group_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/internal/invariant"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

// The sweeps here cut the power, or let a call fail, at every stride-th call of a script to the disk, and look at what the next engine
// says; with QUIRE_EVERY_CUT set, at every one, in every way.

// violation is what must not be, whatever fails.
type violation string

func (v violation) Error() string { return string(v) }

func wrong(format string, args ...any) error { return violation(fmt.Sprintf(format, args...)) }

// violated gives the violation in an error, if there is one.
func violated(err error) error {
	var v violation
	if errors.As(err, &v) {
		return v
	}
	return nil
}

// everyCut tells that nothing is to be left out.
func everyCut() bool { return os.Getenv("QUIRE_EVERY_CUT") != "" }

// strideFor is such that a script with so many calls is tried at about points of them.
func strideFor(calls, points int) int {
	switch {
	case everyCut():
		return 1
	case invariant.Enabled:
		points = max(points/8, 1)
	}
	return max(calls/points, 1)
}

// cutPolicies is how the n-th power cut is tried.
func cutPolicies(n int) []vfs.Policy {
	all := vfs.Policies()
	if everyCut() {
		return all
	}
	return all[n%len(all):][:1]
}

// sweepFaults is how a call goes wrong.
func sweepFaults() []vfs.Rule {
	return []vfs.Rule{
		{Op: vfs.OpAny, Err: syscall.EIO},
		{Op: vfs.OpAny, Err: syscall.EMFILE, Count: 5},
		{Op: vfs.OpAny, Err: syscall.EIO, Count: vfs.Forever},
		{Op: vfs.OpWrite, Err: syscall.ENOSPC, Short: 30},
		{Op: vfs.OpWrite, Err: syscall.EIO, Short: 5, Count: 3},
		{Op: vfs.OpSync, Err: syscall.EIO},
		{Op: vfs.OpSync, Err: syscall.EIO, Done: true},
	}
}

// A script uses a disk that stock has made, and notes what it was told. check looks at what is left, and goes on from there.
type script interface {
	play(fs vfs.FS) error
	check(fs vfs.FS) error
	clone() script
}

// sweepCuts plays a script with power cuts.
func sweepCuts(t *testing.T, stock func(t *testing.T) *vfs.Crash, fresh func() script, points int) {
	whole := stock(t)
	before := whole.Ops()
	s := fresh()
	require.NoError(t, s.play(whole))
	calls := whole.Ops() - before
	require.NoError(t, s.check(whole))
	states := 0
	stride := strideFor(calls, points)
	for n := 1; n <= calls; n += stride {
		disk := stock(t)
		disk.CrashAt(disk.Ops() + n)
		saw := fresh()
		if err := violated(saw.play(disk)); err != nil {
			t.Fatalf("before the power cut at call %d of %d: %v", n, calls, err)
		}
		for _, policy := range cutPolicies(states) {
			if err := saw.clone().check(disk.After(policy, uint64(n))); err != nil {
				t.Fatalf("power cut at call %d of %d, %v: %v", n, calls, policy, err)
			}
			states++
		}
	}
	t.Logf("%d calls, %d states", calls, states)
}

// sweepFaultsOf plays a script with calls that fail. What is told then holds after a stop in good order, and after a power cut.
func sweepFaultsOf(t *testing.T, stock func(t *testing.T) *vfs.Crash, fresh func() script, points int) {
	run := func(rule vfs.Rule) (calls int64, err error) {
		inner := stock(t)
		disk := vfs.NewFault(inner, rule)
		s := fresh()
		played := s.play(disk)
		if rule.K == 1<<30 && played != nil {
			return 0, played
		}
		if err := violated(played); err != nil {
			return 0, err
		}
		calls = disk.Count(rule.Op)
		if err := s.clone().check(inner.After(vfs.KeepNone, 1)); err != nil {
			return calls, fmt.Errorf("after a power cut: %w", err)
		}
		return calls, s.check(inner)
	}
	states := 0
	for i, rule := range sweepFaults() {
		rule.K = 1 << 30
		calls, err := run(rule)
		require.NoError(t, err)
		stride := strideFor(int(calls), points)
		for k := 1 + i%stride; k <= int(calls); k += stride {
			rule.K = k
			if _, err := run(rule); err != nil {
				t.Errorf("call %d of %d, %v %v count %d: %v", k, calls, rule.Op, rule.Err, rule.Count, err)
			}
			states++
		}
	}
	t.Logf("%d states", states)
}

// stocked is a disk with a topic, and internal topics of few partitions and small segments, so that the scripts' calls are about what they
// store.
func stocked(t *testing.T, records int) *vfs.Crash {
	disk := vfs.NewCrash()
	eng, err := topic.Open("data", topic.On(disk))
	require.NoError(t, err)
	jobs, err := eng.Topic(t.Context(), "jobs", topic.Partitions(2))
	require.NoError(t, err)
	for n := range records {
		_, err := jobs.Append(t.Context(), topic.Record{Value: fmt.Append(nil, "job ", n)}, topic.AppendTo(int32(n%2)))
		require.NoError(t, err)
	}
	small := []topic.TopicOption{topic.Partitions(2), topic.SegmentBytes(600), topic.Durable(), topic.Retention(-1)}
	_, err = eng.Topic(t.Context(), group.OffsetsTopic, append(small, topic.CleanupWith(topic.CleanupCompact))...)
	require.NoError(t, err)
	_, err = eng.Topic(t.Context(), group.ShareStateTopic, small...)
	require.NoError(t, err)
	require.NoError(t, eng.Close())
	return disk.After(vfs.KeepNone, 1)
}

// committing is a script of commits: two groups that go on, and one that is deleted.
type committing struct {
	told, tried map[string]int64 // by group: the highest offset
	deleted     bool             // and told so
	deleting    bool
}

func newCommitting() script { return &committing{told: map[string]int64{}, tried: map[string]int64{}} }

func (s *committing) clone() script {
	c := &committing{told: map[string]int64{}, tried: map[string]int64{}, deleted: s.deleted, deleting: s.deleting}
	for k, v := range s.told {
		c.told[k] = v
	}
	for k, v := range s.tried {
		c.tried[k] = v
	}
	return c
}

func (s *committing) commit(c *group.Coordinator, name string, offset int64) error {
	s.tried[name] = max(s.tried[name], offset)
	list := make([]group.PartitionOffset, 2)
	for n := range list {
		list[n] = group.PartitionOffset{TopicPartition: topic.TopicPartition{Topic: "jobs", Partition: int32(n)}, Offset: offset, LeaderEpoch: -1}
	}
	err := c.SetOffsets(context.Background(), name, list)
	if err == nil {
		s.told[name] = offset
	}
	return err
}

func (s *committing) play(fs vfs.FS) (err error) {
	eng, err := topic.Open("data", topic.On(fs))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, eng.Close()) }()
	c, err := group.On(eng)
	if err != nil {
		return err
	}
	var faults []error
	for n := int64(1); n <= 10; n++ {
		faults = append(faults, s.commit(c, "a", n), s.commit(c, "b", n))
		switch {
		case n <= 3:
			faults = append(faults, s.commit(c, "gone", n))
		case !s.deleted:
			s.deleting = true
			err := c.Delete(context.Background(), "gone")
			s.deleted = err == nil
			if errors.Is(err, group.ErrGroupNotFound) && s.told["gone"] > 0 && n == 4 {
				err = wrong("group gone has committed %d, and is not found", s.told["gone"])
			}
			faults = append(faults, err)
		}
		faults = append(faults, s.compare(c, true))
	}
	return errors.Join(faults...)
}

// compare looks at what the coordinator says; one that cannot answer says nothing wrong.
func (s *committing) compare(c *group.Coordinator, lenient bool) error {
	for _, name := range []string{"a", "b", "gone"} {
		list, err := c.Offsets(context.Background(), name)
		if err != nil {
			if lenient && !errors.Is(err, topic.ErrCorrupt) {
				continue
			}
			return fmt.Errorf("group %s: %w", name, err)
		}
		got := map[int32]int64{}
		for _, o := range list {
			got[o.Partition] = o.Offset
		}
		for n := range int32(2) {
			at, ok := got[n]
			switch {
			case name == "gone" && s.deleted && ok:
				return wrong("group %s is deleted, and has committed %d", name, at)
			case name == "gone" && s.deleting && !ok:
			case at < s.told[name] || at > s.tried[name]:
				return wrong("group %s has committed %d in partition %d, not %d to %d", name, at, n, s.told[name], s.tried[name])
			}
		}
	}
	return nil
}

func (s *committing) check(fs vfs.FS) error {
	for n := range int64(2) {
		err := s.visit(fs, 20+n)
		if err != nil {
			return err
		}
	}
	return nil
}

// visit opens the disk, compares, and commits something more.
func (s *committing) visit(fs vfs.FS, offset int64) (err error) {
	eng, err := topic.Open("data", topic.On(fs))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, eng.Close()) }()
	c, err := group.On(eng)
	if err != nil {
		return err
	}
	if err := s.compare(c, false); err != nil {
		return err
	}
	return errors.Join(s.commit(c, "a", offset), s.commit(c, "b", offset), s.compare(c, false))
}

func stockedCommits(t *testing.T) *vfs.Crash { return stocked(t, 30) }

// Wherever power is lost: no commit that was told is lost or replaced by an older one, and a deleted group stays deleted.
func TestCommitsBearPowerCutsAnywhere(t *testing.T) {
	sweepCuts(t, stockedCommits, newCommitting, 40)
}

// Whatever call fails: the same; also while the coordinator goes on.
func TestCommitsBearFaults(t *testing.T) {
	sweepFaultsOf(t, stockedCommits, newCommitting, 12)
}

// working is the script of a queue's worker: see witness.
type working struct{ *witness }

func newWorking() script { return working{newWitness()} }

func (s working) play(fs vfs.FS) error  { return s.work(fs) }
func (s working) check(fs vfs.FS) error { return s.finish(fs) }
func (s working) clone() script         { return working{s.witness.clone()} }

// Whatever call fails: what is known to be acknowledged is not delivered again, attempts go on counting, the key keeps its order, and in the
// end every record is acknowledged or dead.
func TestQueuesBearFaults(t *testing.T) { sweepFaultsOf(t, stockedJobs, newWorking, 12) }

// living is the script of a queue that is opened, emptied, deleted, and opened and emptied again.
type living struct{ left []int } // how many of its jobs may be left, nil for any number

const livingJobs = 6

func newLiving() script { return &living{[]int{livingJobs}} }

func (s *living) clone() script { return &living{s.left} }

func (s *living) play(fs vfs.FS) (err error) {
	eng, err := topic.Open("data", topic.On(fs))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, eng.Close()) }()
	if err := s.empty(eng); err != nil {
		return err
	}
	s.left = []int{0, livingJobs}
	if err := group.DeleteQueue(context.Background(), eng, "jobs", "q"); err != nil {
		return err
	}
	s.left = []int{livingJobs}
	return s.empty(eng)
}

// empty does all jobs.
func (s *living) empty(eng *topic.Engine) error {
	q, err := group.OpenQueue(context.Background(), eng, "jobs", group.QueueName("q"))
	if err != nil {
		return err
	}
	s.left = nil
	n := 0
	for d, err := range q.Deliveries(context.Background()) {
		if err != nil {
			return err
		}
		if d.Attempt != 1 {
			return wrong("attempt %d", d.Attempt)
		}
		d.Ack()
		if n++; n == livingJobs {
			break
		}
	}
	if err := q.Close(); err != nil {
		return err
	}
	s.left = []int{0}
	return nil
}

func (s *living) check(fs vfs.FS) (err error) {
	eng, err := topic.Open("data", topic.On(fs))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, eng.Close()) }()
	q, err := group.OpenQueue(context.Background(), eng, "jobs", group.QueueName("q"))
	if err != nil {
		return err
	}
	list, err := q.Peek(context.Background(), 2*livingJobs)
	if err != nil {
		return err
	}
	if s.left != nil && !slices.Contains(s.left, len(list)) {
		return wrong("%d jobs are left, not one of %v", len(list), s.left)
	}
	if err := group.DeleteQueue(context.Background(), eng, "jobs", "q"); err != nil {
		return err
	}
	again := &living{[]int{livingJobs}}
	if err := again.empty(eng); err != nil {
		return fmt.Errorf("opened again: %w", err)
	}
	return nil
}

func stockedLife(t *testing.T) *vfs.Crash { return stocked(t, livingJobs) }

// Wherever power is lost: a queue is wholly there or not at all, and one that was deleted begins with all jobs.
func TestDeletedQueuesBearPowerCuts(t *testing.T) { sweepCuts(t, stockedLife, newLiving, 40) }

// Whatever call fails: the same.
func TestDeletedQueuesBearFaults(t *testing.T) { sweepFaultsOf(t, stockedLife, newLiving, 8) }
