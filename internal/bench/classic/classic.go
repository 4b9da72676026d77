// Package classic is a group of the classic protocol as a broker would have it: every member's calls are the coordinator's, and what
// members say to each other is made and read as bytes.
package classic

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/group/assignor"
	"github.com/quirelog/quire/topic"
)

// A Group is its members.
type Group struct {
	coord *group.Coordinator
	name  string
	how   assignor.Assignor
	meta  assignor.Metadata
	topic string
	ids   []string
	owned [][]topic.TopicPartition
	round byte
	last  int32 // generation
}

// New is a group, named after its assignor, that has not come together yet; two generations later it has.
func New(coord *group.Coordinator, how assignor.Assignor, topicName string, members, partitions int) *Group {
	return &Group{coord: coord, name: how.Name(), how: how, topic: topicName, last: assignor.NoGeneration,
		meta: assignor.Metadata{topicName: {Partitions: int32(partitions)}},
		ids:  make([]string, members), owned: make([][]topic.TopicPartition, members)}
}

// Read is how many partitions the members read together.
func (r *Group) Read() (n int) {
	for _, parts := range r.owned {
		n += len(parts)
	}
	return n
}

// Heartbeat is member i's.
func (r *Group) Heartbeat(ctx context.Context, i int) error {
	return r.coord.Heartbeat(ctx, r.name, group.HeartbeatRequest{MemberID: r.ids[i], Generation: r.last}).Err
}

// Commit stores an offset of member i.
func (r *Group) Commit(ctx context.Context, i int, offset int64) error {
	at := group.PartitionOffset{TopicPartition: topic.TopicPartition{Topic: r.topic, Partition: int32(i)}, Offset: offset, LeaderEpoch: -1}
	return r.coord.Commit(ctx, r.name, group.CommitRequest{MemberID: r.ids[i], Generation: r.last, ProducerID: -1, Offsets: []group.PartitionOffset{at}}).Err
}

// Next has all members join anew, the leader decide, and all learn what they are to read; it is on disk then.
func (r *Group) Next(ctx context.Context) error {
	r.round++ // a member that says the same as before would not begin a generation
	faults := make([]error, len(r.ids))
	var wg sync.WaitGroup
	for i := range r.ids {
		wg.Go(func() { faults[i] = r.member(ctx, i) })
	}
	wg.Wait()
	return errors.Join(faults...)
}

func (r *Group) member(ctx context.Context, i int) error {
	said := assignor.Subscription{Topics: []string{r.topic}, UserData: []byte{r.round}, Owned: r.owned[i], Generation: r.last}
	j := r.coord.Join(ctx, r.name, group.JoinRequest{
		MemberID: r.ids[i], ClientID: "c", SessionTimeout: time.Minute, RebalanceTimeout: time.Minute, ProtocolType: assignor.ProtocolType,
		Fresh: fmt.Sprint(i), Protocols: []group.Protocol{{Name: r.how.Name(), Metadata: assignor.AppendSubscription(nil, 3, said)}},
	})
	if j.Err != nil {
		return j.Err
	}
	r.ids[i] = j.MemberID
	req := group.SyncRequest{MemberID: j.MemberID, Generation: j.Generation}
	if j.Leader == j.MemberID {
		r.last = j.Generation
		plan, err := r.plan(j.Members)
		if err != nil {
			return err
		}
		req.Assignments = plan
	}
	s := r.coord.Sync(ctx, r.name, req)
	if s.Err != nil {
		return s.Err
	}
	parts, _, err := assignor.ParseAssignment(s.Assignment)
	r.owned[i] = parts
	return err
}

func (r *Group) plan(members []group.JoinedMember) (map[string][]byte, error) {
	list := make([]assignor.Subscriber, len(members))
	for i, m := range members {
		s, err := assignor.ParseSubscription(m.Metadata)
		if err != nil {
			return nil, err
		}
		list[i] = assignor.Subscriber{MemberID: m.MemberID, Subscription: s}
	}
	plan, err := r.how.Assign(r.meta, list)
	if err != nil {
		return nil, err
	}
	out := make(map[string][]byte, len(plan))
	for id, parts := range plan {
		out[id] = assignor.AppendAssignment(nil, 3, parts, nil)
	}
	return out, nil
}
