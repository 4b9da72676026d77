package group_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/quirelog/quire/group"
	"github.com/quirelog/quire/group/assignor"
	"github.com/quirelog/quire/topic"
)

func benchEngine(b *testing.B, partitions int) *topic.Engine {
	b.Helper()
	eng, err := topic.Open("", topic.InMemory())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { eng.Close() })
	if _, err := eng.Topic(b.Context(), "a", topic.Partitions(partitions)); err != nil {
		b.Fatal(err)
	}
	return eng
}

// BenchmarkCommit is commits of one partition each, by readers that share nothing, in memory: what the coordinator itself costs.
func BenchmarkCommit(b *testing.B) {
	eng := benchEngine(b, 1)
	c, err := group.On(eng)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetParallelism(16)
	var next sync.Mutex
	n := 0
	b.RunParallel(func(pb *testing.PB) {
		next.Lock()
		n++
		name := fmt.Sprint("g", n)
		next.Unlock()
		list := []group.PartitionOffset{{TopicPartition: topic.TopicPartition{Topic: "a"}}}
		for pb.Next() {
			list[0].Offset++
			if err := c.SetOffsets(b.Context(), name, list); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkRebalance is one generation of 1,000 members over 10,000 partitions: all join, one assigns, all sync.
func BenchmarkRebalance(b *testing.B) {
	for _, a := range []assignor.Assignor{assignor.Range(), assignor.CooperativeSticky()} {
		b.Run(a.Name(), func(b *testing.B) {
			eng := benchEngine(b, 10_000)
			c, err := group.NewCoordinator(eng, group.Config{InitialDelay: 300 * time.Millisecond})
			if err != nil {
				b.Fatal(err)
			}
			meta := assignor.Metadata{"a": {Partitions: 10_000}}
			ids := make([]string, 1000)
			round := byte(0)
			for b.Loop() {
				round++ // members that say the same as before would not begin a generation
				generation(b, c, a, meta, ids, round)
			}
		})
	}
}

func generation(b *testing.B, c *group.Coordinator, a assignor.Assignor, meta assignor.Metadata, ids []string, round byte) {
	var wg sync.WaitGroup
	data := assignor.AppendSubscription(nil, 3, assignor.Subscription{Topics: []string{"a"}, UserData: []byte{round}, Generation: assignor.NoGeneration})
	for i := range ids {
		wg.Go(func() {
			j := c.Join(b.Context(), "g", group.JoinRequest{
				MemberID: ids[i], ClientID: "c", SessionTimeout: time.Minute, RebalanceTimeout: time.Minute, ProtocolType: assignor.ProtocolType,
				Protocols: []group.Protocol{{Name: a.Name(), Metadata: data}},
			})
			if j.Err != nil {
				b.Error(j.Err)
				return
			}
			ids[i] = j.MemberID
			req := group.SyncRequest{MemberID: j.MemberID, Generation: j.Generation}
			if j.Leader == j.MemberID {
				req.Assignments = lead(b, a, meta, j)
			}
			if s := c.Sync(b.Context(), "g", req); s.Err != nil {
				b.Error(s.Err)
			}
		})
	}
	wg.Wait()
}

func lead(b *testing.B, a assignor.Assignor, meta assignor.Metadata, j group.JoinResponse) map[string][]byte {
	var members []assignor.Subscriber
	for _, m := range j.Members {
		s, err := assignor.ParseSubscription(m.Metadata)
		if err != nil {
			b.Error(err)
		}
		members = append(members, assignor.Subscriber{MemberID: m.MemberID, Subscription: s})
	}
	plan, err := a.Assign(meta, members)
	if err != nil {
		b.Error(err)
	}
	out := make(map[string][]byte, len(plan))
	for id, parts := range plan {
		out[id] = assignor.AppendAssignment(nil, 3, parts, nil)
	}
	return out
}
