package segment

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/log/record"
	"github.com/quirelog/quire/log/vfs"
)

// promise is what a scenario was told before the power went.
type promise struct {
	written []record.Batch // in order; those not told durable may or may not be there
	durable int64          // records below are synced
	created bool           // the directory entry is durable
}

var crashConfig = Config{IndexInterval: 150, PreWrite: 2048}

// lifeUntilCrash creates, appends, syncs, seals and freezes, unseals, and goes on; a nil error means that no power was cut.
func lifeUntilCrash(t testing.TB, fsys vfs.FS, p *promise) error {
	if err := fsys.MkdirAll(dir); err != nil {
		return err
	}
	if err := fsys.SyncDir("/"); err != nil {
		return err
	}
	s, err := Create(fsys, dir, 0, &crashConfig)
	if err != nil {
		return err
	}
	if err := fsys.SyncDir(dir); err != nil {
		return err
	}
	p.created = true
	for _, stop := range []func(*Segment, SideFacts) error{(*Segment).Seal, (*Segment).Freeze, nil} {
		for i := range 4 {
			b := makeBatch(t, s.Next(), 1, 100*s.Next(), 90)
			p.written = append(p.written, b)
			if err := s.Append(b); err != nil {
				return err
			}
			if i == 1 || i == 3 && stop != nil {
				continue // two appends, one sync
			}
			if err := s.Sync(); err != nil {
				return err
			}
			p.durable = s.Next()
			if err := s.FlushIndex(); err != nil {
				return err
			}
		}
		if stop != nil {
			if err := stop(s, SideFacts{}); err != nil {
				return err
			}
			p.durable = s.Next()
			if err := s.Close(); err != nil {
				return err
			}
			if s, err = OpenActive(fsys, dir, 0, &crashConfig); err != nil {
				return err
			}
		}
	}
	return nil
}

// open opens as a log does: the clean way if possible, else by recovery.
func open(fsys vfs.FS, durable int64) (*Segment, Recovery, error) {
	s, err := OpenActive(fsys, dir, 0, &crashConfig)
	if errors.Is(err, ErrNoSide) {
		return Recover(fsys, dir, 0, &crashConfig, RecoverOptions{Durable: durable})
	}
	return s, Recovery{}, err
}

// keeps checks a disk after a power cut.
func (p *promise) keeps(t *testing.T, disk vfs.FS, where any) {
	t.Helper()
	s, done, err := open(disk, p.durable)
	if !p.created && err != nil {
		return
	}
	require.NoError(t, err, where)
	require.Empty(t, done.Damage, where)
	require.GreaterOrEqual(t, s.Next(), p.durable, where)
	got := readAll(t, s, 0, 1000)
	require.LessOrEqual(t, len(got), len(p.written), where)
	for i, b := range got {
		require.Equal(t, p.written[i], b, where)
	}
	more := fill(t, s, 1)
	require.NoError(t, s.Seal(SideFacts{}))
	require.Len(t, readAll(t, s, more[0].BaseOffset(), 100), 1, where)
	require.NoError(t, s.Verify(), where)
	require.NoError(t, s.Close())
}

func TestPowerCutAtEveryCall(t *testing.T) {
	whole := vfs.NewCrash()
	require.NoError(t, lifeUntilCrash(t, whole, &promise{}))
	states := 0
	for op := 1; op <= whole.Ops(); op++ {
		c := vfs.NewCrash()
		c.CrashAt(op)
		p := &promise{}
		require.ErrorIs(t, lifeUntilCrash(t, c, p), vfs.ErrCrashed)
		for _, policy := range vfs.Policies() {
			for seed := range uint64(3) {
				p.keeps(t, c.After(policy, seed), vfs.Cut{Op: op, Policy: policy, Seed: seed})
				states++
			}
		}
	}
	assert.Greater(t, states, 1000)
	t.Logf("%d states", states)
}

// A second power cut at one in three calls of the recovery, and a third try.
func TestPowerCutInRecovery(t *testing.T) {
	whole := vfs.NewCrash()
	require.NoError(t, lifeUntilCrash(t, whole, &promise{}))
	states := 0
	for op := 5; op <= whole.Ops(); op += 3 {
		c := vfs.NewCrash()
		c.CrashAt(op)
		p := &promise{}
		require.ErrorIs(t, lifeUntilCrash(t, c, p), vfs.ErrCrashed)
		if !p.created {
			continue
		}
		for _, policy := range []vfs.Policy{vfs.KeepAll, vfs.MixedSectors, vfs.ZeroedSectors} {
			for step := 1; ; step++ {
				disk := c.After(policy, 1)
				disk.CrashAt(step)
				s, _, err := open(disk, p.durable)
				if err == nil {
					_ = s.Close()
				}
				if !disk.Crashed() {
					require.NoError(t, err)
					break
				}
				p.keeps(t, disk.After(vfs.KeepRandom, uint64(step)), vfs.Cut{Op: op, Policy: policy, Seed: uint64(step)})
				states++
			}
		}
	}
	t.Logf("%d states", states)
}
