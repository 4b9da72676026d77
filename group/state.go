package group

import (
	"fmt"
	"slices"
	"time"

	"github.com/quirelog/quire/group/assignor"
	"github.com/quirelog/quire/internal/invariant"
	"github.com/quirelog/quire/topic"
)

// State is where a group stands. Its text is Kafka's.
type State uint8

// The states. A group of the classic protocol is Empty, PreparingRebalance, CompletingRebalance or Stable; one of the server-side protocol
// Empty, Assigning, Reconciling or Stable. Dead is a group that does not exist.
const (
	Dead State = iota
	Empty
	PreparingRebalance
	CompletingRebalance
	Stable
	Assigning
	Reconciling
)

// String is Kafka's name of the state, such as "PreparingRebalance".
func (s State) String() string {
	names := [...]string{"Dead", "Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Assigning", "Reconciling"}
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// A machine is one group: its members by either protocol, and its committed offsets. It is a pure step from a state and an event to a state
// and effects. It has no clock, goroutine, lock or file, and looks at no map in its random order; the same events always have the same
// effects. Whoever drives it
//
//   - brings every event to step, one at a time;
//   - performs the effects in their order; entries of two appends must reach the log in the order of the appends;
//   - brings stored when an append has succeeded or failed, and fired when a timer has run down, both with the numbers from the effect;
//   - after an abandon drops the machine, and makes a new one by replaying the log.
//
// Every call is answered by exactly one reply, in its own step or a later one; EndTransaction and the events below are not calls.
type machine struct {
	name string
	cfg  *Config
	meta assignor.Metadata

	classic *classicGroup // at most one of the two
	server  *serverGroup
	offsets offsetTable

	timers map[timerName]uint64 // those that run, by the number of their start
	last   uint64               // the last number given to a timer or an append
	unsure []unstored           // appends that have not been reported, in order
	broken bool                 // after an abandon
	expiry expiryBound
	closed []topic.Downtime // in which offsets do not age

	// Of the step that is running:
	now     int64 // milliseconds since 1970
	call    uint64
	out     []effect
	entries []entry
	held    []reply
	then    any
}

// newMachine makes a group that does not exist yet. The configuration has its defaults filled in and is shared; it does not change.
func newMachine(name string, cfg *Config, meta assignor.Metadata) *machine {
	return &machine{name: name, cfg: cfg, meta: meta, timers: map[timerName]uint64{}}
}

// An entry is a record of OffsetsTopic; without a value it takes back what the key's last record said.
type entry struct {
	key   RecordKey
	value RecordValue
}

// Events that are not calls.
type (
	// stored reports an append: nil when its entries are in the log for good.
	stored struct {
		seq uint64
		err error
	}
	// fired reports that a timer has run down. One that was stopped or started again meanwhile is known by its old number and ignored.
	fired struct {
		name timerName
		seq  uint64
	}
	// metadataChanged says that topics came, went or grew.
	metadataChanged struct{ meta assignor.Metadata }
	// topicDeleted says that a topic is gone and its offsets mean nothing.
	topicDeleted struct{ topic string }
	// expire asks to drop offsets that have been unused for long enough, and the group with the last of them. Time in which no engine was
	// open does not count.
	expire struct{ closed []topic.Downtime }
	// opened ends the replay of the log: the sessions of members begin anew.
	opened struct{ closed []topic.Downtime }
	// disowned begins the session of a member of this process.
	disowned struct{ member string }
)

// An effect is what the driver is to do.
type effect interface{ effect() }

type (
	// reply answers a call.
	reply struct {
		call   uint64
		answer answer
	}
	// appendEntries stores entries, together, and reports with stored.
	appendEntries struct {
		seq     uint64
		entries []entry
	}
	// startTimer starts a timer, or starts it again.
	startTimer struct {
		name  timerName
		seq   uint64
		after time.Duration
	}
	// stopTimer stops a timer that runs.
	stopTimer struct{ name timerName }
	// abandon gives the machine up: what is in memory may not be what is in the log.
	abandon struct{}
)

func (reply) effect()         {}
func (appendEntries) effect() {}
func (startTimer) effect()    {}
func (stopTimer) effect()     {}
func (abandon) effect()       {}

type timerKind uint8

const (
	timerSession     timerKind = iota // of a member: it was silent for too long
	timerJoin                         // of the classic group: the wait for members to join is over
	timerSync                         // of the classic group: the wait for members to sync is over
	timerRevoke                       // of a member: it did not let go of partitions in time
	timerMemberJoin                   // of a classic member in a server-side group: it did not join again
	timerMemberSync                   // of such a member: it joined and did not sync
	timerKindsBehind                  // how many kinds there are
)

// timerName names a timer of one group; member is "" for one of the whole group.
type timerName struct {
	kind   timerKind
	member string
}

// unstored is an append on its way: the replies that wait for it and what follows when it has succeeded.
type unstored struct {
	seq     uint64
	replies []reply
	then    any
}

// What follows an append that has succeeded.
type (
	// assignmentStored: the leader's assignment may go out, if the generation is still the one.
	assignmentStored struct {
		born        uint64
		generation  int32
		assignments map[string][]byte
	}
	// offsetsStored: the offsets are committed.
	offsetsStored struct {
		producerID int64
		offsets    []committedOffset
	}
	// offsetsForgotten: the offsets are gone.
	offsetsForgotten struct{ keys []offsetKey }
)

// step is the machine. now is the time in milliseconds since 1970; call names the caller to reply to, for events that are calls.
func (m *machine) step(now int64, call uint64, event any) []effect {
	m.now, m.call = now, call
	m.out, m.entries, m.held, m.then = nil, nil, nil, nil
	if m.broken {
		m.refuseAll(event)
		return m.out
	}
	if movesExpiry(event) {
		m.expiry.known = false
	}
	m.dispatch(event)
	m.flush()
	return m.out
}

func (m *machine) dispatch(event any) {
	switch ev := event.(type) {
	case JoinRequest:
		m.join(ev)
	case SyncRequest:
		m.sync(ev)
	case HeartbeatRequest:
		m.heartbeat(ev)
	case LeaveRequest:
		m.leave(ev)
	case ConsumerHeartbeatRequest:
		m.consumerHeartbeat(ev)
	case CommitRequest:
		m.commit(ev)
	case FetchOffsetsRequest:
		m.fetchOffsets(ev)
	case EndTransaction:
		m.offsets.end(ev.ProducerID, ev.Committed)
	case DeleteOffsetsRequest:
		m.deleteOffsets(ev)
	case DeleteGroupRequest:
		m.deleteGroup()
	default:
		m.dispatchOther(event)
	}
}

func (m *machine) dispatchOther(event any) {
	switch ev := event.(type) {
	case stored:
		m.appended(ev)
	case fired:
		m.timerFired(ev)
	case metadataChanged:
		m.meta = ev.meta
		if m.server != nil {
			m.server.refresh = true
		}
	case topicDeleted:
		m.forgetTopic(ev.topic)
	case expire:
		m.closed = ev.closed
		m.expire()
	case opened:
		m.closed = ev.closed
		m.opened()
	case disowned:
		m.disown(ev.member)
	default:
		invariant.Check(false, "group: unknown event %T", event)
	}
}

// refuseAll answers calls to a machine that was given up.
func (m *machine) refuseAll(event any) {
	var a answer
	switch event.(type) {
	case JoinRequest:
		a = JoinResponse{}
	case SyncRequest:
		a = SyncResponse{}
	case HeartbeatRequest:
		a = HeartbeatResponse{}
	case LeaveRequest:
		a = LeaveResponse{}
	case ConsumerHeartbeatRequest:
		a = ConsumerHeartbeatResponse{}
	case CommitRequest:
		a = CommitResponse{}
	case FetchOffsetsRequest:
		a = FetchOffsetsResponse{}
	case DeleteOffsetsRequest:
		a = DeleteOffsetsResponse{}
	case DeleteGroupRequest:
		a = DeleteGroupResponse{}
	default:
		return
	}
	m.out = append(m.out, reply{m.call, a.refused(ErrNotAvailable)})
}

// answer replies to a call. If the step stores something the reply waits for that, so that nobody is told what a crash could take back.
func (m *machine) answer(call uint64, a answer) { m.held = append(m.held, reply{call, a}) }

// store adds an entry to what this step appends.
func (m *machine) store(key RecordKey, value RecordValue) {
	key.Group = m.name
	m.entries = append(m.entries, entry{key, value})
}

// flush ends a step: replies go out, or wait for the entries.
func (m *machine) flush() {
	if g := m.classic; g != nil && g.state == Empty && g.generation == 0 && len(g.members)+len(g.pending) == 0 {
		m.classic = nil // nobody got in, and nothing of it is stored
	}
	if len(m.entries) == 0 {
		for _, r := range m.held {
			m.out = append(m.out, r)
		}
		invariant.Check(m.then == nil, "group: something waits for nothing")
		return
	}
	m.last++
	m.unsure = append(m.unsure, unstored{m.last, m.held, m.then})
	m.out = append(m.out, appendEntries{m.last, m.entries})
}

// appended goes on where an append was waited for.
func (m *machine) appended(ev stored) {
	if len(m.unsure) == 0 || m.unsure[0].seq != ev.seq {
		invariant.Check(false, "group: append %d reported out of order", ev.seq)
		return
	}
	if ev.err != nil {
		m.abandon(ev.err)
		return
	}
	done := m.unsure[0]
	m.unsure = slices.Delete(m.unsure, 0, 1)
	for _, r := range done.replies {
		m.out = append(m.out, r)
	}
	switch then := done.then.(type) {
	case assignmentStored:
		m.assignmentStored(then)
	case offsetsStored:
		m.committed(then)
	case offsetsForgotten:
		m.offsets.forget(then.keys)
		m.expiry.known = false
	}
}

// abandon answers everybody who waits. What was to be stored may be in the log or not, so memory is no longer to be trusted.
func (m *machine) abandon(cause error) {
	why := fmt.Errorf("%w: %w", ErrNotAvailable, cause)
	for _, u := range m.unsure {
		for _, r := range u.replies {
			m.out = append(m.out, reply{r.call, r.answer.refused(why)})
		}
	}
	if m.classic != nil {
		for _, member := range m.classic.members {
			m.endJoin(member, JoinResponse{MemberID: member.id}.refused(why))
			m.endSync(member, SyncResponse{}.refused(why))
		}
	}
	for _, r := range m.held {
		m.out = append(m.out, r)
	}
	m.held = nil
	m.stopAllTimers()
	m.unsure, m.broken = nil, true
	m.out = append(m.out, abandon{})
}

func (m *machine) startTimer(kind timerKind, member string, after time.Duration) {
	m.last++
	name := timerName{kind, member}
	m.timers[name] = m.last
	m.out = append(m.out, startTimer{name, m.last, after})
}

func (m *machine) stopTimer(kind timerKind, member string) {
	name := timerName{kind, member}
	if _, runs := m.timers[name]; runs {
		delete(m.timers, name)
		m.out = append(m.out, stopTimer{name})
	}
}

// stopTimersOf stops all of a member's timers.
func (m *machine) stopTimersOf(member string) {
	for kind := range timerKindsBehind {
		m.stopTimer(kind, member)
	}
}

func (m *machine) stopAllTimers() {
	names := make([]timerName, 0, len(m.timers))
	for name := range m.timers {
		names = append(names, name)
	}
	slices.SortFunc(names, compareTimers)
	for _, name := range names {
		m.stopTimer(name.kind, name.member)
	}
}

func (m *machine) timerFired(ev fired) {
	if m.timers[ev.name] != ev.seq {
		return
	}
	delete(m.timers, ev.name)
	switch {
	case m.classic != nil:
		m.classicTimer(ev.name)
	case m.server != nil:
		m.serverTimer(ev.name)
	}
}

// state is the group's, for those who list groups.
func (m *machine) state() State {
	switch {
	case m.classic != nil:
		return m.classic.state
	case m.server != nil:
		return m.server.state()
	case !m.offsets.none():
		return Empty // offsets of readers that share nothing
	default:
		return Dead
	}
}

// unused tells whether nothing of the group is left, so that the driver may drop the machine.
func (m *machine) unused() bool {
	return m.classic == nil && m.server == nil && m.offsets.none() && len(m.unsure) == 0
}
