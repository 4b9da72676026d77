package group

import "github.com/quirelog/quire/group/assignor"

// expiryBound is what a machine knows of the time at which expire might find something, and of what group that holds.
type expiryBound struct {
	known bool
	of    standing
	at    int64 // milliseconds since 1970; -1 never
}

// standing is what of a group says which of its offsets may expire, beside the offsets and what members subscribe to.
type standing struct {
	born       uint64
	state      State
	generation int32
	members    bool
}

func (m *machine) standing() standing {
	switch {
	case m.classic != nil:
		return standing{m.classic.born, m.classic.state, m.classic.generation, len(m.classic.members) > 0}
	case m.server != nil:
		return standing{generation: m.server.epoch, members: len(m.server.members) > 0}
	default:
		return standing{}
	}
}

// movesExpiry tells the events that may change more of it than the standing shows. Commits and heartbeats, of which there are many, do not.
func movesExpiry(event any) bool {
	switch event.(type) {
	case CommitRequest, FetchOffsetsRequest, HeartbeatRequest, ConsumerHeartbeatRequest, stored:
		return false
	}
	return true
}

// nextExpiry is a time before which expire finds nothing, in milliseconds since 1970, if nothing is stored before; -1 when there is none. A
// commit makes it look at the committed offsets alone, whatever else the group has committed.
func (m *machine) nextExpiry() int64 {
	if of := m.standing(); !m.expiry.known || m.expiry.of != of {
		m.expiry = expiryBound{true, of, m.firstExpiry()}
	}
	return m.expiry.at
}

// firstExpiry looks at all offsets.
func (m *machine) firstExpiry() int64 {
	first := int64(-1)
	base, ok := m.expiryBase()
	if !ok {
		return first
	}
	if m.offsets.none() && m.state() == Empty {
		return 0
	}
	for key, o := range m.offsets.committed {
		if at := m.expiryOf(o, base); (first < 0 || at < first) && !m.subscribedTo(key.Topic) {
			first = at
		}
	}
	return first
}

// committed takes in offsets that are stored now. Of a topic that members read the bound may come early, and is looked up anew then.
func (m *machine) committed(done offsetsStored) {
	m.offsets.store(done)
	base, ok := m.expiryBase()
	if !ok || done.producerID >= 0 {
		return
	}
	for _, o := range done.offsets {
		if at := m.expiryOf(o.value, base); m.expiry.at < 0 || at < m.expiry.at {
			m.expiry.at = at
		}
	}
}

// expiryBase gives the rule by which offsets of the group expire: how the time counts from that their retention runs. While a generation is
// being made none does.
func (m *machine) expiryBase() (base func(OffsetRecord) int64, ok bool) {
	base = func(o OffsetRecord) int64 { return o.CommitTime }
	g := m.classic
	switch {
	case g == nil || g.protocolType == "":
		return base, true
	case g.state != Empty:
		return base, g.state == Stable && g.protocolType == assignor.ProtocolType
	case g.stateTime >= 0:
		return func(OffsetRecord) int64 { return g.stateTime }, true
	}
	return base, true
}

// expiryOf is when an offset expires, in milliseconds since 1970, unless something holds it: when its retention is over, of which time in
// which no engine was open is no part.
func (m *machine) expiryOf(o OffsetRecord, base func(OffsetRecord) int64) int64 {
	from, at := base(o), base(o)+m.cfg.OffsetRetention.Milliseconds()
	if o.ExpireTime >= 0 {
		from, at = o.CommitTime, o.ExpireTime
	}
	for _, d := range m.closed {
		if d.From < at && d.To > from {
			at += d.To - max(d.From, from)
		}
	}
	return at
}

// expire drops offsets by Kafka's rules. What counts is the time since the group became empty; for groups with members, and readers that
// share nothing, the time since the commit, and topics that members read do not expire. While a generation is being made nothing does. When
// the last offset of a group without members goes, the group goes.
func (m *machine) expire() {
	base, ok := m.expiryBase()
	if !ok {
		return
	}
	var keys []offsetKey
	left := len(m.offsets.pending) > 0
	for _, key := range m.offsets.keys(false) {
		over := m.now >= m.expiryOf(m.offsets.committed[key], base)
		if over && !m.subscribedTo(key.Topic) && !m.offsets.moving(key) && !m.underWay(key) {
			keys = append(keys, key)
		} else {
			left = true
		}
	}
	m.forgetOffsets(keys)
	if m.state() == Empty && !left && len(m.unsure) == 0 && !m.awaitsMembers() {
		m.deleteEmpty()
	}
}

// awaitsMembers tells whether member ids have been given out that may come back.
func (m *machine) awaitsMembers() bool { return m.classic != nil && len(m.classic.pending) > 0 }
