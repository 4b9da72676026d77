package group

import (
	"slices"

	"github.com/quirelog/quire/group/assignor"
	"github.com/quirelog/quire/topic"
)

// offsetKey names a committed offset of the group.
type offsetKey = topic.TopicPartition

// committedOffset is an offset on its way into the table.
type committedOffset struct {
	key   offsetKey
	value OffsetRecord
}

// An offsetTable has a group's committed offsets, and those that open transactions are going to commit. The zero table is empty.
type offsetTable struct {
	committed map[offsetKey]OffsetRecord
	pending   map[int64]map[offsetKey]OffsetRecord // by producer id
}

func (t *offsetTable) none() bool { return len(t.committed) == 0 && len(t.pending) == 0 }

// store takes in what is in the log.
func (t *offsetTable) store(done offsetsStored) {
	into := &t.committed
	if done.producerID >= 0 {
		if t.pending == nil {
			t.pending = map[int64]map[offsetKey]OffsetRecord{}
		}
		list := t.pending[done.producerID]
		into = &list
		defer func() { t.pending[done.producerID] = list }()
	}
	if *into == nil {
		*into = make(map[offsetKey]OffsetRecord, len(done.offsets))
	}
	for _, o := range done.offsets {
		(*into)[o.key] = o.value
	}
}

// end ends a producer's transaction.
func (t *offsetTable) end(producerID int64, committed bool) {
	if list := t.pending[producerID]; committed && len(list) > 0 {
		if t.committed == nil {
			t.committed = make(map[offsetKey]OffsetRecord, len(list))
		}
		for key, value := range list {
			t.committed[key] = value
		}
	}
	delete(t.pending, producerID)
}

func (t *offsetTable) forget(keys []offsetKey) {
	for _, key := range keys {
		delete(t.committed, key)
		for _, list := range t.pending {
			delete(list, key)
		}
	}
}

// moving tells whether an open transaction is going to move the offset.
func (t *offsetTable) moving(key offsetKey) bool {
	for _, list := range t.pending {
		if _, ok := list[key]; ok {
			return true
		}
	}
	return false
}

// keys lists the committed offsets in order; with pending also those open transactions are going to commit.
func (t *offsetTable) keys(pending bool) []offsetKey {
	var keys []offsetKey
	for key := range t.committed {
		keys = append(keys, key)
	}
	if pending {
		for _, list := range t.pending {
			for key := range list {
				keys = append(keys, key)
			}
		}
	}
	slices.SortFunc(keys, topic.TopicPartition.Compare)
	return slices.Compact(keys)
}

// underWay tells whether a commit of the offset is being stored. What is deleted must count it in, and it must not expire.
func (m *machine) underWay(key offsetKey) bool {
	for _, u := range m.unsure {
		if then, ok := u.then.(offsetsStored); ok &&
			slices.ContainsFunc(then.offsets, func(o committedOffset) bool { return o.key == key }) {
			return true
		}
	}
	return false
}

// allKeys lists every offset there is or will be when what is being stored is.
func (m *machine) allKeys() []offsetKey {
	keys := m.offsets.keys(true)
	for _, u := range m.unsure {
		if then, ok := u.then.(offsetsStored); ok {
			for _, o := range then.offsets {
				keys = append(keys, o.key)
			}
		}
	}
	slices.SortFunc(keys, topic.TopicPartition.Compare)
	return slices.Compact(keys)
}

// commit is OffsetCommit and TxnOffsetCommit.
func (m *machine) commit(req CommitRequest) {
	if err := m.mayCommit(req); err != nil {
		m.answer(m.call, CommitResponse{}.refused(err))
		return
	}
	if g := m.classic; g != nil && req.ProducerID < 0 && (g.state == Stable || g.state == PreparingRebalance) {
		if member := g.member(req.MemberID); member != nil {
			m.restartSession(member)
		}
	}
	r := CommitResponse{Offsets: make([]PartitionOffset, 0, len(req.Offsets))}
	done := offsetsStored{producerID: req.ProducerID}
	for _, o := range req.Offsets {
		switch {
		case len(o.Metadata) > m.cfg.MaxMetadata:
			o.Err = ErrMetadataTooLarge
		default:
			o.Err = nil
			value := OffsetRecord{Offset: o.Offset, LeaderEpoch: o.LeaderEpoch, Metadata: o.Metadata, CommitTime: m.now, ExpireTime: -1}
			done.offsets = append(done.offsets, committedOffset{o.TopicPartition, value})
			m.store(RecordKey{Kind: KeyOffset, Topic: o.Topic, Partition: o.Partition}, value)
		}
		r.Offsets = append(r.Offsets, o)
	}
	if len(done.offsets) > 0 {
		m.then = done
	}
	m.answer(m.call, r)
}

// mayCommit refuses a commit from somebody who is not, or no longer, entitled to it.
func (m *machine) mayCommit(req CommitRequest) error {
	inTxn := req.ProducerID >= 0
	g := m.classic
	switch {
	case m.name == "":
		return ErrInvalidGroupID
	case m.server != nil:
		return m.mayCommitServer(req, inTxn)
	case g == nil:
		switch {
		case req.Generation < 0: // a reader that shares nothing
			return nil
		case inTxn:
			return ErrIllegalGeneration
		default:
			return ErrGroupNotFound
		}
	case req.Generation < 0 && g.state == Empty:
		return nil
	case req.Generation >= 0 || req.MemberID != "" || req.InstanceID != "":
		if err := g.check(req.MemberID, req.InstanceID); err != nil {
			return err
		}
		if req.Generation != g.generation {
			return ErrIllegalGeneration
		}
	case !inTxn && g.state != Empty:
		return ErrUnknownMember
	}
	if !inTxn && g.state == CompletingRebalance {
		return ErrRebalanceInProgress
	}
	return nil
}

// fetchOffsets is OffsetFetch. A group that is not there has committed nothing, which is no error.
func (m *machine) fetchOffsets(req FetchOffsetsRequest) {
	if m.server != nil && (req.MemberID != "" || req.Epoch >= 0) {
		member := m.server.member(req.MemberID)
		err := error(ErrUnknownMember)
		if member != nil {
			err = member.checkEpoch(req.Epoch)
		}
		if err != nil {
			m.answer(m.call, FetchOffsetsResponse{}.refused(err))
			return
		}
	}
	keys := req.Partitions
	if keys == nil {
		keys = m.offsets.keys(false)
	}
	r := FetchOffsetsResponse{Offsets: make([]PartitionOffset, 0, len(keys))}
	for _, key := range keys {
		o := PartitionOffset{TopicPartition: key, Offset: -1, LeaderEpoch: -1}
		switch value, ok := m.offsets.committed[key]; {
		case req.Stable && m.offsets.moving(key):
			o.Err = ErrUnstableOffset
		case ok:
			o.Offset, o.LeaderEpoch, o.Metadata = value.Offset, value.LeaderEpoch, value.Metadata
		}
		r.Offsets = append(r.Offsets, o)
	}
	m.answer(m.call, r)
}

// subscribedTo tells whether members of the group read the topic.
func (m *machine) subscribedTo(name string) bool {
	switch {
	case m.classic != nil:
		return m.classic.subscribedTo(name)
	case m.server != nil:
		return m.server.subscribedTo(name)
	default:
		return false
	}
}

// deleteOffsets is OffsetDelete.
func (m *machine) deleteOffsets(req DeleteOffsetsRequest) {
	switch g := m.classic; {
	case m.state() == Dead:
		m.answer(m.call, DeleteOffsetsResponse{}.refused(ErrGroupNotFound))
		return
	case g != nil && g.state != Empty && g.protocolType != assignor.ProtocolType:
		m.answer(m.call, DeleteOffsetsResponse{}.refused(ErrNonEmptyGroup))
		return
	}
	var r DeleteOffsetsResponse
	var keys []offsetKey
	for _, key := range req.Partitions {
		p := PartitionError{TopicPartition: key}
		_, known := m.offsets.committed[key]
		switch {
		case m.subscribedTo(key.Topic):
			p.Err = ErrSubscribedToTopic
		case known || m.offsets.moving(key) || m.underWay(key):
			keys = append(keys, key)
		}
		r.Partitions = append(r.Partitions, p)
	}
	m.forgetOffsets(keys)
	m.answer(m.call, r)
}

// forgetOffsets takes offsets back, in the log first.
func (m *machine) forgetOffsets(keys []offsetKey) {
	for _, key := range keys {
		m.store(RecordKey{Kind: KeyOffset, Topic: key.Topic, Partition: key.Partition}, nil)
	}
	if len(keys) > 0 {
		m.then = offsetsForgotten{keys}
	}
}

// forgetTopic takes back the offsets of a topic that is gone.
func (m *machine) forgetTopic(name string) {
	m.forgetOffsets(slices.DeleteFunc(m.allKeys(), func(key offsetKey) bool { return key.Topic != name }))
}

// deleteGroup is DeleteGroups for this one.
func (m *machine) deleteGroup() {
	var err error
	switch m.state() {
	case Dead:
		err = ErrGroupNotFound
	case Empty:
		m.forgetOffsets(m.allKeys())
		m.deleteEmpty()
	default:
		err = ErrNonEmptyGroup
	}
	m.answer(m.call, DeleteGroupResponse{err})
}

// deleteEmpty removes a group without members.
func (m *machine) deleteEmpty() {
	switch {
	case m.classic != nil:
		m.stopAllTimers()
		m.store(RecordKey{Kind: KeyGroup}, nil)
		m.classic = nil
	case m.server != nil:
		m.deleteServer()
	}
}
