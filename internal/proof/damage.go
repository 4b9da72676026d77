package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/quirelog/quire/log/vfs"
)

// runDamage does to each file of a closed directory what people, bad disks and
// backups do. The oracle is that of the bits: an error, or exactly the same.
func runDamage(r *runner, t *tally, seed uint64) {
	ref, err := buildReference(referenceBytes / 2)
	if err != nil {
		t.add(caseName{t.lane.name, "reference", "0", "none", 0}, err)
		return
	}
	names := slices.DeleteFunc(damages(ref, seed, r.count), func(c caseName) bool { return !r.only.MatchString(c.Scenario) })
	var noticed sync.Map
	pool := sync.Pool{New: func() any { return ref.fork() }}
	r.each(len(names), func(i int) {
		own := pool.Get().(*reference)
		defer pool.Put(own)
		r.try(t, names[i], func() error {
			seen, err := damageOnce(own, names[i])
			if seen {
				countIn(&noticed, names[i].Policy)
			}
			return err
		})
	})
	t.note("noticed by an error, the others read the same: %s", classSums(&noticed))
}

// damages lists the cases: the policy is what is done, Op where.
func damages(ref *reference, seed uint64, count int) []caseName {
	var all []caseName
	for i, file := range ref.files {
		add := func(policy string, at ...int64) {
			var text []string
			for _, n := range at {
				text = append(text, strconv.FormatInt(n, 10))
			}
			all = append(all, caseName{"damage", file, strings.Join(text, "."), policy, seed})
		}
		dice := rand.New(rand.NewPCG(seed, uint64(i)))
		size := ref.sizes[file]
		for _, to := range lengths(size, dice, count) {
			add("cut", to)
		}
		for range 4 * count {
			if size > 0 {
				from := dice.Int64N(size)
				add("zero", from, 1+dice.Int64N(size-from))
			}
			add("junk", 1+dice.Int64N(300))
			add("zeros", 1+dice.Int64N(600))
		}
		add("swap", int64(dice.IntN(len(ref.files))))
		add("swap", int64(sibling(ref.files, i)))
		add("remove", 0)
	}
	return all
}

// lengths are those that a file is cut to: all of a small one, some of a large one.
func lengths(size int64, dice *rand.Rand, count int) []int64 {
	var list []int64
	for n := int64(0); n < min(size, 16); n++ {
		list = append(list, n)
	}
	for range 12 * count {
		if size > 16 {
			list = append(list, 16+dice.Int64N(size-16))
		}
	}
	return list
}

// sibling is the next file of the same kind: the likeliest mix-up.
func sibling(files []string, i int) int {
	for k := 1; k < len(files); k++ {
		j := (i + k) % len(files)
		if path.Ext(files[j]) == path.Ext(files[i]) {
			return j
		}
	}
	return i
}

// damageOnce damages a copy and reads it all. noticed says that an error told of it.
func damageOnce(ref *reference, name caseName) (noticed bool, err error) {
	disk := ref.clone()
	if err := spoil(ref, disk, name); err != nil {
		return false, err
	}
	got, err := contentOf(disk, ref.want, nil)
	return judge(func() error { return got.same(ref.want) }, err)
}

// spoil does what a case's policy says.
func spoil(ref *reference, disk *vfs.Crash, name caseName) error {
	var at, n int64
	if _, err := fmt.Sscanf(name.Op, "%d.%d", &at, &n); err != nil && at == 0 && name.Op != "0" {
		return fmt.Errorf("proof: operation %q is not a number", name.Op)
	}
	file := name.Scenario
	switch name.Policy {
	case "remove":
		return disk.Remove(file)
	case "swap":
		return swap(disk, file, ref.files[at])
	case "cut":
		return change(disk, file, func(f vfs.File) error { return f.Truncate(at) })
	case "zero":
		return change(disk, file, func(f vfs.File) error { return writeAt(f, make([]byte, n), at) })
	case "zeros":
		return change(disk, file, func(f vfs.File) error { return writeAt(f, make([]byte, at), ref.sizes[file]) })
	case "junk":
		junk := make([]byte, at)
		dice := rand.New(rand.NewPCG(name.Seed, uint64(at)))
		for i := range junk {
			junk[i] = byte(dice.Uint32())
		}
		return change(disk, file, func(f vfs.File) error { return writeAt(f, junk, ref.sizes[file]) })
	}
	return unknownScenario(name)
}

func writeAt(f vfs.File, p []byte, at int64) error {
	_, err := f.WriteAt(p, at)
	return err
}

func change(disk vfs.FS, file string, do func(f vfs.File) error) error {
	f, err := disk.Open(file)
	if err != nil {
		return err
	}
	return errors.Join(do(f), f.Close())
}

// swap exchanges two files.
func swap(disk vfs.FS, a, b string) error {
	if a == b {
		return nil
	}
	tmp := "/swapped"
	return errors.Join(disk.Rename(a, tmp), disk.Rename(b, a), disk.Rename(tmp, b))
}

func replayDamage(_ *runner, c caseName) error {
	ref, err := buildReference(referenceBytes / 2)
	if err != nil {
		return err
	}
	if !slices.Contains(ref.files, c.Scenario) {
		return unknownScenario(c)
	}
	noticed, err := damageOnce(ref, c)
	fmt.Printf("noticed by an error: %v\n", noticed)
	return err
}
