package vfs

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Policy says which of the changes that are not durable a power cut leaves on the
// disk. Where it leaves a choice, the seed makes it.
type Policy uint8

// The policies. "Changes" are those of data and of entries together, in the order
// they were made, the call under way last.
const (
	// KeepNone leaves what is durable and nothing else.
	KeepNone Policy = iota
	// KeepAll leaves everything, as if all had been synced.
	KeepAll
	// KeepPrefix leaves the first seed mod (Pending+1) changes.
	KeepPrefix
	// DropOne leaves all changes but number seed mod Pending.
	DropOne
	// KeepRandom leaves each change by the toss of a coin.
	KeepRandom
	// TornSectors writes each sector up to one of the writes to it, chosen by
	// chance, or not at all. Entries by chance.
	TornSectors
	// ZeroedSectors leaves each new sector past the durable length as written or
	// as zero bytes, other ones as TornSectors does; lengths are the new ones.
	ZeroedSectors
	// GarbageSectors is the same with random bytes.
	GarbageSectors
	// MixedSectors chooses among written, old, zero and garbage for each sector.
	MixedSectors
	// SizeOnly leaves all entries and the new lengths, and no data.
	SizeOnly
	// EntriesOnly leaves all changes of entries and none of data: the rename that
	// is durable before the file it names.
	EntriesOnly
	// DataOnly leaves all changes of data and none of entries.
	DataOnly
	// RandomEntries leaves all data and each change of entries by chance, so that
	// creations, removals and renames happen in any order.
	RandomEntries

	policyCount
)

func policyNames() [policyCount]string {
	return [policyCount]string{
		"none", "all", "prefix", "drop-one", "random", "torn", "zeroed", "garbage", "mixed",
		"size-only", "entries-only", "data-only", "random-entries",
	}
}

// Policies returns all policies.
func Policies() []Policy {
	all := make([]Policy, policyCount)
	for i := range all {
		all[i] = Policy(i)
	}
	return all
}

// Seeded reports whether different seeds can give different disks.
func (p Policy) Seeded() bool {
	switch p {
	case KeepNone, KeepAll, SizeOnly, EntriesOnly, DataOnly:
		return false
	}
	return true
}

// String returns the name of the policy.
func (p Policy) String() string {
	if p >= policyCount {
		return fmt.Sprintf("policy(%d)", uint8(p))
	}
	return policyNames()[p]
}

// ParsePolicy returns the policy of a name.
func ParsePolicy(name string) (Policy, error) {
	for i, s := range policyNames() {
		if s == name {
			return Policy(i), nil
		}
	}
	return 0, fmt.Errorf("vfs: no crash policy %q", name)
}

// Cut names one power cut of a scenario, so that a failure can be replayed:
// CrashAt(Op), the scenario, After(Policy, Seed).
type Cut struct {
	Op     int
	Policy Policy
	Seed   uint64
}

// String returns "op/policy/seed".
func (c Cut) String() string { return fmt.Sprintf("%d/%s/%d", c.Op, c.Policy, c.Seed) }

// ParseCut reads what String wrote.
func ParseCut(s string) (Cut, error) {
	parts := strings.Split(s, "/")
	if len(parts) != 3 {
		return Cut{}, fmt.Errorf("vfs: %q is not op/policy/seed", s)
	}
	op, err1 := strconv.Atoi(parts[0])
	policy, err2 := ParsePolicy(parts[1])
	seed, err3 := strconv.ParseUint(parts[2], 10, 64)
	if err := errors.Join(err1, err2, err3); err != nil {
		return Cut{}, fmt.Errorf("vfs: cut %q: %w", s, err)
	}
	return Cut{op, policy, seed}, nil
}
