package catalog

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/log/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func never() bool { return false }

// open goes on with a directory as an engine does.
func open(t testing.TB, fsys vfs.FS) *Store {
	t.Helper()
	require.NoError(t, fsys.MkdirAll("d"))
	found, err := Load(fsys, "d", anyTopic, false)
	require.NoError(t, err)
	s, err := Start(fsys, "d", found, !found.Exists, never)
	require.NoError(t, err)
	return s
}

func created(name string, partitions int) Change {
	id := log.TopicID{}
	copy(id[:], name)
	return Change{Create: &Topic{Name: name, ID: id, Partitions: partitions, State: Ready, Unused: Range(0, partitions), Settings: map[string]string{"k": "1"}}}
}

func altered(name string, partitions int, value string) Change {
	c := created(name, partitions)
	c.Create.Settings = map[string]string{"k": value}
	return Change{Alter: c.Create}
}

// topics is what a manifest says, without generations.
func topics(m *Manifest) string {
	var b strings.Builder
	for _, e := range m.Topics {
		unused, _ := e.Unused.MarshalText()
		fmt.Fprintf(&b, "%s/%d %s unused %s %v; ", e.Name, e.Partitions, e.State, unused, e.Settings)
	}
	fmt.Fprintf(&b, "next %d", m.NextProducerID)
	return b.String()
}

// A script makes every kind of change; after each of them the catalog says one thing.
func script() [][]Change {
	return [][]Change{
		{created("a", 3)},
		{{Use: &Use{"a", 1}}},
		{created("b", 1), created("c", 2)},
		{{NextProducerID: 5000}},
		{altered("a", 5, "2")},
		{{Delete: "b"}},
		{{Drop: "b"}},
		{created("b", 2)},
		{{Use: &Use{"a", 0}}, {Use: &Use{"b", 1}}},
	}
}

func TestStoreKeepsChanges(t *testing.T) {
	disk := vfs.NewMem()
	s := open(t, disk)
	for _, changes := range script() {
		require.NoError(t, s.Commit(changes...))
		want := topics(s.Manifest())
		found, err := Load(disk, "d", anyTopic, false)
		require.NoError(t, err)
		assert.Equal(t, want, topics(found.Manifest))
	}
	want := "a/5 ready unused 2-4 map[k:2]; b/2 ready unused 0 map[k:1]; c/2 ready unused 0-1 map[k:1]; next 5000"
	assert.Equal(t, want, topics(s.Manifest()))
	s.Close()
	require.ErrorIs(t, s.Commit(created("z", 1)), log.ErrClosed)
	again := open(t, disk)
	assert.Equal(t, want, topics(again.Manifest()))
	e, found := again.Topic("a")
	require.True(t, found)
	assert.Equal(t, s.Manifest().Topics[0].Changed, e.Changed)
	again.Close()
}

// One change is one write and one sync, however many topics there are.
func TestStoreCostOfAChange(t *testing.T) {
	mem := vfs.NewMem()
	fault := vfs.NewFault(mem)
	s := open(t, fault)
	many := make([]Change, 0, 2000)
	for i := range 2000 {
		many = append(many, created(fmt.Sprintf("t%04d", i), 1))
	}
	require.NoError(t, s.Commit(many...))
	ops := map[vfs.Op]int{}
	bytes := mem.Used()
	note := func(op vfs.Op) vfs.Rule {
		return vfs.Rule{Op: op, Count: vfs.Forever, Done: true, Hook: func(vfs.Op, string) { ops[op]++ }}
	}
	fault.Add(note(vfs.OpWrite), note(vfs.OpSync), note(vfs.OpSyncDir), note(vfs.OpRename), note(vfs.OpCreate))
	require.NoError(t, s.Commit(created("one", 1)))
	assert.Equal(t, map[vfs.Op]int{vfs.OpWrite: 1, vfs.OpSync: 1}, ops)
	assert.Less(t, mem.Used()-bytes, int64(1000))
}

// Callers that come at once share syncs.
func TestStoreGroupCommit(t *testing.T) {
	disk := vfs.NewFault(vfs.NewMem())
	s := open(t, disk)
	syncs, begun, go_on := 0, make(chan struct{}), make(chan struct{})
	disk.Add(vfs.Rule{Op: vfs.OpSync, Count: vfs.Forever, Done: true, Hook: func(vfs.Op, string) {
		if syncs++; syncs == 1 {
			close(begun)
			<-go_on
		}
	}})
	var callers sync.WaitGroup
	callers.Go(func() { assert.NoError(t, s.Commit(created("first", 1))) })
	<-begun
	const n = 100
	for i := range n {
		callers.Go(func() { assert.NoError(t, s.Commit(created(fmt.Sprint("t", i), 1))) })
	}
	for {
		s.mu.Lock()
		waiting := len(s.waiting)
		s.mu.Unlock()
		if waiting == n {
			break
		}
	}
	close(go_on)
	callers.Wait()
	assert.Equal(t, 2, syncs)
	assert.Len(t, s.Manifest().Topics, n+1)
}

// A power cut or a kill at every operation, of the script with a new snapshot in its midst and of the opening after it, loses no change that was
// acknowledged and makes none half.
func TestStoreCrashes(t *testing.T) {
	run := func(disk vfs.FS) (acked int, states []string) {
		states = append(states, "next 0")
		if errors.Join(disk.MkdirAll("d"), disk.SyncDir(".")) != nil {
			return 0, states
		}
		found, err := Load(disk, "d", anyTopic, false)
		if err != nil {
			return 0, states
		}
		s, err := Start(disk, "d", found, true, never)
		if err != nil {
			return 0, states
		}
		mirror := newState(&Manifest{})
		for i, changes := range script() {
			if i == 5 {
				s.fold()
			}
			mirror.apply(&Line{Generation: mirror.generation + 1, Changes: changes})
			states = append(states, topics(mirror.manifest()))
			if s.Commit(changes...) != nil {
				return acked, states
			}
			acked++
		}
		s.Close()
		return acked, states
	}
	whole := vfs.NewCrash()
	run(whole)
	ops := whole.Ops()
	require.Greater(t, ops, 40)
	states := 0
	check := func(after vfs.FS, acked int, allowed []string, what string) {
		require.NoError(t, after.MkdirAll("d"))
		found, err := Load(after, "d", anyTopic, false)
		require.NoError(t, err, what)
		got := topics(found.Manifest)
		require.Contains(t, allowed[acked:], got, what)
		s, err := Start(after, "d", found, !found.Exists, never)
		require.NoError(t, err, what)
		require.NoError(t, s.Commit(created("later", 1)), what)
		s.Close()
		again, err := Load(after, "d", anyTopic, false)
		require.NoError(t, err, what)
		require.Len(t, again.Manifest.Topics, len(found.Manifest.Topics)+1, what)
		states++
	}
	for n := 1; n <= ops; n++ {
		disk := vfs.NewCrash()
		disk.CrashAt(n)
		acked, allowed := run(disk)
		for _, policy := range []vfs.Policy{vfs.KeepNone, vfs.KeepAll, vfs.KeepPrefix, vfs.RandomEntries, vfs.EntriesOnly, vfs.GarbageSectors} {
			what := fmt.Sprintf("crash at %d, %v", n, policy)
			after := disk.After(policy, uint64(n))
			if after.MkdirAll("d") == nil && n%2 == 0 { // and once more in the opening
				after.CrashAt(after.Ops() + 1 + n%13)
				if found, err := Load(after, "d", anyTopic, false); err == nil {
					_, _ = Start(after, "d", found, !found.Exists, never)
				}
				after = after.After(policy, uint64(n))
			}
			check(after, acked, allowed, what)
		}
		killed := disk.Kill(uint64(n))
		require.NoError(t, errors.Join(killed.MkdirAll("d"), killed.SyncDir("."), killed.SyncDir("d"))) // the engine's part
		found, err := Load(killed, "d", anyTopic, false)
		require.NoError(t, err)
		_, err = Start(killed, "d", found, !found.Exists, never)
		require.NoError(t, err)
		again, err := Load(killed.After(vfs.KeepNone, 0), "d", anyTopic, false)
		require.NoError(t, err)
		require.Equal(t, topics(found.Manifest), topics(again.Manifest), "killed at %d: what was found must bear a power cut", n)
	}
	t.Logf("%d operations, %d states", ops, states)
}

// damaged opens with every one-byte change of a file: the catalog is the same, or damage is told.
func TestStoreDamage(t *testing.T) {
	disk := vfs.NewMem()
	s := open(t, disk)
	for i, changes := range script() {
		if i == 5 {
			s.fold()
		}
		require.NoError(t, s.Commit(changes...))
	}
	s.Close()
	want := topics(s.Manifest())
	names, err := disk.List("d")
	require.NoError(t, err)
	require.Len(t, names, 4, "%v", names)
	for _, name := range names {
		path := filepath.Join("d", name)
		sound, err := vfs.ReadFile(disk, path, MaxBytes)
		require.NoError(t, err)
		told := 0
		for i := range sound {
			bad := bytes.Clone(sound)
			bad[i] ^= 0x41
			require.NoError(t, vfs.WriteFile(disk, path, bad))
			found, err := Load(disk, "d", anyTopic, false)
			if err != nil {
				require.ErrorIs(t, err, log.ErrCorrupt)
				told++
				continue
			}
			require.Equal(t, want, topics(found.Manifest), "%s byte %d", name, i)
		}
		t.Logf("%s: %d bytes, %d times told", name, len(sound), told)
		require.NoError(t, disk.Remove(path))
		found, err := Load(disk, "d", anyTopic, false)
		if err == nil {
			require.Equal(t, want, topics(found.Manifest), "without %s", name)
		} else {
			require.ErrorIs(t, err, log.ErrCorrupt)
		}
		require.NoError(t, vfs.WriteFile(disk, path, sound))
	}
	// With both snapshots gone, or with a hole in the journal, what can be read is there for those who ask for it.
	require.NoError(t, disk.Remove(filepath.Join("d", File)))
	require.NoError(t, disk.Remove(filepath.Join("d", PrevFile)))
	found, err := Load(disk, "d", anyTopic, false)
	require.NoError(t, err)
	assert.False(t, found.Exists)
	assert.True(t, found.Doubtful)
	assert.Equal(t, want, topics(found.Manifest), "the journals know it all")
}

// A line that is damaged in front of a sound one is told, and by rebuild made good as far as the rest goes.
func TestStoreHoleInTheJournal(t *testing.T) {
	disk := vfs.NewMem()
	s := open(t, disk)
	for _, name := range []string{"a", "b", "c"} {
		require.NoError(t, s.Commit(created(name, 1)))
	}
	path := filepath.Join("d", JournalFile(1))
	data, err := vfs.ReadFile(disk, path, MaxBytes)
	require.NoError(t, err)
	data[bytes.IndexByte(data, '\n')+20] ^= 1
	require.NoError(t, vfs.WriteFile(disk, path, data))
	_, err = Load(disk, "d", anyTopic, false)
	require.ErrorIs(t, err, log.ErrCorrupt)
	require.ErrorContains(t, err, "changes 3 to 3")
	faults, err := Faults(disk, "d", anyTopic, true)
	require.NoError(t, err)
	assert.Equal(t, []string{JournalFile(1)}, slices.Collect(maps.Keys(faults)))

	found, err := Load(disk, "d", anyTopic, true)
	require.NoError(t, err)
	assert.True(t, found.Doubtful)
	s, err = Start(disk, "d", found, false, never)
	require.NoError(t, err)
	assert.Len(t, s.Manifest().Topics, 2)
	s.Close()
	faults, err = Faults(disk, "d", anyTopic, true)
	require.NoError(t, err)
	assert.Empty(t, faults)
	names, err := disk.List("d")
	require.NoError(t, err)
	assert.Contains(t, names, JournalFile(1)+damagedSuffix)
}

// What a full or failing disk refuses is refused for certain, and what comes later works; only when nothing can be written any more it is not
// known what is there.
func TestStoreOnAFailingDisk(t *testing.T) {
	mem := vfs.NewMem()
	disk := vfs.NewFault(mem)
	s := open(t, disk)
	require.NoError(t, s.Commit(created("a", 1)))
	for _, rule := range []vfs.Rule{
		{Op: vfs.OpWrite, Path: journalSuffix, Err: syscall.ENOSPC, Short: 7},
		{Op: vfs.OpWrite, Path: journalSuffix, Err: syscall.EIO, Short: 70},
		{Op: vfs.OpSync, Path: journalSuffix, Err: syscall.EIO},
		{Op: vfs.OpOpen, Path: journalSuffix, Err: syscall.EMFILE},
	} {
		disk.Add(rule)
		err := s.Commit(created("b", 1))
		require.ErrorIs(t, err, rule.Err)
		assert.NotErrorIs(t, err, log.ErrUncertain)
		found, err := Load(mem, "d", anyTopic, false)
		require.NoError(t, err)
		assert.Len(t, found.Manifest.Topics, 1)
	}
	require.NoError(t, s.Commit(created("b", 1)))
	disk.Add(vfs.Rule{Op: vfs.OpSync, Count: vfs.Forever, Err: syscall.EIO})
	require.ErrorIs(t, s.Commit(created("c", 1)), log.ErrUncertain)
	require.ErrorIs(t, s.Commit(created("d", 1)), log.ErrUncertain, "nothing more is changed")
	require.ErrorIs(t, s.Fault(), log.ErrUncertain)
	disk.Clear()
	again := open(t, mem)
	_, found := again.Topic("b")
	assert.True(t, found)
	_, found = again.Topic("d")
	assert.False(t, found)
}

// A journal that outgrows its snapshot gives way to a new one, again and again, and the bytes written stay in proportion to the changes.
func TestStoreFolds(t *testing.T) {
	mem := vfs.NewMem()
	written := int64(0)
	disk := vfs.NewFault(mem, vfs.Rule{Op: vfs.OpRename, Path: tempFile, Count: vfs.Forever, Done: true, Hook: func(vfs.Op, string) { written++ }})
	s := open(t, disk)
	const n = 6000
	for i := range n {
		require.NoError(t, s.Commit(created(fmt.Sprintf("t%05d", i), 1)))
	}
	assert.Less(t, written, int64(8), "snapshots")
	assert.Greater(t, written, int64(2), "snapshots")
	names, err := mem.List("d")
	require.NoError(t, err)
	assert.Len(t, names, 4, "%v", names)
	again := open(t, mem)
	assert.Len(t, again.Manifest().Topics, n)
	require.NoError(t, mem.Remove(filepath.Join("d", File)))
	again = open(t, mem)
	assert.Len(t, again.Manifest().Topics, n, "by the snapshot before and its journal")
}

// A reader beside a writer that makes new snapshots sees a catalog that was.
func TestLoadBesideAWriter(t *testing.T) {
	disk := vfs.NewMem()
	s := open(t, disk)
	require.NoError(t, s.Commit(created("a", 1)))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 300 {
			assert.NoError(t, s.Commit(created(fmt.Sprint("t", i), 1)))
			s.fold()
		}
	}()
	last := 0
	for {
		found, err := Load(disk, "d", anyTopic, false)
		require.NoError(t, err)
		require.True(t, found.Exists)
		require.GreaterOrEqual(t, len(found.Manifest.Topics), last)
		last = len(found.Manifest.Topics)
		select {
		case <-done:
			return
		default:
		}
	}
}

func TestCopy(t *testing.T) {
	disk := vfs.NewMem()
	require.NoError(t, disk.MkdirAll("p"))
	_, err := ReadCopy(disk, "p", anyTopic)
	require.Error(t, err)
	e := *created("a", 4).Create
	e.Changed = 77
	require.NoError(t, WriteCopy(disk, "p", e))
	got, err := ReadCopy(disk, "p", anyTopic)
	require.NoError(t, err)
	assert.Equal(t, e, got)
	path := filepath.Join("p", CopyFile)
	data, err := vfs.ReadFile(disk, path, MaxBytes)
	require.NoError(t, err)
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 4
		require.NoError(t, vfs.WriteFile(disk, path, bad))
		_, err := ReadCopy(disk, "p", anyTopic)
		require.ErrorIs(t, err, log.ErrCorrupt, "byte %d", i)
	}
}

func FuzzJournal(f *testing.F) {
	var sound []byte
	for i, changes := range script() {
		data, err := (&Line{Generation: uint64(i + 2), Changes: changes}).encode()
		if err != nil {
			f.Fatal(err)
		}
		sound = append(sound, data...)
	}
	f.Add(sound)
	f.Add(sound[:len(sound)-5])
	f.Add([]byte("crc32c:00000000 {}\ncrc32c:"))
	f.Fuzz(func(t *testing.T, data []byte) {
		j := parseJournal(data, anyTopic)
		st := newState(&Manifest{})
		for _, l := range j.lines {
			st.apply(l)
		}
		if int(j.end) > len(data) || j.damage != nil && !errors.Is(j.damage, log.ErrCorrupt) {
			t.Errorf("end %d of %d, %v", j.end, len(data), j.damage)
		}
	})
}

// Only an orderly stop ends a journal, an empty one too, and nothing else but one that was cut looks as if there had been none.
func TestOrderlyStopEndsTheJournal(t *testing.T) {
	disk := vfs.NewMem()
	unended := func() bool {
		found, err := Load(disk, "d", anyTopic, false)
		require.NoError(t, err)
		return found.Unended
	}
	s := open(t, disk)
	assert.True(t, unended(), "no stop yet")
	s.Close()
	assert.False(t, unended(), "stopped with an empty journal")
	s = open(t, disk)
	require.NoError(t, s.Commit(created("a", 1)))
	assert.True(t, unended())
	s.fold()
	s.Close()
	assert.False(t, unended(), "stopped behind a new snapshot")
	require.NoError(t, vfs.WriteFile(disk, filepath.Join("d", File), []byte("rot")))
	assert.True(t, unended(), "another snapshot than the newest")
}

// An entry that was taken from a copy may be newer than all that is left of the manifest: changes to come are newer still.
func TestStartGoesOnAboveEveryEntry(t *testing.T) {
	disk := vfs.NewMem()
	require.NoError(t, disk.MkdirAll("d"))
	entry := *created("a", 1).Create
	entry.Changed = 50
	s, err := Start(disk, "d", &Found{Manifest: &Manifest{Topics: []Topic{entry}}}, true, never)
	require.NoError(t, err)
	require.NoError(t, s.Commit(altered("a", 1, "2")))
	now, _ := s.Topic("a")
	assert.Greater(t, now.Changed, entry.Changed)
}

// What a snapshot says of a topic is encoded when the topic is changed: a snapshot has nothing left to encode, and is that of the whole manifest.
func TestSnapshotIsEncodedBefore(t *testing.T) {
	disk := vfs.NewMem()
	s := open(t, disk)
	same := func() {
		t.Helper()
		for name, e := range s.st.topics {
			assert.Same(t, e, s.lines[name].entry, name)
		}
		want, err := s.Manifest().encode()
		require.NoError(t, err)
		generation, data, err := s.snapshot()
		require.NoError(t, err)
		assert.Equal(t, string(want), string(data))
		assert.Equal(t, s.Manifest().Generation, generation)
		assert.Len(t, s.lines, len(s.st.topics))
	}
	for _, changes := range append(script(), []Change{{Delete: "a"}}) {
		require.NoError(t, s.Commit(changes...))
		same()
	}
	s.Close()
	s = open(t, disk)
	same()
	s.lines["a"] = encoded{&Topic{}, []byte("of an earlier entry")}
	_, data, err := s.snapshot()
	require.NoError(t, err)
	_, err = Decode(data, anyTopic)
	require.NoError(t, err)
}

// Of changes that are made together only the one that leads waits for a new snapshot.
func TestChangesDoNotWaitForASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		open(t, mem).Close()
		disk := vfs.NewFault(mem)
		s := open(t, disk)
		line, snapshot := make(chan struct{}), make(chan struct{})
		disk.Add(vfs.Rule{Op: vfs.OpSync, Path: "*.journal", Hook: func(vfs.Op, string) { <-line }, Done: true},
			vfs.Rule{Op: vfs.OpSync, Path: tempFile, Hook: func(vfs.Op, string) { <-snapshot }, Done: true})
		var done atomic.Int32
		var wg sync.WaitGroup
		commit := func(name string) {
			wg.Go(func() {
				assert.NoError(t, s.Commit(created(name, 1)))
				done.Add(1)
			})
			synctest.Wait()
		}
		commit("a")
		for _, name := range []string{"b", "c", "d"} {
			commit(name)
		}
		s.limit = 250 // more than the first line, less than both
		close(line)
		synctest.Wait()
		assert.EqualValues(t, 3, done.Load(), "all but the one that makes the snapshot")
		close(snapshot)
		wg.Wait()
		assert.Zero(t, s.size, "a new journal")
	})
}
