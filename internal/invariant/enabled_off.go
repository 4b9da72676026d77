//go:build !race && !quire_invariants

package invariant

// Enabled tells whether this build has assertions: true under -race or with the tag quire_invariants.
const Enabled = false
