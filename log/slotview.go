package log

import (
	"fmt"

	"github.com/quirelog/quire/segment"
)

// Slot is what one of the two slots of a [SlotFile] says, for tools that look into a partition's directory. A
// log reads and writes the file by itself.
type Slot struct {
	// Sequence counts the writes: the greater of two whole slots holds. 0 means that the slot was never written;
	// the other fields are zero then.
	Sequence uint64
	// Durable is the offset below which everything was on disk; with Truncating, the end that the log is to have.
	Durable int64
	// SegmentBase and Position are where Durable lies: the base offset of a segment, and bytes in its data file.
	SegmentBase, Position int64
	Start, High           int64   // log start offset and high watermark
	LeaderEpoch           int32   // -1 none
	EpochSum              uint32  // [LeaderEpochSum] of the history of leader epochs; 0: not told
	TopicID               TopicID // zero: none
	Partition             int32   // -1 not told
	Clean                 bool    // closed in order, and nothing was written since
	Sparse                bool    // offsets of the segment at SegmentBase may have gaps
	Truncating            bool    // a truncation to Durable was under way
	NoProducers           bool    // no batch below Durable has a producer id
	NoTransactions        bool    // no batch below Durable is part of a transaction
	// Indexes is what the index files of the segment held; nil: not told, or that part is damaged.
	Indexes *segment.IndexSums
	// Err says why the slot is not whole; nothing else is set then. It matches [ErrNewerFormat] for a slot that a
	// later version wrote.
	Err error
}

// DecodeSlots reads the bytes of a [SlotFile]: both slots, and which of them holds, -1 when neither does. It
// takes any bytes. One damaged slot beside a whole one is what a power cut leaves.
func DecodeSlots(data []byte) (slots [2]Slot, newest int) {
	newest = -1
	for i := range slots {
		st, sequence, err := decodeSlot(data[min(i*slotSector, len(data)):])
		if err != nil {
			slots[i].Err = fmt.Errorf("log: watermark slot: %w", err)
			continue
		}
		if sequence == 0 {
			continue
		}
		st.readExtra(data[i*slotSector+slotSize:], sequence)
		st.readHome(data[min(i*slotSector+slotSize+slotNoteSize, len(data)):], sequence)
		slots[i] = st.view(sequence)
		if newest < 0 || sequence > slots[newest].Sequence {
			newest = i
		}
	}
	return slots, newest
}

func (st *slotState) view(sequence uint64) Slot {
	return Slot{
		Sequence: sequence, Durable: st.durable, SegmentBase: st.segmentBase, Position: st.position, Start: st.start, High: st.high,
		LeaderEpoch: st.leaderEpoch, EpochSum: st.epochSum, TopicID: st.topicID, Partition: st.partition, Clean: st.clean, Sparse: st.sparse, Truncating: st.truncating,
		NoProducers: st.anonymous, NoTransactions: st.plain, Indexes: st.indexes,
	}
}

// LeaderEpochSum is the checksum that a slot keeps of a [LeaderEpochFile]: the CRC-32C of its bytes, 1 for 0.
func LeaderEpochSum(file []byte) uint32 { return max(crc32c(file), 1) }
