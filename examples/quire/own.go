package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"

	"github.com/quirelog/quire/index"
	"github.com/quirelog/quire/log"
)

// The files that are quire's own, read by their documented bytes: the watermark slot (package log, slot.go), a sealed segment's sums
// (package segment, side.go) and the manifest (package topic, manifest.go). A second reader of a format keeps its description honest.

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

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

const (
	slotSector = 512
	slotSize   = 80
	slotSumAt  = slotSize - 4
)

// readSlots takes the bytes of quire.slot apart. The newer whole slot is the one that counts; ok is false when there is none.
func readSlots(data []byte) (list []slotFact, newest slotFact, ok bool) {
	for i := range 2 {
		s := readSlot(data[min(i*slotSector, len(data)):])
		s.Kind, s.Slot = "slot", i
		list = append(list, s)
		if s.Fault == "" && s.Sequence > newest.Sequence {
			newest, ok = s, true
		}
	}
	return list, newest, ok
}

func readSlot(b []byte) slotFact {
	if len(b) < slotSize {
		return slotFact{Fault: fmt.Sprintf("%d bytes of %d", len(b), slotSize)}
	}
	b = b[:slotSize]
	if allZero(b) {
		return slotFact{}
	}
	be := binary.BigEndian
	if string(b[:4]) != "QSLT" || be.Uint32(b[slotSumAt:]) != crc32.Checksum(b[:slotSumAt], castagnoli) {
		return slotFact{Fault: "wrong magic or checksum"}
	}
	if version := be.Uint16(b[4:]); version != 1 {
		return slotFact{Fault: fmt.Sprintf("version %d", version)}
	}
	flags := be.Uint16(b[6:])
	s := slotFact{
		Sequence: be.Uint64(b[8:]), Durable: int64(be.Uint64(b[16:])), Base: int64(be.Uint64(b[24:])), Position: int64(be.Uint32(b[32:])),
		Start: int64(be.Uint64(b[40:])), High: int64(be.Uint64(b[48:])), Epoch: int32(be.Uint32(b[56:])),
		EpochSum: be.Uint32(b[36:]), Clean: flags&1 != 0, Sparse: flags&2 != 0, Cutting: flags&4 != 0, NoIDs: flags&8 != 0,
	}
	copy(s.TopicID[:], b[60:])
	return s
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

const sumsSize = 124

// readSums takes the bytes of a .sums file apart.
func readSums(b []byte) (sumsFact, error) {
	be := binary.BigEndian
	switch {
	case len(b) != sumsSize:
		return sumsFact{}, fmt.Errorf("%d bytes instead of %d", len(b), sumsSize)
	case string(b[:4]) != "QSUM" || be.Uint32(b[120:]) != crc32.Checksum(b[:120], castagnoli):
		return sumsFact{}, errors.New("wrong magic or checksum")
	case be.Uint16(b[4:]) != 1:
		return sumsFact{}, fmt.Errorf("version %d", be.Uint16(b[4:]))
	}
	number := func(at int) int64 { return int64(be.Uint64(b[at:])) }
	s := sumsFact{
		Kind: "sums", Base: number(24), Next: number(32), Size: number(40), Batches: number(48), MaxTimestamp: number(56),
		MaxOffset: number(64), FirstTimestamp: number(72), Created: number(80), LastEpoch: int32(be.Uint32(b[88:])),
		HeaderSum: be.Uint32(b[92:]), Sparse: be.Uint16(b[6:])&1 != 0,
	}
	copy(s.TopicID[:], b[8:])
	for i := range s.Tables {
		s.Tables[i] = index.Sum{Len: int64(be.Uint32(b[96+8*i:])), CRC: be.Uint32(b[100+8*i:])}
	}
	return s, nil
}

// manifestFact is the engine's list of topics.
type manifestFact struct {
	Kind           string          `json:"kind"`
	Format         int             `json:"format"`
	Generation     uint64          `json:"generation"`
	NextProducerID int64           `json:"nextProducerId"`
	Topics         []manifestTopic `json:"topics"`
}

type manifestTopic struct {
	Name       string            `json:"name"`
	ID         string            `json:"id"`
	Partitions int               `json:"partitions"`
	State      string            `json:"state"`
	Settings   map[string]string `json:"settings,omitempty"`
}

func (m manifestFact) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "manifest: format %d generation %d next producer id %d, %d topics", m.Format, m.Generation, m.NextProducerID, len(m.Topics))
	for _, t := range m.Topics {
		fmt.Fprintf(&b, "\n  %s: id %s, %d partitions, %s, settings %v", t.Name, t.ID, t.Partitions, t.State, t.Settings)
	}
	return b.String()
}

// topic finds an entry by name.
func (m *manifestFact) topic(name string) (manifestTopic, bool) {
	if m != nil {
		for _, t := range m.Topics {
			if t.Name == name {
				return t, true
			}
		}
	}
	return manifestTopic{}, false
}

// readManifest takes the bytes of quire.manifest apart: a JSON object, and a line with its checksum.
func readManifest(data []byte) (*manifestFact, error) {
	at := bytes.LastIndex(data, []byte("crc32c:"))
	if at < 0 {
		return nil, errors.New("no checksum line")
	}
	if want := fmt.Sprintf("crc32c:%08x\n", crc32.Checksum(data[:at], castagnoli)); string(data[at:]) != want {
		return nil, errors.New("wrong checksum")
	}
	m := &manifestFact{Kind: "manifest"}
	if err := json.Unmarshal(data[:at], m); err != nil {
		return nil, err
	}
	if m.Format != 1 {
		return nil, fmt.Errorf("format %d", m.Format)
	}
	return m, nil
}

func ifSo(yes bool, s string) string {
	if yes {
		return s
	}
	return ""
}
