package record

import (
	"encoding/binary"
	"fmt"

	"github.com/quirelog/quire/internal/invariant"
)

// ControlType is the kind of a control record.
type ControlType int16

// The control records of Apache Kafka. The numbers are stored on disk. Types not
// listed are legal and are to be ignored by readers.
const (
	Abort          ControlType = 0 // ends a transaction: its records do not count
	Commit         ControlType = 1 // ends a transaction: its records count
	LeaderChange   ControlType = 2
	SnapshotHeader ControlType = 3
	SnapshotFooter ControlType = 4
	KRaftVersion   ControlType = 5
	KRaftVoters    ControlType = 6
)

// String returns the name of the type, or its number.
func (t ControlType) String() string {
	names := [...]string{"abort", "commit", "leader-change", "snapshot-header", "snapshot-footer", "kraft-version", "kraft-voters"}
	if t >= 0 && int(t) < len(names) {
		return names[t]
	}
	return fmt.Sprintf("control(%d)", int16(t))
}

const (
	// EndTxnMarkerSize is the size of a batch with a commit or abort marker.
	EndTxnMarkerSize = 78
	controlKeySize   = 4 // version int16, type int16
	endTxnValueSize  = 6 // version int16, coordinator epoch int32
)

// EndTxnMarker returns a new batch with the marker that ends a transaction, t
// being Commit or Abort: base offset 0, leader epoch NoLeaderEpoch. The producer
// is that of the transaction; timestamp is in milliseconds since the Unix epoch,
// and anything below zero is NoTimestamp.
func EndTxnMarker(t ControlType, producerID int64, producerEpoch int16, coordinatorEpoch int32, timestamp int64) Batch {
	value := make([]byte, 0, endTxnValueSize)
	value = binary.BigEndian.AppendUint16(value, 0)
	value = binary.BigEndian.AppendUint32(value, uint32(coordinatorEpoch))
	cfg := BuilderConfig{HasProducer: true, ProducerID: producerID, ProducerEpoch: producerEpoch, Transactional: true}
	b, err := ControlBatch(cfg, t, max(timestamp, NoTimestamp), value)
	invariant.Check(err == nil && len(b) == EndTxnMarkerSize, "marker of %d bytes: %v", len(b), err)
	return b
}

// ControlBatch returns a new batch with one control record of type t, whose
// value must be in the form that Kafka gives that type. cfg says whose batch it
// is; it is made a control batch whatever it says.
func ControlBatch(cfg BuilderConfig, t ControlType, timestamp int64, value []byte) (Batch, error) {
	cfg.Control = true
	key := binary.BigEndian.AppendUint16(make([]byte, 0, controlKeySize), 0)
	key = binary.BigEndian.AppendUint16(key, uint16(t))
	b := NewBuilder(cfg)
	if err := b.Add(&Record{Timestamp: timestamp, Key: key, Value: value}); err != nil {
		return nil, err
	}
	return b.Seal()
}

// controlLimit bounds what a control batch may decompress to; Kafka's are not compressed.
const controlLimit = 64 << 10

// ParseControl reads the control record of a control batch: its type, and for
// Commit and Abort the epoch of the coordinator that wrote it (otherwise -1).
// Higher versions and longer keys and values than known are accepted. Errors are
// *CorruptError.
func ParseControl(b Batch) (t ControlType, coordinatorEpoch int32, err error) {
	var d Decoder
	var r Record
	if err := d.Reset(b, controlLimit); err != nil {
		return 0, -1, err
	}
	if !b.Control() {
		return 0, -1, b.corrupt(posAttributes, "not a control batch")
	}
	if !d.Next(&r) {
		if d.Err() != nil {
			return 0, -1, d.Err()
		}
		return 0, -1, b.corrupt(posCount, "control batch without a record")
	}
	if t, err = ParseControlKey(r.Key); err != nil {
		return 0, -1, d.corruptControl(err)
	}
	if t != Commit && t != Abort {
		return t, -1, nil
	}
	if coordinatorEpoch, err = parseEndTxnValue(r.Value); err != nil {
		return 0, -1, d.corruptControl(err)
	}
	return t, coordinatorEpoch, nil
}

// ParseControlKey reads the type from a control record's key. Errors match
// ErrCorrupt.
func ParseControlKey(key []byte) (ControlType, error) {
	if len(key) < controlKeySize {
		return 0, fmt.Errorf("%w: control key of %d bytes", ErrCorrupt, len(key))
	}
	if v := be16(key, 0); v < 0 {
		return 0, fmt.Errorf("%w: control key version %d", ErrCorrupt, v)
	}
	t := ControlType(be16(key, 2))
	if t < 0 {
		return 0, fmt.Errorf("%w: control type %d", ErrCorrupt, int16(t))
	}
	return t, nil
}

func parseEndTxnValue(value []byte) (coordinatorEpoch int32, err error) {
	if len(value) < endTxnValueSize {
		return -1, fmt.Errorf("%w: marker value of %d bytes", ErrCorrupt, len(value))
	}
	if v := be16(value, 0); v < 0 {
		return -1, fmt.Errorf("%w: marker value version %d", ErrCorrupt, v)
	}
	return be32(value, 2), nil
}

func (d *Decoder) corruptControl(err error) error {
	return &CorruptError{BaseOffset: d.baseOffset, InRecords: true, Reason: "control record", Err: err}
}
