package catalog

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// PartitionSet is a set of partition numbers as ascending ranges, first and last, with gaps between them. Its text form is "0-3,7". A set
// is not changed once it is made.
type PartitionSet [][2]int32

// Range is the set of the numbers from first up to next, without next.
func Range(first, next int) PartitionSet {
	if first >= next {
		return nil
	}
	return PartitionSet{{int32(first), int32(next - 1)}}
}

// find gives the first range that ends at n or behind it.
func (s PartitionSet) find(n int32) int {
	i, _ := slices.BinarySearchFunc(s, n, func(r [2]int32, n int32) int { return int(r[1]) - int(n) })
	return i
}

// Has tells whether n is in the set.
func (s PartitionSet) Has(n int32) bool {
	i := s.find(n)
	return i < len(s) && s[i][0] <= n
}

// Without is the set without n.
func (s PartitionSet) Without(n int32) PartitionSet {
	if !s.Has(n) {
		return s
	}
	i := s.find(n)
	var parts [][2]int32
	if s[i][0] < n {
		parts = append(parts, [2]int32{s[i][0], n - 1})
	}
	if n < s[i][1] {
		parts = append(parts, [2]int32{n + 1, s[i][1]})
	}
	if len(s) == 1 && parts == nil {
		return nil
	}
	return slices.Concat(s[:i], parts, s[i+1:])
}

// With is the set and behind it the numbers from first up to next.
func (s PartitionSet) With(first, next int) PartitionSet {
	if first >= next {
		return s
	}
	if n := len(s); n > 0 && int(s[n-1][1]) == first-1 {
		return slices.Concat(s[:n-1], PartitionSet{{s[n-1][0], int32(next - 1)}})
	}
	return slices.Concat(s, Range(first, next))
}

// Covers tells whether all numbers below n are in the set.
func (s PartitionSet) Covers(n int) bool { return int(s.FirstMissing()) >= n }

// FirstMissing is the lowest number that is not in the set.
func (s PartitionSet) FirstMissing() int32 {
	if len(s) > 0 && s[0][0] == 0 {
		return s[0][1] + 1
	}
	return 0
}

// MarshalText gives the text form.
func (s PartitionSet) MarshalText() ([]byte, error) {
	var b []byte
	for i, r := range s {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(r[0]), 10)
		if r[1] != r[0] {
			b = strconv.AppendInt(append(b, '-'), int64(r[1]), 10)
		}
	}
	return b, nil
}

// UnmarshalText reads the text form, and only what MarshalText gives.
func (s *PartitionSet) UnmarshalText(text []byte) error {
	var set PartitionSet
	for part := range strings.SplitSeq(string(text), ",") {
		low, high, _ := strings.Cut(part, "-")
		first, err := strconv.ParseInt(low, 10, 32)
		last := first
		if err == nil && high != "" {
			last, err = strconv.ParseInt(high, 10, 32)
		}
		if n := len(set); err != nil || first < 0 || last < first || n > 0 && int32(first) <= set[n-1][1]+1 {
			return fmt.Errorf("set of partitions %q", clip(string(text)))
		}
		set = append(set, [2]int32{int32(first), int32(last)})
	}
	if again, _ := set.MarshalText(); string(again) != string(text) {
		return fmt.Errorf("set of partitions %q", clip(string(text)))
	}
	*s = set
	return nil
}

// below tells whether all numbers are below n.
func (s PartitionSet) below(n int) bool { return len(s) == 0 || int(s[len(s)-1][1]) < n }

// clip shortens what is shown of foreign text.
func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "..."
	}
	return s
}
