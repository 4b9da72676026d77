package group

import (
	"time"

	"github.com/quirelog/quire/group/assignor"
	"github.com/quirelog/quire/topic"
)

// A Description is what administrators see of a group.
type Description struct {
	Name  string
	State State
	// ServerSide tells which protocol the group speaks; a group that only has offsets speaks none.
	ServerSide bool
	// ProtocolType is "consumer" for readers that share topics; "" for a group that never had members.
	ProtocolType string
	// Protocol is the assignor: the one chosen in the classic protocol, the one most asked for in the server-side one.
	Protocol string
	// Generation is the classic protocol's, or the group epoch.
	Generation int32
	// TargetEpoch is the epoch targets were computed for (server-side protocol).
	TargetEpoch int32
	// Leader is the member that assigns in the classic protocol.
	Leader  string
	Members []MemberDescription
}

// MemberDescription is a member in a Description. What is assigned is given as far as it can be read: a group of the classic protocol may
// have members of another protocol type, whose bytes mean something to them alone.
type MemberDescription struct {
	MemberID   string
	InstanceID string
	ClientID   string
	ClientHost string
	Rack       string
	// Session and Rebalance are its time limits.
	Session   time.Duration
	Rebalance time.Duration
	// Topics and Regex are what it subscribes to.
	Topics []string
	Regex  string
	// Assigned is what it reads, Target what it is to read in the end (the same in the classic protocol).
	Assigned []topic.TopicPartition
	Target   []topic.TopicPartition
	// Subscription and Assignment are the bytes of the classic protocol.
	Subscription []byte
	Assignment   []byte
	// Epoch and State are the server-side protocol's.
	Epoch int32
	State MemberState
	// Classic tells whether it speaks the classic protocol.
	Classic bool
}

// describe tells what there is. It shares no memory with the machine that could change.
func (m *machine) describe() Description {
	d := Description{Name: m.name, State: m.state()}
	if g := m.classic; g != nil {
		d.ProtocolType, d.Protocol, d.Generation, d.Leader = g.protocolType, g.protocol, g.generation, g.leader
		for _, c := range g.members {
			d.Members = append(d.Members, c.describe(g.protocolType, g.protocol))
		}
	}
	if g := m.server; g != nil {
		d.ServerSide, d.ProtocolType, d.Protocol = true, assignor.ProtocolType, m.preferred().Name()
		d.Generation, d.TargetEpoch = g.epoch, g.targetEpoch
		names := g.topicNames()
		for _, member := range g.members {
			d.Members = append(d.Members, MemberDescription{
				MemberID: member.id, InstanceID: member.instance, ClientID: member.clientID, ClientHost: member.clientHost, Rack: member.rack,
				Session: m.sessionTimeout(member), Rebalance: member.rebalance, Topics: g.wants(member), Regex: member.regex,
				Assigned: member.assigned.named(names), Target: member.target.named(names),
				Epoch: member.epoch, State: member.state, Classic: member.classic != nil,
			})
		}
	}
	return d
}

func (m *classicMember) describe(protocolType, protocol string) MemberDescription {
	d := MemberDescription{
		MemberID: m.id, InstanceID: m.instance, ClientID: m.clientID, ClientHost: m.clientHost, Session: m.session, Rebalance: m.rebalance,
		Subscription: m.metadata(protocol), Assignment: m.assignment, Classic: true,
	}
	if protocolType == assignor.ProtocolType {
		if s, err := assignor.ParseSubscription(d.Subscription); err == nil {
			d.Topics, d.Rack = s.Topics, s.Rack
		}
		if list, _, err := assignor.ParseAssignment(m.assignment); err == nil {
			d.Assigned, d.Target = list, list
		}
	}
	return d
}
