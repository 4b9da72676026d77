package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/vfs"
	"github.com/quirelog/quire/topic"
)

// failing is one way in which a call goes wrong.
type failing struct {
	name string
	ops  []vfs.Op
	rule vfs.Rule // Op and K are filled in
}

// failings are the ways tried for each call of each kind.
func failings() []failing {
	changes := []vfs.Op{vfs.OpCreate, vfs.OpRemove, vfs.OpRename, vfs.OpLink, vfs.OpMkdirAll, vfs.OpSyncDir, vfs.OpWrite, vfs.OpTruncate, vfs.OpSync}
	looks := []vfs.Op{vfs.OpOpen, vfs.OpOpenRead, vfs.OpList, vfs.OpStat, vfs.OpRead, vfs.OpSize, vfs.OpClose}
	return []failing{
		{"eio", slices.Concat(changes, looks), vfs.Rule{Err: syscall.EIO}},
		{"eio-done", changes, vfs.Rule{Err: syscall.EIO, Done: true}},
		{"eio-forever", changes, vfs.Rule{Err: syscall.EIO, Count: vfs.Forever}},
		{"enospc", []vfs.Op{vfs.OpCreate, vfs.OpRename, vfs.OpWrite, vfs.OpSync, vfs.OpMkdirAll, vfs.OpPreallocate}, vfs.Rule{Err: syscall.ENOSPC}},
		{"enospc-short", []vfs.Op{vfs.OpWrite}, vfs.Rule{Err: syscall.ENOSPC, Short: 70}},
		{"edquot", []vfs.Op{vfs.OpCreate, vfs.OpWrite, vfs.OpSync}, vfs.Rule{Err: syscall.EDQUOT}},
		{"short", []vfs.Op{vfs.OpWrite}, vfs.Rule{Err: syscall.EIO, Short: 13}},
		{"emfile", []vfs.Op{vfs.OpCreate, vfs.OpOpen, vfs.OpOpenRead, vfs.OpList, vfs.OpSyncDir}, vfs.Rule{Err: syscall.EMFILE}},
		{"erofs-forever", []vfs.Op{vfs.OpWrite}, vfs.Rule{Err: syscall.EROFS, Count: vfs.Forever}},
		{"lie", []vfs.Op{vfs.OpSync, vfs.OpSyncDir}, vfs.Rule{Lie: true}},
	}
}

// roughScript is a scenario that is run on a disk that fails.
type roughScript struct {
	name  string
	start func(disk vfs.FS) world
	// prepare, if set, fills the disk before anything fails.
	prepare func(disk vfs.FS) error
}

// begin starts the script on a disk that fails by the rules.
func (sc roughScript) begin(disk *vfs.Crash, rules ...vfs.Rule) (*vfs.Fault, world, error) {
	if sc.prepare != nil {
		if err := sc.prepare(disk); err != nil {
			return nil, nil, err
		}
	}
	f := vfs.NewFault(disk, rules...)
	return f, sc.start(f), nil
}

func roughScripts() []roughScript {
	return []roughScript{
		rough("append", prewriteConfig, playAppend),
		rough("roll", rollConfig, playRough),
		rough("os", levelConfig(log.OS), playLazy),
		rough("producer", rollConfig, playProducer),
		rough("truncate", replicaConfig, playTruncateAppend),
		rough("delete-records", rollConfig, playDeleteRecords),
		rough("compact", keyedConfig, playCompactRough),
		rough("compact-txns", keyedConfig, playCompactTxns),
		rough("redact", rollConfig, playRedact),
		rough("retain", rollConfig, playRetainRough),
		rough("reap", rollConfig, playReap),
		roughEngine("engine-compact", playEngineCompactRough),
		roughEngine("engine-backup", playBackupRough),
		{"repair", func(disk vfs.FS) world { return &repairing{disk: disk, rough: true, prepared: true} }, fillDamaged},
		roughEngine("engine", playEngineRough),
	}
}

func roughEngine(name string, play func(s *engineScript)) roughScript {
	return roughScript{name: name, start: func(disk vfs.FS) world {
		return &engineScript{fs: disk, h: newEngineHistory(), play: play, rough: true}
	}}
}

// rough is a scenario of one log.
func rough(name string, cfg func() *log.Config, play func(s *script)) roughScript {
	return roughScript{name: name, start: func(disk vfs.FS) world {
		s := newScript(disk, cfg(), nil)
		s.rough = true
		return &scripted{script: s, play: play}
	}}
}

// playEngineRough makes, uses, alters and deletes topics.
func playEngineRough(s *engineScript) {
	s.open()
	s.create("a", 2, small())
	s.append("a", 0, 2)
	s.append("a", 1, 1)
	s.alter("a", 3)
	s.create("b", 1)
	s.append("b", 0, 1)
	s.remove("b")
	s.append("a", 2, 1)
	s.reopen()
	s.append("a", 0, 1)
	s.look()
	s.close()
}

// playRough appends over several segments, closes, reopens, and appends again.
func playRough(s *script) {
	s.open()
	for i := range 10 {
		s.append(1 + i%2)
	}
	s.tick()
	s.reopen()
	s.append(2)
	s.look()
	s.append(1)
	s.close()
}

// playCompactRough compacts three times: what one could not do the next one does.
func playCompactRough(s *script) {
	s.keyed()
	for range 6 {
		s.append(3)
	}
	s.compact(cleanTime())
	s.look()
	s.append(3)
	s.compact(cleanTime().Add(2 * tombstoneTime))
	s.append(2)
	s.reopen()
	s.look()
	s.compact(cleanTime().Add(4 * tombstoneTime))
	s.look()
}

// playRetainRough removes segments by two rules, the active one among them.
func playRetainRough(s *script) {
	s.open()
	for range 7 {
		s.append(2)
	}
	s.retain(cleanTime(), log.Retention{Records: 5})
	s.look()
	s.append(2)
	s.retain(cleanTime(), log.Retention{Age: time.Minute})
	s.append(2)
	s.look()
	s.reopen()
	s.look()
}

func playEngineCompactRough(s *engineScript) {
	s.open()
	s.createKeyed("k", 1, compactedBy(topic.CleanupCompact|topic.CleanupDelete)...)
	for range 4 {
		s.append("k", 0, 4)
	}
	s.compact("k")
	s.look()
	s.append("k", 0, 4)
	s.retain("k", 0)
	s.reopen()
	s.compact("k")
	s.look()
	s.close()
}

// playBackupRough makes two backups, the second one whether the first one succeeded or not.
func playBackupRough(s *engineScript) {
	s.open()
	s.create("a", 2, small())
	for range 3 {
		s.append("a", 0, 4)
		s.append("a", 1, 2)
	}
	s.backup()
	s.append("a", 0, 4)
	s.backup()
	s.look()
	s.close()
}

// runFaults lets the k-th call of each kind fail, for each k, and compares the
// outcomes told with what is in the log afterwards.
func runFaults(r *runner, t *tally, _ uint64) {
	type unit struct {
		sc   roughScript
		how  failing
		op   vfs.Op
		last int64
	}
	var units []unit
	for _, sc := range roughScripts() {
		if !r.only.MatchString(sc.name) {
			continue
		}
		quiet, w, err := sc.begin(vfs.NewCrash())
		if err != nil {
			t.add(caseName{t.lane.name, sc.name, "0", "none", 0}, err)
			continue
		}
		w.run()
		w.stop()
		for _, how := range failings() {
			for _, op := range how.ops {
				if n := quiet.Count(op); n > 0 {
					units = append(units, unit{sc, how, op, n})
				}
			}
		}
	}
	r.each(len(units), func(i int) {
		u := units[i]
		for k := int64(1); k <= u.last; k += r.faultStep(u.last) {
			for _, end := range []string{"kill", "power"} {
				name := caseName{t.lane.name, u.sc.name, fmt.Sprintf("%s.%d", u.op, k), u.how.name + "/" + end, 0}
				r.try(t, name, func() error { return failOnce(r, u.sc, u.how, u.op, int(k), end) })
			}
		}
	})
}

// faultMost is about how many calls of one kind fail in a scenario, in the fast tier; they
// lie at equal distances.
const faultMost = 12

func (r *runner) faultStep(calls int64) int64 {
	if r.tier != "fast" {
		return 1
	}
	return max(calls/faultMost, 1)
}

// failOnce runs a scenario with one fault and looks at what is left, after the
// process died or the power went.
func failOnce(r *runner, sc roughScript, how failing, op vfs.Op, k int, end string) error {
	disk := vfs.NewCrash()
	r.trace(disk, "run")
	rule := how.rule
	rule.Op, rule.K = op, k
	_, w, err := sc.begin(disk, rule)
	if err != nil {
		return err
	}
	w.run()
	w.stop()
	if err := w.promise(); err != nil {
		return fmt.Errorf("while the disk fails: %w", err)
	}
	if rule.Lie {
		w.lied()
	}
	if end == "kill" {
		return w.check(disk.Kill(0), killed)
	}
	if rule.Lie {
		return nil // a disk that lies about its syncs may lose anything when the power goes
	}
	return w.check(disk.After(vfs.KeepNone, 0), powered)
}

func replayFaults(r *runner, c caseName) error {
	i := slices.IndexFunc(roughScripts(), func(sc roughScript) bool { return sc.name == c.Scenario })
	way, end, _ := strings.Cut(c.Policy, "/")
	j := slices.IndexFunc(failings(), func(f failing) bool { return f.name == way })
	if i < 0 || j < 0 {
		return unknownScenario(c)
	}
	kind, number, _ := strings.Cut(c.Op, ".")
	k, err := strconv.Atoi(number)
	if err != nil {
		return fmt.Errorf("proof: operation %q is not kind.k", c.Op)
	}
	for _, op := range failings()[j].ops {
		if op.String() == kind {
			return failOnce(r, roughScripts()[i], failings()[j], op, k, end)
		}
	}
	return unknownScenario(c)
}
