package topictest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/quirelog/quire/topic"
)

// Records reads everything that is in a topic now, as readers see it: partition after partition, each in order. It
// does not wait.
func Records(t testing.TB, from *topic.Topic) []*topic.Record {
	t.Helper()
	var list []*topic.Record
	for rec, err := range from.Read(context.Background(), topic.FromStart(), topic.UntilEnd()) {
		if err != nil {
			t.Fatalf("topictest: reading %s: %v", from.Name(), err)
		}
		list = append(list, rec)
	}
	slices.SortStableFunc(list, func(a, b *topic.Record) int { return int(a.Partition) - int(b.Partition) })
	return list
}

// Await waits until n records have come, at most for the given time, and returns them as Records does: for code under
// test that appends in goroutines of its own. Inside a bubble, synctest.Wait and Records need no time limit.
func Await(t testing.TB, from *topic.Topic, n int, within time.Duration) []*topic.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	var list []*topic.Record
	if n <= 0 {
		return list
	}
	for rec, err := range from.Read(ctx, topic.FromStart()) {
		if err != nil {
			t.Fatalf("topictest: reading %s: %v", from.Name(), err)
		}
		if list = append(list, rec); len(list) == n {
			break
		}
	}
	if len(list) < n {
		t.Fatalf("topictest: %s has %d records after %v, want %d:\n%s", from.Name(), len(list), within, n, show(list, describe))
	}
	slices.SortStableFunc(list, func(a, b *topic.Record) int { return int(a.Partition) - int(b.Partition) })
	return list
}

// RequireKeys fails the test unless the topic holds records with exactly these keys. A record without a key counts as
// "<nil>". In a topic of one partition they are compared in order; with several, whose records have no order between
// them, as a set in which each counts as often as it comes.
func RequireKeys(t testing.TB, in *topic.Topic, keys ...string) {
	t.Helper()
	require(t, in, "keys", keys, func(r *topic.Record) string { return text(r.Key) })
}

// RequireValues is RequireKeys for values.
func RequireValues(t testing.TB, in *topic.Topic, values ...string) {
	t.Helper()
	require(t, in, "values", values, func(r *topic.Record) string { return text(r.Value) })
}

// RequireRecords fails the test unless the topic holds exactly these records: keys, values and headers are compared,
// and the time where the wanted one is not zero; offsets and partitions are not. For the order see [RequireKeys].
func RequireRecords(t testing.TB, in *topic.Topic, want ...topic.Record) {
	t.Helper()
	got := Records(t, in)
	left := slices.Clone(got)
	ordered := in.Partitions() == 1
	for i := range want {
		at := slices.IndexFunc(left, func(r *topic.Record) bool { return same(r, &want[i]) })
		if at < 0 || ordered && at > 0 {
			fail(t, in, "records", show(pointers(want), describe), show(got, describe))
			return
		}
		left = slices.Delete(left, at, at+1)
	}
	if len(left) > 0 {
		fail(t, in, "records", show(pointers(want), describe), show(got, describe))
	}
}

func require(t testing.TB, in *topic.Topic, what string, want []string, of func(*topic.Record) string) {
	t.Helper()
	list := Records(t, in)
	got := make([]string, len(list))
	for i, r := range list {
		got[i] = of(r)
	}
	want = slices.Clone(want)
	if in.Partitions() > 1 {
		slices.Sort(got)
		slices.Sort(want)
	}
	if !slices.Equal(want, got) {
		fail(t, in, what, show(want, strconv.Quote), show(got, strconv.Quote))
	}
}

func fail(t testing.TB, in *topic.Topic, what, want, got string) {
	t.Helper()
	t.Fatalf("topictest: %s does not hold these %s.\nwant:\n%sgot:\n%s", in.Name(), what, want, got)
}

// same compares what a wanted record says.
func same(got, want *topic.Record) bool {
	return sameBytes(got.Key, want.Key) && sameBytes(got.Value, want.Value) &&
		slices.EqualFunc(got.Headers, want.Headers, func(a, b topic.Header) bool { return a.Key == b.Key && sameBytes(a.Value, b.Value) }) &&
		(want.Time.IsZero() || want.Time.Truncate(time.Millisecond).Equal(got.Time))
}

// sameBytes tells null from empty, as a topic does.
func sameBytes(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }

func text(b []byte) string {
	if b == nil {
		return "<nil>"
	}
	return string(b)
}

func pointers(list []topic.Record) []*topic.Record {
	all := make([]*topic.Record, len(list))
	for i := range list {
		all[i] = &list[i]
	}
	return all
}

func describe(r *topic.Record) string {
	line := fmt.Sprintf("key %q value %q", text(r.Key), text(r.Value))
	for _, h := range r.Headers {
		line += fmt.Sprintf(" %s=%q", h.Key, text(h.Value))
	}
	if !r.Time.IsZero() {
		line += " at " + r.Time.UTC().Format(time.RFC3339Nano)
	}
	return line
}

// maxShown bounds a failure's text.
const maxShown = 50

// show is a list with one element a line.
func show[T any](list []T, line func(T) string) string {
	var b strings.Builder
	for i, v := range list {
		if i == maxShown {
			fmt.Fprintf(&b, "\t... and %d more\n", len(list)-i)
			break
		}
		fmt.Fprintf(&b, "\t%s\n", line(v))
	}
	if len(list) == 0 {
		b.WriteString("\tnothing\n")
	}
	return b.String()
}
