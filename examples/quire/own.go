package main

import (
	"fmt"
	"strings"

	"github.com/quirelog/quire/index"
	"github.com/quirelog/quire/log"
	"github.com/quirelog/quire/segment"
	"github.com/quirelog/quire/topic"
)

// How the files that are quire's own are shown: the watermark slot (package log), a sealed segment's sums (package segment) and the
// manifest (package topic).

// slotFact is one of the two slots of quire.slot.
type slotFact struct {
	Kind     string      `json:"kind"`
	Slot     int         `json:"slot"`
	Sequence uint64      `json:"sequence"`
	Durable  int64       `json:"durable"`
	Base     int64       `json:"base"`
	Position int64       `json:"position"`
	Start    int64       `json:"start"`
	High     int64       `json:"high"`
	Epoch    int32       `json:"epoch"`
	EpochSum uint32      `json:"epochSum"` // of the leader-epoch-checkpoint file; 0: not told
	TopicID  log.TopicID `json:"topicId"`
	Clean    bool        `json:"clean"`
	Sparse   bool        `json:"sparse"`
	Cutting  bool        `json:"cutting"`     // a truncation to durable is under way
	NoIDs    bool        `json:"noProducers"` // no batch below durable has a producer id
	Fault    string      `json:"fault,omitempty"`
}

func (s slotFact) String() string {
	if s.Fault != "" {
		return fmt.Sprintf("slot %d: %s", s.Slot, s.Fault)
	}
	if s.Sequence == 0 {
		return fmt.Sprintf("slot %d: never written", s.Slot)
	}
	return fmt.Sprintf("slot %d: sequence %d durable %d (segment %d position %d) start %d high %d epoch %d topic %v%s%s%s%s",
		s.Slot, s.Sequence, s.Durable, s.Base, s.Position, s.Start, s.High, s.Epoch, s.TopicID, ifSo(s.Clean, ", clean"),
		ifSo(s.Sparse, ", sparse"), ifSo(s.Cutting, ", being cut"), ifSo(s.NoIDs, ", no producer ids"))
}

func slotFacts(n int, s *log.Slot) slotFact {
	f := slotFact{
		Kind: "slot", Slot: n, Sequence: s.Sequence, Durable: s.Durable, Base: s.SegmentBase, Position: s.Position, Start: s.Start, High: s.High,
		Epoch: s.LeaderEpoch, EpochSum: s.EpochSum, TopicID: s.TopicID, Clean: s.Clean, Sparse: s.Sparse, Cutting: s.Truncating, NoIDs: s.NoProducers,
	}
	if s.Err != nil {
		f.Fault = s.Err.Error()
	}
	return f
}

// sumsFact is what a sealed segment's .sums file says.
type sumsFact struct {
	Kind           string       `json:"kind"`
	TopicID        log.TopicID  `json:"topicId"`
	Base           int64        `json:"base"`
	Next           int64        `json:"next"`
	Size           int64        `json:"size"`
	Batches        int64        `json:"batches"`
	MaxTimestamp   int64        `json:"maxTimestamp"`
	MaxOffset      int64        `json:"maxOffset"`
	FirstTimestamp int64        `json:"firstTimestamp"`
	Created        int64        `json:"created"`
	LastEpoch      int32        `json:"lastEpoch"`
	HeaderSum      uint32       `json:"headerSum"`
	Sparse         bool         `json:"sparse"`
	Tables         [3]index.Sum `json:"tables"` // offset index, time index, aborted transactions
}

func (s sumsFact) String() string {
	return fmt.Sprintf("sealed segment: offsets [%d, %d) in %d batches, %d bytes, times %s to %s (offset %d), last epoch %d, topic %v%s\n"+
		"  header sum %08x; offset index %d bytes %08x; time index %d bytes %08x; aborted index %d bytes %08x",
		s.Base, s.Next, s.Batches, s.Size, showMillis(s.FirstTimestamp), showMillis(s.MaxTimestamp), s.MaxOffset, s.LastEpoch, s.TopicID,
		ifSo(s.Sparse, ", sparse"), s.HeaderSum, s.Tables[0].Len, s.Tables[0].CRC, s.Tables[1].Len, s.Tables[1].CRC, s.Tables[2].Len, s.Tables[2].CRC)
}

func sumsFacts(s *segment.Side) sumsFact {
	return sumsFact{
		Kind: "sums", TopicID: s.TopicID, Base: s.Base, Next: s.Next, Size: s.Size, Batches: s.Batches, MaxTimestamp: s.MaxTimestamp,
		MaxOffset: s.MaxOffset, FirstTimestamp: s.FirstTimestamp, Created: s.Created, LastEpoch: s.LastEpoch, HeaderSum: s.HeaderSum,
		Sparse: s.Sparse, Tables: [3]index.Sum{s.Offsets, s.Times, s.Aborted},
	}
}

// manifestFact is the engine's list of topics.
type manifestFact struct {
	Kind string `json:"kind"`
	*topic.Manifest
}

func (m manifestFact) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "manifest: format %d generation %d next producer id %d, %d topics", m.Format, m.Generation, m.NextProducerID, len(m.Topics))
	for _, t := range m.Topics {
		fmt.Fprintf(&b, "\n  %s: id %s, %d partitions, %s, settings %v", t.Name, t.ID, t.Partitions, t.State, t.Settings)
	}
	return b.String()
}

// changesFact is a line of the manifest's journal.
type changesFact struct {
	Kind string `json:"kind"`
	*topic.ManifestLine
}

func (c changesFact) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "generation %d%s", c.Generation, ifSo(c.Closed, ": stopped in order"))
	for _, change := range c.Changes {
		switch {
		case change.Create != nil:
			t := change.Create
			fmt.Fprintf(&b, "\n  created %s: id %s, %d partitions, settings %v", t.Name, t.ID, t.Partitions, t.Settings)
		case change.Alter != nil:
			fmt.Fprintf(&b, "\n  altered %s: %d partitions, settings %v", change.Alter.Name, change.Alter.Partitions, change.Alter.Settings)
		case change.Use != nil:
			fmt.Fprintf(&b, "\n  first use of %s/%d", change.Use.Topic, change.Use.Partition)
		case change.NextProducerID > 0:
			fmt.Fprintf(&b, "\n  next producer id %d", change.NextProducerID)
		default:
			fmt.Fprintf(&b, "\n  deleted %s%s", change.Delete+change.Drop, ifSo(change.Drop != "", ", its directories too"))
		}
	}
	return b.String()
}

func ifSo(yes bool, s string) string {
	if yes {
		return s
	}
	return ""
}
