package group

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quirelog/quire/group/assignor"
	"github.com/quirelog/quire/topic"
)

// A driver performs a machine's effects: a log in memory, a clock that the test moves, timers that fire when it does.
type driver struct {
	t       *testing.T
	m       *machine
	now     time.Duration
	calls   uint64
	answers map[uint64]answer
	timers  map[timerName]armed
	log     []entry
	queue   []appendEntries // not reported yet, when slow
	slow    bool            // appends are reported by the test
	dead    bool            // abandoned
}

type armed struct {
	seq uint64
	due time.Duration
}

func drive(t *testing.T, cfg Config, meta assignor.Metadata) *driver {
	cfg = cfg.withDefaults()
	return &driver{
		t: t, m: newMachine("g", &cfg, meta), now: time.Hour, answers: map[uint64]answer{}, timers: map[timerName]armed{},
	}
}

// send brings an event and returns its call's number.
func (d *driver) send(event any) uint64 {
	d.calls++
	call := d.calls
	d.perform(d.m.step(d.now.Milliseconds(), call, event))
	return call
}

func (d *driver) perform(effects []effect) {
	for _, e := range effects {
		switch e := e.(type) {
		case reply:
			require.NotContains(d.t, d.answers, e.call, "answered twice")
			d.answers[e.call] = e.answer
		case appendEntries:
			d.queue = append(d.queue, e)
		case startTimer:
			d.timers[e.name] = armed{e.seq, d.now + e.after}
		case stopTimer:
			require.Contains(d.t, d.timers, e.name)
			delete(d.timers, e.name)
		case abandon:
			d.dead = true
		}
	}
	for len(d.queue) > 0 && !d.slow {
		d.report(nil)
	}
}

// said is what a call is answered, also while that waits to be stored.
func (d *driver) said(call uint64) answer {
	for _, u := range d.m.unsure {
		for _, r := range u.replies {
			if r.call == call {
				return r.answer
			}
		}
	}
	return d.answers[call]
}

// report reports the oldest append.
func (d *driver) report(err error) {
	e := d.queue[0]
	d.queue = d.queue[1:]
	if err == nil {
		d.log = append(d.log, e.entries...)
	}
	d.perform(d.m.step(d.now.Milliseconds(), 0, stored{e.seq, err}))
}

// wait lets time pass, timers firing in order.
func (d *driver) wait(after time.Duration) {
	end := d.now + after
	for {
		var next timerName
		found := false
		for name, a := range d.timers {
			if a.due <= end && (!found || cmp.Or(cmp.Compare(a.due, d.timers[next].due), compareTimers(name, next)) < 0) {
				next, found = name, true
			}
		}
		if !found {
			break
		}
		a := d.timers[next]
		delete(d.timers, next)
		d.now = a.due
		d.perform(d.m.step(d.now.Milliseconds(), 0, fired{next, a.seq}))
	}
	d.now = end
}

// reopen makes the machine anew from the log, its records having been bytes in between.
func (d *driver) reopen() {
	meta, cfg := d.m.meta, d.m.cfg
	d.m, d.timers = newMachine("g", cfg, meta), map[timerName]armed{}
	for _, e := range d.log {
		key, err := ParseRecordKey(AppendRecordKey(nil, e.key))
		require.NoError(d.t, err)
		var value RecordValue
		if e.value != nil {
			value, err = ParseRecordValue(key.Kind, AppendRecordValue(nil, e.value))
			require.NoError(d.t, err)
		}
		d.m.replay(key, value, -1)
	}
	d.perform(d.m.step(d.now.Milliseconds(), 0, opened{}))
}

// now is the answer to a call, which must have come.
func answered[A answer](d *driver, call uint64) A {
	d.t.Helper()
	a, ok := d.answers[call].(A)
	require.True(d.t, ok, "call %d was answered with %T", call, d.answers[call])
	return a
}

func ask[A answer](d *driver, event any) A {
	d.t.Helper()
	return answered[A](d, d.send(event))
}

// refusedWith asks for an answer's error.
func (d *driver) refusedWith(want error, event any) {
	d.t.Helper()
	call := d.send(event)
	a := d.answers[call]
	require.NotNil(d.t, a, "no answer to %T", event)
	err := errorOf(a)
	require.True(d.t, errors.Is(err, want), "want %v, got %v", want, err)
}

func errorOf(a answer) error {
	switch a := a.(type) {
	case JoinResponse:
		return a.Err
	case SyncResponse:
		return a.Err
	case HeartbeatResponse:
		return a.Err
	case LeaveResponse:
		return a.Err
	case ConsumerHeartbeatResponse:
		return a.Err
	case CommitResponse:
		return a.Err
	case FetchOffsetsResponse:
		return a.Err
	case DeleteOffsetsResponse:
		return a.Err
	case DeleteGroupResponse:
		return a.Err
	default:
		return fmt.Errorf("unexpected %T", a)
	}
}

// abc is topic metadata with as many partitions as given.
func abc(sizes ...int32) assignor.Metadata {
	meta := assignor.Metadata{}
	for i, n := range sizes {
		meta[string(rune('a'+i))] = assignor.TopicInfo{ID: topic.ID{15: byte(i + 1)}, Partitions: n}
	}
	return meta
}

func joining(id, fresh string, topics ...string) JoinRequest {
	return JoinRequest{
		MemberID: id, ClientID: "c", ClientHost: "/h", SessionTimeout: 10 * time.Second, RebalanceTimeout: time.Minute, Fresh: fresh,
		ProtocolType: assignor.ProtocolType,
		Protocols:    []Protocol{{"range", assignor.AppendSubscription(nil, 1, assignor.Subscription{Topics: topics})}},
	}
}

func staticJoin(id, instance, fresh string, topics ...string) JoinRequest {
	req := joining(id, fresh, topics...)
	req.InstanceID, req.SkipsAssignment = instance, true
	return req
}

// together makes a stable classic group of new members, and returns their ids; the first leads.
func together(d *driver, n int) []string {
	var calls []uint64
	for i := range n {
		calls = append(calls, d.send(joining("", fmt.Sprint(i), "a")))
	}
	d.wait(3 * time.Second)
	if n > 1 {
		d.wait(3 * time.Second)
	}
	ids := make([]string, n)
	for i, call := range calls {
		r := answered[JoinResponse](d, call)
		require.NoError(d.t, r.Err)
		ids[i] = r.MemberID
	}
	syncAll(d, ids)
	return ids
}

// syncAll brings everybody's sync; the first member of the group's leader assigns each member its own name.
func syncAll(d *driver, ids []string) {
	g := d.m.classic
	given := map[string][]byte{}
	for _, id := range ids {
		given[id] = []byte("for " + id)
	}
	order := slices.Clone(ids)
	slices.SortFunc(order, func(a, b string) int { // the leader last: the others wait for it
		return cmp.Compare(b2i(a == g.leader), b2i(b == g.leader))
	})
	var calls []uint64
	for _, id := range order {
		req := SyncRequest{MemberID: id, Generation: g.generation, ProtocolType: assignor.ProtocolType, Protocol: "range"}
		if id == g.leader {
			req.Assignments = given
		}
		if m := g.member(id); m != nil {
			req.InstanceID = m.instance
		}
		calls = append(calls, d.send(req))
	}
	for i, call := range calls {
		r := answered[SyncResponse](d, call)
		require.NoError(d.t, r.Err)
		require.Equal(d.t, "for "+order[i], string(r.Assignment))
	}
}
